"""Original Mixup: all pairs of training rows are mixed, at any distance (Sec. 4, Baselines)."""

from __future__ import annotations

import numpy as np

from experiments.methods.base import Augmented, Trial
from experiments.methods.peers import generators, keep_best, with_mixed
from mixrl_env.mixing import draw_lam
from mixrl_env.streams import stream

ALPHAS = (0.2, 0.5, 1.0, 2.0)
"""Of Beta(alpha, alpha): from hardly mixed to near the middle."""


def augment(trial: Trial) -> Augmented:
    """The training rows and one mixed row for each of their n (n - 1) / 2 pairs."""
    problem = trial.problem
    i, j = np.triu_indices(len(problem.x_train), k=1)
    lam = draw_lam(problem.config.lam, i, j, stream(trial.split_seed, "original mixup"))
    return Augmented([with_mixed(problem, i, j, lam)])


def augment_beta(trial: Trial) -> Augmented:
    """All pairs, with lambda ~ Beta(alpha, alpha) for every pair as the original draws it (Zhang et al., 2018).

    Each final regressor has draws of its own; the validation rows choose alpha among `ALPHAS`.
    """
    i, j = np.triu_indices(len(trial.problem.x_train), k=1)
    candidates = [
        (
            {"alpha": alpha},
            [with_mixed(trial.problem, i, j, draw_lam(("beta", alpha), i, j, rng)) for rng in generators(trial)],
        )
        for alpha in ALPHAS
    ]
    return keep_best(trial, candidates)

"""Local Mixup: only rows that are close in their features are mixed (Baena et al., 2022), threshold variant."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from experiments.methods.base import Augmented, Trial
from experiments.methods.peers import Candidate, generators, keep_best, with_mixed
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.mixing import draw_lam

SHARES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of all pairs, those within the radius; 1 is Original Mixup."""


def augment(trial: Trial) -> Augmented:
    """The training rows and one mixed row for each pair within a radius, with the lambda of the settings.

    A pair counts fully within the radius and not at all beyond it: its weight in the original's loss is whether it is in the
    set. The original mixes anew in every minibatch; here each pair has one lambda, as in Original Mixup. The validation rows
    choose the radius among the quantiles `SHARES` of the distances between training rows.
    """
    problem = trial.problem
    radii = np.quantile(pdist(problem.x_train), SHARES, method="inverted_cdf")
    candidates: list[Candidate] = []
    for share, radius in zip(SHARES, radii, strict=True):
        i, j = pairs_within(problem.x_train, float(radius))
        lam = draw_lam(problem.config.lam, i, j, generators(trial)[0])
        candidates.append(({"radius": float(radius), "share": share}, [with_mixed(problem, i, j, lam)]))
    return keep_best(trial, candidates)


def pairs_within(x: FloatArray, radius: float) -> tuple[IntArray, IntArray]:
    """All pairs i < j of rows whose Euclidean distance is at most the radius.

    Args:
        x: features, shape (n, d).
        radius: in the units of the features; equal rows are within any.

    Returns:
        i and j, each of shape (p,), ordered by i, then j.
    """
    i, j = np.triu_indices(len(x), k=1)  # the order of pdist
    close = pdist(x) <= radius
    return i[close], j[close]

"""Original Mixup: all pairs of training rows are mixed, whatever their distance (Sec. 4, Baselines)."""

from __future__ import annotations

import numpy as np

from experiments.methods.base import Augmented, Cell
from experiments.methods.candidates import with_mixed
from mixrl_env.mixing import draw_lam


def augment(cell: Cell) -> Augmented:
    """The training rows and one mixed row for each of their n (n - 1) / 2 pairs."""
    problem = cell.problem
    i, j = np.triu_indices(len(problem.x_train), k=1)
    lam = draw_lam(problem.config.lam, i, j, np.random.default_rng(cell.split_seed))
    return Augmented([with_mixed(problem, i, j, lam)])

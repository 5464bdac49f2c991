"""Original Mixup: all pairs of training rows are mixed, whatever their distance (Sec. 4, Baselines)."""

from __future__ import annotations

import numpy as np

from experiments.methods.base import Augmented, Cell
from mixrl_env.mixing import draw_lam, mix


def augment(cell: Cell) -> Augmented:
    """The training rows and one mixed row for each of their n (n - 1) / 2 pairs."""
    problem = cell.problem
    x, y = problem.x_train, problem.data.y_train
    i, j = np.triu_indices(len(x), k=1)
    x_mixed, y_mixed = mix(x, y, i, j, draw_lam(problem.config.lam, len(i), np.random.default_rng(cell.split_seed)))
    return Augmented([(np.concatenate([x, x_mixed]), np.concatenate([y, y_mixed]))])

"""MixRL + AdaMixUp: MixRL mixes every pair with the lambda that AdaMixUp has learned for it (App. B.4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.methods import ada_mixup, mixrl
from experiments.methods.base import Augmented, Cell
from mixrl_env import MixingProblem


def augment(cell: Cell) -> Augmented:
    """First AdaMixUp, 2-fold; then MixRL with its lambdas, frozen: in its rewards, its choice and its final sets.

    A pair has one lambda: row i mixed with j and j with i are the same row.

    Raises:
        ValueError: for `Settings.folds` above 1, which deal out the training rows anew, so that lambdas lose their pairs.
    """
    if cell.settings.folds > 1:
        raise ValueError("MixRL + AdaMixUp has one lambda for every pair of training rows; it cannot rotate folds")
    i, j, drawn, words = ada_mixup.learned_lam(cell)
    lam = np.full((len(cell.problem.x_train),) * 2, 0.5)
    lam[i, j], lam[j, i] = drawn, 1 - drawn
    problem = MixingProblem(cell.problem.data, replace(cell.problem.config, lam=lam))
    done = mixrl.augment(replace(cell, problem=problem, settings=replace(cell.settings, lam=lam)))
    return replace(done, trainings=done.trainings + 1, choice=f"{done.choice}; {words}")

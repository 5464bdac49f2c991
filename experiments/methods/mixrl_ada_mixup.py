"""MixRL + AdaMixUp: MixRL mixes every pair with the lambda that AdaMixUp has learned for it (App. B.4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.methods import ada_mixup, mixrl
from experiments.methods.base import Augmented, Trial
from mixrl_env import MixingProblem


def augment(trial: Trial) -> Augmented:
    """First AdaMixUp, 2-fold; then MixRL with its lambdas, frozen: in its rewards, its choice and its final sets.

    A pair has one lambda: row i mixed with j and j with i are the same row.
    """
    i, j, drawn, found = ada_mixup.learned_lam(trial)
    lam = np.full((len(trial.problem.x_train),) * 2, 0.5)
    lam[i, j], lam[j, i] = drawn, 1 - drawn
    problem = MixingProblem(trial.problem.data, replace(trial.problem.config, lam=lam))
    done = mixrl.augment(replace(trial, problem=problem, settings=replace(trial.settings, lam=lam)))
    return replace(done, trainings=done.trainings + 1, choice=replace(done.choice, parameters=found))

"""What the methods that mix without learning share: random draws, and a choice among parameters on the validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from mixrl_env import MixingProblem
from mixrl_env.data import IntArray
from mixrl_env.mixing import mix
from mixrl_env.plans import choose_sets
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

DRAWS = 20
"""Artificial rows for each training row where the original algorithm draws them anew in every minibatch."""
Candidate = tuple[Mapping[str, float], Sequence[TrainingSet]]
"""Parameters of a method, and the training sets that they give."""


def generators(trial: Trial) -> list[np.random.Generator]:
    """One generator for each final regressor; every call gives the same ones."""
    return [stream(trial.split_seed, "peers", final) for final in range(trial.settings.final_trainings)]


def with_mixed(problem: MixingProblem, i: IntArray, j: IntArray, lam: npt.NDArray[np.floating]) -> TrainingSet:
    """The training rows and, behind them, one mixed row for each pair (i, j), all arguments of shape (p,)."""
    x, y = problem.x_train, problem.data.y_train
    x_mixed, y_mixed = mix(x, y, i, j, lam)
    return np.concatenate([x, x_mixed]), np.concatenate([y, y_mixed])


def keep_best(trial: Trial, candidates: Sequence[Candidate]) -> Augmented:
    """The candidate with the lowest mean validation loss over `Settings.knn_repeats` trainings.

    Its table "candidates" has the parameters, rows and validation RMSE of each.
    """
    total = len(candidates) * trial.settings.knn_repeats
    trial.report(0, total, f"trying {len(candidates)} candidates")
    choice = choose_sets(trial.problem, [sets for _, sets in candidates], trial.settings.knn_repeats, trial.split_seed)
    parameters = [parameters for parameters, _ in candidates]
    trials = pd.DataFrame(parameters).assign(num_rows=choice.num_rows, val_rmse=choice.val_rmse.mean(axis=1))
    kept = Choice(parameters=parameters[choice.kept[0]])
    return Augmented(choice.sets, choice.trainings, kept, {"candidates": trials})

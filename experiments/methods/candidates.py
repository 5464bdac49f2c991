"""What the peers of MixRL share: random draws, training sets with mixed rows, and a choice on the validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.methods.base import Augmented, Cell
from mixrl_env import MixingProblem
from mixrl_env.data import IntArray
from mixrl_env.mixing import mix
from mixrl_env.plans import choose_sets
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

DRAWS = 20
"""Artificial rows for each training row where the original algorithm draws them anew in every minibatch."""


def generators(cell: Cell) -> list[np.random.Generator]:
    """One generator for each final regressor; every call gives the same ones."""
    return [stream(cell.split_seed, "peers", final) for final in range(cell.settings.final_trainings)]


def with_mixed(problem: MixingProblem, i: IntArray, j: IntArray, lam: npt.NDArray[np.floating]) -> TrainingSet:
    """The training rows and, behind them, one mixed row for each pair (i, j), all arguments of shape (p,)."""
    x, y = problem.x_train, problem.data.y_train
    x_mixed, y_mixed = mix(x, y, i, j, lam)
    return np.concatenate([x, x_mixed]), np.concatenate([y, y_mixed])


def keep_best(cell: Cell, file: str, candidates: Mapping[str, Sequence[TrainingSet]]) -> Augmented:
    """The candidate with the lowest mean validation loss over `Settings.knn_repeats` trainings.

    Leaves the file in the cell's folder: rows and validation RMSE of every candidate.

    Args:
        cell: the split.
        file: name of the CSV file.
        candidates: training sets by what they are, in words.
    """
    names, repeats = list(candidates), cell.settings.knn_repeats
    total = len(names) * repeats
    cell.report(0, total, f"trying {names[0]} to {names[-1]}")
    choice = choose_sets(cell.problem, list(candidates.values()), repeats, cell.split_seed)
    kept = names[choice.kept[0]]
    cell.report(total, total, kept)
    trials = {"candidate": names, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    pd.DataFrame(trials).to_csv(cell.folder / file, index=False)
    return Augmented(choice.sets, choice.trainings, kept)

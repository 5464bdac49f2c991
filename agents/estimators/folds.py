"""Rows are dealt into folds: in each fold the others train and its own are validation rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mixrl_env import RegressionData
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.streams import stream


@dataclass(frozen=True, eq=False)
class Fold:
    """A task whose validation rows are some of the table's. Rows are in random order, so that the first few are a sample.

    Attributes:
        data: training and validation rows. A column that is constant in the training rows is so in the validation rows too:
            nothing can be learned from it, so what else it may hold there is not looked at.
        train: which rows of the table the training rows are, shape (n_train,).
        held: which rows of the table, or of those passed in for validation, the validation rows are, shape (n_val,).
    """

    data: RegressionData
    train: IntArray
    held: IntArray


def deal(x: FloatArray, y: FloatArray, count: int, rng: np.random.Generator) -> list[Fold]:
    """As many folds, of nearly equal size, in which every row is a validation row once.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        count: of the folds, from 2 to n - 2.
        rng: deals the rows.
    """
    order, folds = rng.permutation(len(x)), []
    for held in np.array_split(order, count):
        train = order[~np.isin(order, held)]
        folds.append(Fold(_task(x[train], y[train], x[held], y[held]), train, held))
    return folds


def given(
    x: FloatArray, y: FloatArray, x_val: FloatArray, y_val: FloatArray, count: int, rng: np.random.Generator
) -> list[Fold]:
    """As many folds with the same rows: those of the table train, others were passed in for validation."""
    train, held = rng.permutation(len(x)), rng.permutation(len(x_val))
    return [Fold(_task(x[train], y[train], x_val[held], y_val[held]), train, held)] * count


def dealing_stream(seed: int) -> np.random.Generator:
    """The generator that the estimators deal rows into folds with."""
    return stream(seed, "folds")


def models_stream(seed: int, number: int) -> np.random.Generator:
    """The generator of initial weights and minibatches in a fold, the same for every way to mix."""
    return stream(seed, "models in a fold", number)


def varying(x: FloatArray) -> npt.NDArray[np.bool_]:
    """Which columns are not constant, shape (d,)."""
    varies: npt.NDArray[np.bool_] = (x != x[:1]).any(axis=0)
    return varies


def _task(x: FloatArray, y: FloatArray, x_val: FloatArray, y_val: FloatArray) -> RegressionData:
    return RegressionData(x, y, np.where(varying(x), x_val, x[:1]), y_val)

"""Folds of a table, and the models trained on their rows and mixed rows: small networks, or any scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from mixrl_env import FittedRegressors, ProblemConfig, RegressionData, fit_regressors
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.mixing import mix, with_mixed_rows
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

Pairs = tuple[IntArray, IntArray]
"""Rows i and j to mix, each of shape (p,)."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Training and validation rows of a table, in random order, so that the first few are a sample.

    Attributes:
        data: the rows. A column that is constant in the training rows has the same value in the validation rows, because
            nothing can be learned from it.
        train: indices of the training rows in the table, shape (n_train,).
        held: indices of the validation rows, in the table or in the given validation rows, shape (n_val,).
    """

    data: RegressionData
    train: IntArray
    held: IntArray


def folds_stream(seed: int) -> np.random.Generator:
    """The generator that permutes the rows before they are dealt into folds."""
    return stream(seed, "folds")


def deal(x: FloatArray, y: FloatArray, count: int, rng: np.random.Generator) -> list[Fold]:
    """`count` folds of nearly equal size; every row is a validation row once.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        count: number of folds, from 2 to n - 2.
        rng: permutes the rows.
    """
    order, folds = rng.permutation(len(x)), []
    for held in np.array_split(order, count):
        train = order[~np.isin(order, held)]
        folds.append(Fold(_task(x[train], y[train], x[held], y[held]), train, held))
    return folds


def given(
    x: FloatArray, y: FloatArray, x_val: FloatArray, y_val: FloatArray, count: int, rng: np.random.Generator
) -> list[Fold]:
    """`count` equal folds that train on the rows of the table, with the given validation rows."""
    train, held = rng.permutation(len(x)), rng.permutation(len(x_val))
    return [Fold(_task(x[train], y[train], x_val[held], y_val[held]), train, held)] * count


def varying(x: FloatArray) -> npt.NDArray[np.bool_]:
    """True for each column that is not constant, shape (d,)."""
    varies: npt.NDArray[np.bool_] = (x != x[:1]).any(axis=0)
    return varies


def _task(x: FloatArray, y: FloatArray, x_val: FloatArray, y_val: FloatArray) -> RegressionData:
    return RegressionData(x, y, np.where(varying(x), x_val, x[:1]), y_val)


def with_mixed(x: FloatArray, y: FloatArray, i: IntArray, j: IntArray) -> TrainingSet:
    """Rows followed by the midpoint of each pair, without repeated midpoints.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        i: first rows of the pairs, shape (p,).
        j: second rows of the pairs, shape (p,).
    """
    return with_mixed_rows(x, y, *mix(x, y, i, j, 0.5))


Predict = Callable[[FloatArray], FloatArray]
"""Labels (n, e), in the unit of the folds, of features in their own units, shape (n, d)."""
Fit = Callable[[Fold, Sequence[Pairs], Sequence[np.random.Generator]], Iterable[Predict]]
"""Fits one model for each of some lists of pairs, on the training rows of a fold and the pairs mixed."""


@dataclass(frozen=True, eq=False)
class Network:
    """One trained network; a class, so that estimators can be pickled.

    Attributes:
        scaler: of the features, fitted to the training rows.
        varies: True for each column that is not constant there; others are 0 for the network, shape (d,).
        fitted: the network.
    """

    scaler: StandardScaler
    varies: npt.NDArray[np.bool_]
    fitted: FittedRegressors

    def __call__(self, x: FloatArray) -> FloatArray:
        """Labels (n, e), in the unit of the folds, of features (n, d)."""
        predicted: FloatArray = self.fitted.predict(np.where(self.varies, self.scaler.transform(x), 0.0))[0]
        return predicted


def fit_networks(
    config: ProblemConfig,
) -> Callable[[Fold, Sequence[TrainingSet], Sequence[np.random.Generator]], list[Predict]]:
    """The regressor of the config, trained on training sets of a fold to the early stop on the fold's validation rows."""

    def fit(fold: Fold, sets: Sequence[TrainingSet], rngs: Sequence[np.random.Generator]) -> list[Predict]:
        data = fold.data
        labels = data.label_scale if config.standardize_labels else None
        fitted = fit_regressors(sets, data.standardize_x(data.x_val), data.y_val, config.regressor, rngs, labels=labels)
        ones = [fitted.one(m) for m in range(len(sets))]
        # Double precision, so that a row's prediction does not depend on how many others are predicted with it.
        precise = [replace(one, weights=[weight.double() for weight in one.weights]) for one in ones]
        return [Network(data.x_scaler, varying(data.x_train), one) for one in precise]

    return fit


def networks(config: ProblemConfig) -> Fit:
    """`fit_networks` on the rows of a fold and the mixed ones."""

    def fit(fold: Fold, pairs: Sequence[Pairs], rngs: Sequence[np.random.Generator]) -> list[Predict]:
        x = fold.data.standardize_x(fold.data.x_train)
        return fit_networks(config)(fold, [with_mixed(x, fold.data.y_train, *each) for each in pairs], rngs)

    return fit


@dataclass(frozen=True, eq=False)
class Clones:
    """Clones of a scikit-learn regressor, fitted to features and labels in their own units.

    Attributes:
        estimator: the regressor to clone.
        seed: for every random_state in it that is None.
        as_input: converts an array of features to what the user passed: a DataFrame, or an array.
    """

    estimator: Any
    seed: int
    as_input: Callable[[FloatArray], Any]

    def fit(self, x: FloatArray, labels: FloatArray) -> Any:
        """A clone fitted to features (n, d) and labels (n, e); a single target has shape (n,)."""
        own = clone(self.estimator)
        parameters = own.get_params()
        unset = [name for name in parameters if name.split("__")[-1] == "random_state" and parameters[name] is None]
        own.set_params(**dict.fromkeys(unset, self.seed))
        return own.fit(self.as_input(x), labels[:, 0] if labels.shape[1] == 1 else labels)

    def predict(self, fitted: Any, x: FloatArray, targets: int) -> FloatArray:
        """Labels (n, e) by a fitted clone.

        Raises:
            ValueError: if it predicts another shape, or no numbers.
        """
        predicted = np.asarray(fitted.predict(self.as_input(x)))
        if predicted.dtype.kind not in "fiub" or predicted.reshape(len(predicted), -1).shape != (len(x), targets):
            raise ValueError(
                f"estimator must predict numbers of shape ({len(x)}, {targets}) for {len(x)} rows; {self.estimator!r} predicts "
                f"{predicted.dtype} of shape {predicted.shape}"
            )
        return predicted.astype(np.float64).reshape(len(x), targets)

    def judging(self, x: FloatArray, labels: FloatArray, scale: Callable[[FloatArray], FloatArray]) -> Fit:
        """Fits one clone after the other, so that only one is in memory.

        Args:
            x: features of the whole table, shape (n, d).
            labels: of the whole table, shape (n, e).
            scale: converts labels to the unit of the folds.
        """

        def fit(fold: Fold, pairs: Sequence[Pairs], rngs: Sequence[np.random.Generator]) -> Iterator[Predict]:
            for each in pairs:
                yield partial(predict, self.fit(*with_mixed(x[fold.train], labels[fold.train], *each)))

        def predict(fitted: Any, x_val: FloatArray) -> FloatArray:
            return scale(self.predict(fitted, x_val, labels.shape[1]))

        return fit

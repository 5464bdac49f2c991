"""What is trained on the rows and the mixed rows: our own networks, or any regressor of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from mixrl.estimators.candidates import Pairs, with_mixed
from mixrl.estimators.folds import Fold, varying
from mixrl_env import FittedRegressors, ProblemConfig, fit_regressors
from mixrl_env.data import FloatArray
from mixrl_env.regressor import TrainingSet

Predict = Callable[[FloatArray], FloatArray]
"""Labels (n, e), in the unit of the folds, of features in their own units, shape (n, d)."""
Fit = Callable[[Fold, Sequence[Pairs], Sequence[np.random.Generator]], Iterable[Predict]]
"""Fits one model for each of some lists of pairs, on the training rows of a fold and the pairs mixed."""


@dataclass(frozen=True, eq=False)
class Network:
    """One trained network; an object and no closure, so that estimators can be pickled.

    Attributes:
        scaler: of the features, fitted to its training rows.
        varies: which columns were not constant there; it sees no others, shape (d,).
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
    """Clones of a regressor of scikit-learn. They are fitted to features and labels in their own units.

    Attributes:
        estimator: what is cloned.
        seed: of every random_state in it that is None.
        as_input: makes what the user gave of an array of features: a DataFrame, or the array.
    """

    estimator: Any
    seed: int
    as_input: Callable[[FloatArray], Any]

    def fit(self, x: FloatArray, labels: FloatArray) -> Any:
        """A clone fitted to features (n, d) and labels (n, e); a single target is flat for it, as most regressors want it."""
        own = clone(self.estimator)
        parameters = own.get_params()
        unset = [name for name in parameters if name.split("__")[-1] == "random_state" and parameters[name] is None]
        own.set_params(**dict.fromkeys(unset, self.seed))
        return own.fit(self.as_input(x), labels[:, 0] if labels.shape[1] == 1 else labels)

    def predict(self, fitted: Any, x: FloatArray, targets: int) -> FloatArray:
        """Labels (n, e) by a fitted clone.

        Raises:
            ValueError: if it predicts anything else.
        """
        predicted = np.asarray(fitted.predict(self.as_input(x)))
        if predicted.dtype.kind not in "fiub" or predicted.reshape(len(predicted), -1).shape != (len(x), targets):
            raise ValueError(
                f"estimator must predict numbers of shape ({len(x)}, {targets}) for {len(x)} rows; {self.estimator!r} predicts "
                f"{predicted.dtype} of shape {predicted.shape}"
            )
        return predicted.astype(np.float64).reshape(len(x), targets)

    def judging(self, x: FloatArray, labels: FloatArray, scale: Callable[[FloatArray], FloatArray]) -> Fit:
        """One clone after the other, so that only one is in memory.

        Args:
            x: features of the table that the folds are of, shape (n, d).
            labels: of the table, shape (n, e).
            scale: makes labels in the unit of the folds of labels in their own.
        """

        def fit(fold: Fold, pairs: Sequence[Pairs], rngs: Sequence[np.random.Generator]) -> Iterator[Predict]:
            for each in pairs:
                yield partial(predict, self.fit(*with_mixed(x[fold.train], labels[fold.train], *each)))

        def predict(fitted: Any, x_val: FloatArray) -> FloatArray:
            return scale(self.predict(fitted, x_val, labels.shape[1]))

        return fit

"""What plans are judged with: small networks that are trained side by side, or clones of a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from mixrl.estimators.folds import in_parts
from mixrl.estimators.rows import Rows, TrainingRows
from mixrl_env.data import FloatArray, IntArray, LabelScale
from mixrl_env.regressor import FittedRegressors, RegressorConfig, TrainingSet, fit_regressors
from mixrl_env.streams import stream

NETWORK = RegressorConfig(hidden_sizes=(64, 64), learning_rate=1e-3, max_steps=10_000, device="cpu")
"""The small network; many rows have larger minibatches."""
_MANY_ROWS, _LARGE_BATCH = 5000, 256
_MOST_COPIES = 4  # of a row of mean weight

Predict = Callable[[FloatArray], FloatArray]
"""Labels (n, e) of features (n, d), both in their own units."""


class Models(Protocol):
    """Fits models to rows and mixed rows."""

    def fit(self, rows: Rows, own: IntArray, plans: Sequence[IntArray], number: int) -> Sequence[Predict]:
        """One model for each list of pairs; they differ in nothing else.

        Args:
            rows: of the table.
            own: indices of those that are trained on.
            plans: pairs of these, as from `Rows.pairs`, each (p, 2).
            number: of the fold, -1 for all rows: seeds what is random.
        """
        ...


@dataclass(frozen=True, eq=False)
class Network:
    """One trained network; a class, so that estimators can be pickled.

    Attributes:
        scaler: of the features, fitted to the training rows.
        varies: True for each column that is not constant there; others are 0 for the network, shape (d,).
        labels: centre and scale of the labels that the networks predict.
        fitted: the network.
    """

    scaler: StandardScaler
    varies: npt.NDArray[np.bool_]
    labels: LabelScale
    fitted: FittedRegressors

    def __call__(self, x: FloatArray) -> FloatArray:
        """Labels (n, e) of features (n, d)."""
        scaled = np.where(self.varies, self.scaler.transform(np.where(self.varies, x, self.scaler.mean_)), 0.0)
        return self.labels.to_labels(self.fitted.predict(scaled)[0])


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The mean prediction of networks."""

    members: Sequence[Network]

    def __call__(self, x: FloatArray) -> FloatArray:
        """Labels (n, e) of features (n, d)."""
        mean: FloatArray = np.mean([member(x) for member in self.members], axis=0)
        return mean


@dataclass(frozen=True)
class Networks:
    """Means of small networks: the rows are cut into parts, and each part stops the training of one network on the others.

    Attributes:
        seed: of parts, initial weights and minibatches.
        parts: networks of each mean and repeat.
        repeats: how often the rows are cut.
    """

    seed: int
    parts: int
    repeats: int = 1

    def fit(self, rows: Rows, own: IntArray, plans: Sequence[IntArray], number: int) -> list[Predict]:
        """See `Models`; rows with weights are repeated in proportion to them, up to four times the mean."""
        rng, members = stream(self.seed, "parts that stop networks", number), [[] for _ in plans]  # type: ignore[var-annotated]
        parts = min(self.parts, len(np.unique(rows.groups[own])))
        for repeat in range(self.repeats):
            for place, stop in enumerate(in_parts(rows.groups, own, parts, rng)):
                train = np.setdiff1d(own, stop)
                inside = [pairs[np.isin(pairs, train).all(axis=1)] for pairs in plans]
                generators = [stream(self.seed, "networks", number, repeat, place) for _ in plans]
                for mean, network in zip(members, _networks(rows, train, stop, inside, generators), strict=True):
                    mean.append(network)
        return [Ensemble(mean) for mean in members]


def _networks(
    rows: Rows, train: IntArray, stop: IntArray, plans: Sequence[IntArray], rngs: Sequence[np.random.Generator]
) -> list[Network]:
    own = rows.x[train]
    scaler, varies = StandardScaler().fit(own), (own != own[:1]).any(axis=0)
    to_labels = StandardScaler().fit(rows.y[train])
    labels = LabelScale(to_labels.mean_, to_labels.scale_)

    def scaled(x: FloatArray) -> FloatArray:
        return np.where(varies, scaler.transform(np.where(varies, x, scaler.mean_)), 0.0)

    def repeated(given: TrainingRows) -> TrainingSet:
        copies = (
            np.arange(len(given.x)) if given.weights is None else np.repeat(np.arange(len(given.x)), _copies(given.weights))
        )
        return scaled(given.x[copies]), labels.to_standard(given.y[copies])

    config = replace(NETWORK, batch_size=_LARGE_BATCH) if len(own) > _MANY_ROWS else NETWORK
    sets = [repeated(rows.with_mixed(train, pairs)) for pairs in plans]
    fitted = fit_regressors(sets, *repeated(rows.with_mixed(stop, plans[0][:0])), config, rngs)
    ones = [fitted.one(m) for m in range(len(sets))]
    # Double precision, so that a row's prediction does not depend on how many others are predicted with it.
    precise = [replace(one, weights=[weight.double() for weight in one.weights]) for one in ones]
    return [Network(scaler, varies, labels, one) for one in precise]


@dataclass(frozen=True, eq=False)
class Clones:
    """Clones of a scikit-learn regressor.

    Attributes:
        estimator: the regressor to clone.
        seed: for every random_state in it that is None.
        as_input: converts an array of features to what the user passed: a DataFrame, a sparse matrix or an array.
        n_jobs: clones that are fitted at the same time, as in joblib.
    """

    estimator: Any
    seed: int
    as_input: Callable[[FloatArray], Any]
    n_jobs: int | None

    def fit(self, rows: Rows, own: IntArray, plans: Sequence[IntArray], number: int) -> list[Predict]:
        """See `Models`."""
        sets = [rows.with_mixed(own, pairs) for pairs in plans]
        fitted = Parallel(n_jobs=self.n_jobs)(delayed(self.fit_one)(training) for training in sets)
        return [Fitted(self, one, rows.y.shape[1]) for one in fitted]

    def fit_one(self, training: TrainingRows) -> Any:
        """A clone fitted to rows; a single target has shape (n,).

        Raises:
            ValueError: if there are weights that it does not take.
        """
        own = clone(self.estimator)
        parameters = own.get_params()
        unset = [name for name in parameters if name.split("__")[-1] == "random_state" and parameters[name] is None]
        own.set_params(**dict.fromkeys(unset, self.seed))
        x, y, weights = training
        if weights is not None and not has_fit_parameter(own, "sample_weight"):
            raise ValueError(f"sample_weight was given, but {type(own).__name__} takes none")
        more = {} if weights is None else {"sample_weight": weights}
        return own.fit(self.as_input(x), y[:, 0] if y.shape[1] == 1 else y, **more)

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


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted clone as a `Predict`."""

    clones: Clones
    fitted: Any
    targets: int

    def __call__(self, x: FloatArray) -> FloatArray:
        """Labels (n, e) of features (n, d)."""
        return self.clones.predict(self.fitted, x, self.targets)


def _copies(weights: FloatArray) -> IntArray:
    """How often each row is repeated: in the mean twice, zero where the weight is zero, at least one row once."""
    share = weights / weights.mean() if weights.mean() > 0 else np.ones(len(weights))
    copies = np.rint(2 * share).clip(max=2 * _MOST_COPIES).astype(np.int64)
    copies[(copies == 0) & (weights > 0)] = 1
    return copies

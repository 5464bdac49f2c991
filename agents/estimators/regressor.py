"""MixRLRegressor: a regressor that augments its training rows if that lowers the error on held-out rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mixrl.estimators.base import MixingEstimator
from mixrl_env.data import FloatArray

_PARTS, _REPEATS = 5, 2


class MixRLRegressor(RegressorMixin, MixingEstimator):
    """Chooses what to mix, as `MixRLSampler` does, and trains the final regressor on it.

    Without an estimator the prediction is the mean of ten small neural networks, each trained on four fifths of the rows and
    those mixed of them, and stopped early on the last fifth. With an estimator, a clone is fitted to all rows and the mixed
    ones.

    Args:
        estimator, strategy, cv, time_budget, categorical, round_integers, max_mixed, n_jobs, random_state, verbose: see
            `MixRLSampler`.

    Attributes:
        plan_, parents_, report_, gain_, chosen_, expected_gain_, n_features_in_, feature_names_in_: see `MixRLSampler`.
        estimator_: the fitted clone; None without an estimator.
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, groups: Any = None
    ) -> Self:
        """Choose what to mix, and train; see `MixRLSampler.fit`."""
        from mixrl.estimators.models import Fitted, Networks  # imports torch

        rows = self._choose(X, y, X_val, y_val, groups, sample_weight)
        self._flat = np.asarray(y).ndim == 1
        models = Networks(self._seed, _PARTS, _REPEATS) if self.estimator is None else self._clones()
        (self._model,) = models.fit(rows, np.arange(len(rows)), [rows.pairs(*self._pairs.T)], -1)
        self.estimator_ = self._model.fitted if isinstance(self._model, Fitted) else None
        return self

    def predict(self, X: Any) -> FloatArray:
        """Labels of features: shape (n,), or (n, e) if y had two dimensions.

        Raises:
            NotFittedError: before `fit`.
            ValueError: if the columns differ from those of `fit`.
        """
        check_is_fitted(self)
        labels = self._model(self._numbers(X, reset=False))
        return labels[:, 0] if self._flat else labels

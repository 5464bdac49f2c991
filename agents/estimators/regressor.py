"""MixRLRegressor: a regressor that augments its training rows if that lowers the error on held-out rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mixrl.estimators.base import MixingEstimator
from mixrl_env.data import FloatArray


class MixRLRegressor(RegressorMixin, MixingEstimator):
    """Chooses what to mix, as `MixRLSampler` does, and trains the final regressor on it.

    Without an estimator the prediction is the mean of small neural networks, one for each fold and chosen plan, each
    stopped early on the rows that its fold holds out. With an estimator, a clone is fitted to all rows and the mixed rows of
    the best plan; random_state seeds it if its own is None.

    Args:
        estimator: any regressor of scikit-learn, or None.
        standardize_labels: True trains the networks on labels that are centred and scaled, target by target; False trains them
            on labels in their own units. Predictions are in label units either way; see `MixRLSampler`.
        folds, trainings, time_budget, categorical, device, random_state, verbose: see `MixRLSampler`.

    Attributes:
        report_, chosen_, trainings_, n_features_in_, feature_names_in_: see `MixRLSampler`.
        plan_: the plan that the estimator was fitted with; see there. None without an estimator: every fold mixes its own rows.
        estimator_: the fitted clone; None without an estimator.
    """

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Choose what to mix, and train; see `MixRLSampler.fit`."""
        x, labels = self._search(X, y, X_val, y_val)
        self._flat = np.asarray(y).ndim == 1
        self.plan_ = self.estimator_ = None
        if self.estimator is not None:
            x, labels, self.plan_ = self._mix(x, labels)
            self.estimator_ = self._clones().fit(x, labels)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Labels of features: shape (n,), or (n, e) if y had two dimensions.

        Raises:
            NotFittedError: before `fit`.
            ValueError: if the columns differ from those of `fit`.
        """
        check_is_fitted(self)
        x = self._numbers(X, reset=False)
        if self.estimator_ is not None:
            labels = self._clones().predict(self.estimator_, x, len(self._label_scale.scale))
        else:
            members = [predict(x) for ways in self._found.members.values() for predict in ways]
            labels = self._label_scale.to_labels(np.mean(members, axis=0))
        return labels[:, 0] if self._flat else labels

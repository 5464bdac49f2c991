"""Augmented rows for any model: `fit_resample`, as imbalanced-learn's samplers have it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from mixrl.estimators.base import MixingEstimator
from mixrl_env.data import FloatArray


class MixRLSampler(MixingEstimator):
    """Adds mixed rows to a regression table: those that lower the error on held-out rows, or none.

    `fit` deals the rows into folds (or takes validation rows), learns from rewards which rows to mix with how many nearest
    neighbours (`mixrl.MaskRegression`, ours, in place of the paper's REINFORCE), and lets what was learned compete with
    simpler ways to mix and with not mixing. `fit_resample` applies the best one to all rows. Not mixing is chosen unless
    another way has a lower error by more than one standard error.

    Args:
        estimator: the regressor that the rows are for, such as a random forest: ways to mix are judged by it. None judges
            by a small neural network.
        folds: how many; with validation rows passed in, how many trainings each way is judged by.
        trainings: rewards that are spent to learn, over all folds; below 16 nothing is learned, and only simple ways compete.
        time_budget: seconds, roughly; with fewer than it needs fit learns from fewer rewards, and tries fewer ways in fewer
            folds. At least one way and no mixing are compared in one fold, whatever it takes. None needs what it needs, and
            gives the same result for the same seed.
        standardize_labels: True centres and scales the labels, target by target, for the networks and for the errors that
            ways to mix are compared by. False leaves them in their own units throughout: networks whose labels are far from
            0 or far from a spread of 1 learn slowly, and of several targets the one with the largest spread decides. An
            estimator is fitted to labels in their own units either way.
        categorical: what to do with DataFrame columns that hold no numbers or are categorical in pandas: "refuse" them, or
            "one_hot": a column of 0 and 1 for every value; mixed rows lie between.
        device: of the networks: "auto", "cpu", "cuda", ...
        random_state: seed of everything random, also of the estimator where its own is None.
        verbose: print what goes on; or a function that is told, of the share that is done and words.

    Attributes:
        plan_: rows that are mixed: columns row (position in X), space ("data": nearest by features, "label": by labels, "all":
            every other row), k, probability (NaN unless the plan was learned); empty if not mixing is best.
        report_: every way that was tried, with its RMSE on held-out rows, its gain in squared error over no mixing, the
            gain's standard error, and whether it was chosen; in label units, several standardised targets in standard
            deviations.
        chosen_: the chosen ways, the best first; fit_resample takes the best.
        trainings_: rewards that were spent.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Find out what to mix.

        Args:
            X: features, shape (n, d), n at least 4: an array, or a DataFrame whose columns hold numbers (see categorical).
            y: labels, shape (n,) or (n, e), in the order of X: an index is not looked at.
            X_val: validation rows that ways to mix are judged on; None judges on held-out rows of X.
            y_val: their labels.

        Raises:
            ValueError: for input that cannot be mixed, naming row and column: values that are missing or no numbers, too few
                rows, labels that are all equal, a name that is there twice.
        """
        self._fit(X, y, X_val, y_val)
        return self

    def fit_resample(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> tuple[Any, Any]:
        """Find out what to mix, and mix it.

        Args:
            X: see `fit`.
            y: see `fit`.
            X_val: see `fit`; validation rows are not returned.
            y_val: see `fit`.

        Returns:
            The rows of X and y, in their order, and behind them the mixed ones. All are floats. DataFrames and Series
            keep their names; the index is numbered anew.
        """
        x, labels = self._fit(X, y, X_val, y_val)
        return (x if self._columns is None else self._columns.frame(x)), _like(y, labels)

    def _fit(self, X: Any, y: Any, X_val: Any, y_val: Any) -> tuple[FloatArray, FloatArray]:
        x, labels, self.plan_ = self._mix(*self._search(X, y, X_val, y_val))
        return x, labels


def _like(y: Any, labels: FloatArray) -> Any:
    if isinstance(y, pd.DataFrame):
        return pd.DataFrame(labels, columns=y.columns)
    if isinstance(y, pd.Series):
        return pd.Series(labels[:, 0], name=y.name)
    return labels[:, 0] if np.asarray(y).ndim == 1 else labels

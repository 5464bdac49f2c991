"""MixRLSampler: augmented rows for any model by `fit_resample`, the interface of imbalanced-learn."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd

from mixrl.credit_regression import CreditRegression
from mixrl.estimators.base import MixingEstimator
from mixrl.estimators.columns import Categorical
from mixrl.estimators.models import with_mixed
from mixrl.estimators.search import Report
from mixrl_env import RegressionData
from mixrl_env.data import FloatArray
from mixrl_env.many_tables import policy_problem
from mixrl_env.plans import NO_MIXING, plan_table

Strategy = Literal["search", "pretrained"]
"""How `MixRLSampler` finds a plan."""


class MixRLSampler(MixingEstimator):
    """Adds mixed rows to a regression table, if they lower the error on held-out rows.

    With `strategy="search"` `fit` deals the rows into folds (or takes validation rows), learns from rewards which rows to mix
    with how many nearest neighbours (`mixrl.MaskRegression`, ours, in place of the paper's REINFORCE), and compares the learned
    plans with simpler candidate plans and with no mixing. No mixing is chosen unless another plan has a lower error by more
    than one standard error. With `strategy="pretrained"` it asks a policy that has learned on generated tables
    (`mixrl.CreditRegression`), which takes a second or two and holds no row out. `fit_resample` applies the plan to all rows.

    Args:
        estimator: the regressor that the rows are for, such as a random forest; plans are judged by its errors. None: a small
            neural network.
        folds: number of folds; with given validation rows, number of trainings for each plan.
        trainings: rewards to learn from, over all folds; below 16 nothing is learned, and only simple plans are compared.
        time_budget: seconds, roughly: with little time, fit learns from fewer rewards and tries fewer plans in fewer folds.
            No mixing and at least one plan are always compared in one fold. None has no limit, and gives the same result
            for the same seed.
        standardize_labels: True centres and scales the labels, target by target, for the networks and for the errors
            that plans are compared by. False uses labels in their own units: networks learn slowly if the labels are far from
            0 or have a spread far from 1, and the target with the largest spread dominates. An estimator is always fitted to
            labels in their own units.
        categorical: for DataFrame columns that are categorical or hold no numbers: "refuse" them, or "one_hot": a column of 0
            and 1 for every value, with values between in mixed rows.
        device: of the networks: "auto", "cpu", "cuda", ...
        random_state: seed of everything random, and of the estimator if its own is None.
        verbose: True prints the progress; or a function called with the finished share and a few words.

    Attributes:
        plan_: rows that are mixed: columns row (position in X), space ("data": nearest by features, "label": by labels, "all":
            every other row), k, probability (NaN unless the plan was learned); empty if no mixing is best.
        report_: one row a plan (column way), with its RMSE on held-out rows, its gain in squared error over no mixing, the
            gain's standard error, and whether it was chosen; in label units, several standardised targets in standard
            deviations.
        chosen_: names of the chosen plans, the best first; fit_resample applies the best.
        trainings_: rewards spent.
        expected_gain_: with `strategy="pretrained"`, log(RMSE without mixing / RMSE with it) that the policy expects of a small
            neural network; 0 where it leaves the table alone. report_ is then empty.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        strategy: Strategy = "search",
        folds: int = 5,
        trainings: int = 512,
        time_budget: float | None = None,
        standardize_labels: bool = True,
        categorical: Categorical = "refuse",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | Report = False,
    ) -> None:
        super().__init__(
            estimator,
            folds=folds,
            trainings=trainings,
            time_budget=time_budget,
            standardize_labels=standardize_labels,
            categorical=categorical,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.strategy = strategy

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Choose what to mix.

        Args:
            X: features, shape (n, d), n at least 4: an array, or a DataFrame whose columns hold numbers (see categorical).
            y: labels, shape (n,) or (n, e), in the order of X; an index is ignored.
            X_val: validation rows to judge plans on; None uses held-out rows of X.
            y_val: their labels.

        Raises:
            ValueError: for missing values and values that are not numbers, naming row and column; too few rows; labels that are
                all equal; two columns of the same name.
        """
        self._fit(X, y, X_val, y_val)
        return self

    def fit_resample(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> tuple[Any, Any]:
        """Choose what to mix, and mix it.

        Args:
            X: see `fit`.
            y: see `fit`.
            X_val: see `fit`; validation rows are not returned.
            y_val: see `fit`.

        Returns:
            The rows of X and y in their order, followed by the mixed rows, all floats. DataFrames and Series keep their
            names, and get a new index from 0.
        """
        x, labels = self._fit(X, y, X_val, y_val)
        return (x if self._columns is None else self._columns.frame(x)), _like(y, labels)

    def _fit(self, X: Any, y: Any, X_val: Any, y_val: Any) -> tuple[FloatArray, FloatArray]:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy must be one of {', '.join(map(repr, get_args(Strategy)))}, got {self.strategy!r}")
        if self.strategy == "search":
            x, labels, self.plan_ = self._mix(*self._search(X, y, X_val, y_val))
            return x, labels
        if X_val is not None or y_val is not None:
            raise ValueError("strategy='pretrained' looks at no validation rows: leave X_val and y_val out")
        x, labels = self._read(X, y)
        problem = policy_problem(RegressionData(x, self._scale(labels), x[:1], self._scale(labels)[:1]))
        plan, self.expected_gain_ = CreditRegression.load().plan(problem)
        self.plan_ = plan_table(problem, plan).assign(probability=np.nan)
        self.report_ = pd.DataFrame(columns=["way", "rmse", "gain", "standard_error", "chosen"])
        self.chosen_, self.trainings_ = ("pretrained" if len(plan.rows) else NO_MIXING,), 0
        return with_mixed(x, labels, *problem.neighbors.pairs(plan.rows, plan.options))


def _like(y: Any, labels: FloatArray) -> Any:
    if isinstance(y, pd.DataFrame):
        return pd.DataFrame(labels, columns=y.columns)
    if isinstance(y, pd.Series):
        return pd.Series(labels[:, 0], name=y.name)
    return labels[:, 0] if np.asarray(y).ndim == 1 else labels

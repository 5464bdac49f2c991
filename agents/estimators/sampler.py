"""MixRLSampler: augmented rows for any model by `fit_resample`, the interface of imbalanced-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from mixrl.estimators.base import MixingEstimator
from mixrl_env.data import FloatArray


class MixRLSampler(MixingEstimator):
    """Adds mixed rows to a regression table, if they lower the error on held-out rows.

    With `strategy="search"` candidate plans compete with no mixing: one by a policy that has learned on generated tables
    (`mixrl.CreditRegression`), and simple ones, such as the 16 nearest by label for every row. In every fold a model is trained
    with each of them and judged by the rows that the fold holds out. A plan is chosen if the gain to be expected of it on new
    rows exceeds its standard deviation. With `strategy="pretrained"` the policy alone decides, in a second or two and for small
    networks; no row is held out.

    The order of the rows changes no result.

    Args:
        estimator: the regressor that the rows are for, such as a random forest; plans are judged by its errors. None: a mean of
            small neural networks. If its random_state is None, it is seeded.
        strategy: "search", "pretrained" or "none".
        cv: number of folds, a splitter of scikit-learn, or its splits. Rows that are there several times, and rows of a group,
            stay on one side of every fold of a number; a splitter gets them as groups. With validation rows: trainings of each
            plan.
        time_budget: seconds that a search may take: with little time fewer plans are tried in fewer folds. It is held to within
            a fit of the estimator; that on all rows, which `MixRLRegressor` adds, is not counted. None has no limit, and gives
            the same result for the same seed.
        categorical: for DataFrame columns that are categorical or hold no numbers: "refuse" them; "one_hot": a column of 0 and
            1 for every value, with values between in mixed rows; or "within": rows are mixed only where all categories agree,
            and the columns stay as they are.
        round_integers: True rounds mixed values in columns, of the target too, whose values are all whole numbers.
        max_mixed: most mixed rows: a whole number, or a float as a multiple of the number of rows; pairs are drawn by the seed.
            None keeps all.
        n_jobs: clones of the estimator that are fitted at the same time, as in scikit-learn. Networks take torch's threads.
        random_state: seed of everything random, and of the estimator if its own is None.
        verbose: True prints the progress; or a function called with the finished share and a few words.

    Attributes:
        plan_: rows that are mixed: columns row (position in X), space ("data": nearest by features, "label": by labels) and
            k; empty if no mixing is best.
        parents_: the two rows behind each mixed row, in the order of the mixed rows: columns row, neighbor (positions in X)
            and lambda, the share of the first.
        report_: one row a candidate plan, with its RMSE on held-out rows, how much lower that is than without mixing, the
            standard error of this gain, and whether it was chosen; in label units, several targets in standard deviations.
            Empty unless strategy is "search".
        gain_: (mean, low, high): how much choosing a plan in this way is expected to lower the RMSE of new rows, with a 95%
            interval, in the units of report_: measured on rows that the choice has not seen, of which 0.6 is kept; the interval
            is wide, because that share differs between tables. 0 where nothing is mixed, NaN unless strategy is "search".
        held_out_: a dictionary of the rows that judged (row, positions in X or X_val) and their predictions without mixing and
            by the chosen plan, by its name, each (m, e). Only after a search.
        chosen_: name of the chosen plan.
        expected_gain_: with `strategy="pretrained"`, log(RMSE without mixing / RMSE with it) that the policy expects of a small
            neural network; 0 where it leaves the table alone.
        sample_weight_: weights of the returned rows, where weights were given; those of mixed rows lie between their parents'.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, groups: Any = None
    ) -> Self:
        """Choose what to mix.

        Args:
            X: features, shape (n, d), n at least 4: an array, a sparse matrix, or a DataFrame (see categorical). Values may be
                missing where the estimator takes that.
            y: labels, shape (n,) or (n, e), in the order of X; an index is ignored.
            sample_weight: of the rows, shape (n,): in the errors that plans are judged by, and for the models, if they take it;
                networks see rows as often as their weights say.
            X_val: validation rows to judge plans on; None uses held-out rows of X.
            y_val: their labels.
            groups: of the rows, shape (n,), such as the patient or the batch: a group stays on one side of every fold.

        Raises:
            ValueError: for missing values and values that are not numbers, naming row and column; too few rows or groups;
                labels that are all equal; two columns of the same name.
        """
        self.fit_resample(X, y, sample_weight, X_val=X_val, y_val=y_val, groups=groups)
        return self

    def fit_resample(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, groups: Any = None
    ) -> tuple[Any, Any]:
        """Choose what to mix, and mix it; arguments as those of `fit`.

        Returns:
            The rows of X and y in their order, followed by the mixed rows. DataFrames and Series keep their names and get a new
            index from 0; their columns become floats, but for categories that are kept and integers that are rounded.
        """
        rows = self._choose(X, y, X_val, y_val, groups, sample_weight)
        x, labels, self.sample_weight_ = self._with_mixed(rows)
        made = self._as_given(x)
        if self.round_integers and isinstance(X, pd.DataFrame):
            made = _with_integers(made, X)
        return made, _like(y, labels, self.round_integers)


def _with_integers(made: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Columns of integers, such as they were given."""
    return made.astype({name: dtype for name, dtype in given.dtypes.items() if dtype.kind in "iu" and name in made})


def _like(y: Any, labels: FloatArray, round_integers: bool) -> Any:
    if isinstance(y, pd.DataFrame | pd.Series):
        frame = pd.DataFrame(y)
        made = pd.DataFrame(labels, columns=frame.columns)
        if round_integers:
            made = _with_integers(made, frame)
        return made if isinstance(y, pd.DataFrame) else pd.Series(made.iloc[:, 0], name=y.name)
    return labels[:, 0] if np.asarray(y).ndim == 1 else labels

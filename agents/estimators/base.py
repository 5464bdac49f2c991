"""What the sampler and the regressor share: arguments, checked input, the choice of a plan, and mixed rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import check_cv
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.validation import check_consistent_length, validate_data

from mixrl.estimators.columns import FEWEST_ROWS, Categorical, Columns, as_floats, as_matrix
from mixrl.estimators.folds import Fold, deal
from mixrl.estimators.rows import LAMBDA, Rows, TrainingRows
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.streams import stream

# Modules that import torch, which takes seconds, are imported by the methods that need them.
if TYPE_CHECKING:
    from mixrl.estimators.models import Clones
    from mixrl.estimators.search import Report

Strategy = Literal["search", "pretrained", "none"]
"""How a plan is found: by trying some, by the policy that has learned on generated tables, or not at all."""
_MOST_TRIED = 2000  # rows that a search tries plans on
_PARTS = 5  # networks whose mean judges a plan in a fold
_REPORT = ("plan", "rmse", "gain", "standard_error", "chosen")


class MixingEstimator(BaseEstimator):
    """Base of `MixRLSampler` and `MixRLRegressor`; see `MixRLSampler` for the arguments."""

    _columns: Columns | None  # of the DataFrame that was fitted; None for an array
    _sparse: str | None  # format of a sparse matrix that was fitted
    chosen_: str

    def __init__(
        self,
        estimator: Any = None,
        *,
        strategy: Strategy = "search",
        cv: Any = 5,
        time_budget: float | None = None,
        categorical: Categorical = "refuse",
        round_integers: bool = False,
        max_mixed: float | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | Report = False,
    ) -> None:
        self.estimator = estimator
        self.strategy = strategy
        self.cv = cv
        self.time_budget = time_budget
        self.categorical = categorical
        self.round_integers = round_integers
        self.max_mixed = max_mixed
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # The choice

    def _choose(self, X: Any, y: Any, X_val: Any, y_val: Any, groups: Any, sample_weight: Any) -> Rows:
        """Check the input, choose a plan and set the fitted attributes; returns the rows."""
        from mixrl.estimators.search import NAN_GAIN, POLICY, Planner
        from mixrl_env.plans import NO_MIXING

        self._check_parameters()
        rows = self._read(X, y, groups, sample_weight)
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither to hold out rows of X")
        val = None if X_val is None else self._read_val(X_val, y_val, rows)
        if val is not None and self.strategy != "search":
            raise ValueError(f"strategy={self.strategy!r} judges no plan: leave X_val and y_val out")
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        planner = Planner(rows, np.arange(len(rows)))
        if self.strategy == "search":
            self._search(rows, val)
            plan = planner.plan(self.chosen_)
        else:
            self.report_, self.gain_ = pd.DataFrame(columns=[*_REPORT]), NAN_GAIN
            plan, self.expected_gain_ = planner.plan(NO_MIXING), 0.0
            if self.strategy == "pretrained":
                plan, self.expected_gain_ = planner.promised()
            self.chosen_ = POLICY if len(plan.rows) else NO_MIXING
        self._set_plan(rows, planner.table(plan), self._capped(planner.pairs(plan), len(rows)))
        return rows

    def _search(self, rows: Rows, val: Rows | None) -> None:
        from mixrl.estimators.models import Networks
        from mixrl.estimators.search import Effort, Gain, search

        report = self.verbose if callable(self.verbose) else _print if self.verbose else _say_nothing
        tried = rows.first(_MOST_TRIED, stream(self._seed, "rows that plans are tried on"))
        if val is None:
            folds = deal(tried, self.cv, self._seed)
        else:
            every = np.arange(len(tried))
            folds = [Fold(every, every[:0])] * check_cv(self.cv).get_n_splits(tried.x, groups=tried.groups)
        models = Networks(self._seed, _PARTS) if self.estimator is None else self._clones()
        found = search(tried, val, folds, models, Effort(self.time_budget, self._capped), report)
        # The errors of several targets are averaged in standard deviations.
        scale = float(rows.labels.scale[0]) if len(rows.labels.scale) == 1 else 1.0
        without = scale * float(found.table["rmse"][0])
        of_rmse = {name: found.table[name] * without for name in ("gain", "standard_error")}
        self.report_ = found.table.assign(rmse=found.table["rmse"] * scale, **of_rmse)
        self.chosen_, self.gain_ = found.chosen, Gain(*(without * value for value in found.gain))
        judged = tried if val is None else val
        given = judged.order[found.held]
        self.held_out_ = {name: values[np.argsort(given)] for name, values in found.predicted.items()} | {"row": np.sort(given)}

    def _capped(self, pairs: IntArray, count: int) -> IntArray:
        """At most so many pairs as `max_mixed` says, for so many rows."""
        most = len(pairs) if self.max_mixed is None else self.max_mixed
        most = int(most * count) if isinstance(most, float) else most
        if len(pairs) <= most:
            return pairs
        return pairs[np.sort(stream(self._seed, "pairs that are mixed").choice(len(pairs), most, replace=False))]

    def _set_plan(self, rows: Rows, plan: pd.DataFrame, pairs: IntArray) -> None:
        """`plan_` and `parents_`, by the given numbers of the rows."""
        order = ["row", "space"]
        self.plan_ = plan.assign(row=rows.order[plan["row"]]).sort_values(order, ignore_index=True)
        given = rows.order[pairs]
        low, high = given.min(axis=1), given.max(axis=1)
        sorting = np.lexsort([high, low])
        self._pairs = pairs[sorting]
        self.parents_ = pd.DataFrame({"row": low[sorting], "neighbor": high[sorting], "lambda": LAMBDA})

    def _with_mixed(self, rows: Rows) -> TrainingRows:
        """All rows in the order in which they were given, and the mixed ones in that of `parents_`."""
        return rows.with_mixed(np.argsort(rows.order), self._pairs)

    def _clones(self) -> Clones:
        from mixrl.estimators.models import Clones

        return Clones(self.estimator, self._seed, self._as_given, self.n_jobs)

    # Input

    def _read(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> Rows:
        """The rows to fit to."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        x, labels = self._numbers(X, reset=True), as_matrix(y)
        check_consistent_length(x, labels)
        if len(x) < FEWEST_ROWS:
            raise ValueError(f"found {len(x)} sample(s) (n_samples={len(x)}), while a minimum of {FEWEST_ROWS} is required")
        if (labels == labels[0]).all():
            raise ValueError(f"y is {', '.join(map(str, labels[0]))} in every row: there is nothing to predict")
        if groups is not None:
            check_consistent_length(x, groups)
            groups = pd.factorize(np.asarray(groups))[0]
        whole = np.zeros(x.shape[1] + labels.shape[1], dtype=bool)
        if self.round_integers:
            given = np.column_stack([x, labels])
            whole = (np.isnan(given) | (given == np.rint(given))).all(axis=0)
        kinds = np.zeros(len(x), dtype=np.int64)
        if self._columns is not None and self.categorical == "within":
            kinds = self._columns.kinds(x)
        return Rows.ordered(x, labels, _weights(sample_weight, len(x)), groups, kinds, whole)

    def _read_val(self, X_val: Any, y_val: Any, rows: Rows) -> Rows:
        x, labels = self._numbers(X_val, "X_val", reset=False), as_matrix(y_val, "y_val")
        check_consistent_length(x, labels)
        if labels.shape[1] != rows.y.shape[1]:
            raise ValueError(f"y has {rows.y.shape[1]} targets but y_val has {labels.shape[1]}")
        kinds = np.zeros(len(x), dtype=np.int64)
        return replace(Rows.ordered(x, labels, None, None, kinds, rows.whole), labels=rows.labels)

    def _numbers(self, X: Any, name: str = "X", *, reset: bool) -> FloatArray:
        """Features as numbers, shape (n, d); reset remembers their columns for later calls."""
        missing = self._takes_missing()
        if isinstance(X, pd.DataFrame):
            if reset:
                self._columns, self._sparse = Columns(X, self.categorical), None
                self._columns.check_categories(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            return (self._columns or Columns(X, "refuse")).numbers(X, name, missing=missing)
        if reset:
            self._columns, self._sparse = None, X.format if scipy.sparse.issparse(X) else None
        elif self._columns and self._columns.categories:
            raise ValueError(f"{name} must be a DataFrame with the columns that were fitted, because some hold categories")

        def check() -> FloatArray:
            checked = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=False, accept_sparse=True)
            return checked.toarray() if scipy.sparse.issparse(checked) else checked  # type: ignore[no-any-return]

        return as_floats(X, name, check, missing=missing)

    def _takes_missing(self) -> bool:
        return self.estimator is not None and get_tags(self.estimator).input_tags.allow_nan

    def _as_given(self, x: FloatArray) -> Any:
        """Numbers as the kind of input that was fitted."""
        if self._columns is not None:
            return self._columns.frame(x)
        return x if self._sparse is None else scipy.sparse.csr_array(x).asformat(self._sparse)

    def _check_parameters(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy must be one of {', '.join(map(repr, get_args(Strategy)))}, got {self.strategy!r}")
        whole = isinstance(self.cv, int | np.integer) and not isinstance(self.cv, bool)
        splits = (hasattr(self.cv, "split") or isinstance(self.cv, Iterable)) and not isinstance(self.cv, str)
        if not (whole and self.cv >= 2) and not splits:
            raise ValueError(f"cv must be a whole number of at least 2, a splitter or splits, got {self.cv!r}")
        for name in ("time_budget", "max_mixed"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < np.inf):
                raise ValueError(f"{name} must be None or a number above 0, got {value!r}")
        if self.categorical not in get_args(Categorical):
            raise ValueError(
                f"categorical must be one of {', '.join(map(repr, get_args(Categorical)))}, got {self.categorical!r}"
            )
        if not isinstance(self.round_integers, bool):
            raise ValueError(f"round_integers must be True or False, got {self.round_integers!r}")
        if not isinstance(self.verbose, bool) and not callable(self.verbose):
            raise ValueError(f"verbose must be True, False or a function of a share and words, got {self.verbose!r}")
        if self.estimator is not None:
            clone(self.estimator)  # raises TypeError if it is not an estimator
            if not hasattr(self.estimator, "predict"):
                raise ValueError(f"estimator must be a regressor with the methods fit and predict, got {self.estimator!r}")

    def __sklearn_tags__(self) -> Tags:
        """Several targets and sparse features are supported, and missing values where the estimator takes them."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._takes_missing()
        return tags


def _weights(given: Any, count: int) -> FloatArray | None:
    """Checked sample weights, shape (n,)."""
    if given is None:
        return None
    weights: FloatArray = np.asarray(given, dtype=np.float64)
    if weights.shape != (count,):
        raise ValueError(f"sample_weight must have shape ({count},), got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any()):
        raise ValueError("sample_weight must hold finite numbers that are not negative, and not only zeros")
    return weights


def _print(share: float, words: str) -> None:
    print(f"[{share:4.0%}] {words}", flush=True)


def _say_nothing(share: float, words: str) -> None:
    pass

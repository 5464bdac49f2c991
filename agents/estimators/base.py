"""What the sampler and the regressor share: checked input, the scale of the labels, and the choice of plans."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_consistent_length, validate_data

from mixrl.estimators.columns import Categorical, Columns, as_floats, as_matrix
from mixrl.estimators.models import Clones, deal, folds_stream, given, networks, with_mixed
from mixrl.estimators.search import LEARNED, LEARNED_HALF, Effort, Found, Mixer, Report, default_config, search
from mixrl_env import RegressionData
from mixrl_env.data import FloatArray, LabelScale
from mixrl_env.plans import NO_MIXING
from mixrl_env.streams import stream

FEWEST_ROWS = 4
_MOST_PAIRS, _FEW_PAIRS = 100_000, 20_000  # a network takes as many steps on any number of rows, other models take longer
_TRIAL_ROWS = 1000
_TOGETHER = 6  # plans: networks are trained side by side, other models one after the other


class MixingEstimator(BaseEstimator):
    """Base of `MixRLSampler` and `MixRLRegressor`; see there for the arguments."""

    _columns: Columns | None  # of the DataFrame that was fitted; None for an array

    def __init__(
        self,
        estimator: Any = None,
        *,
        folds: int = 5,
        trainings: int = 512,
        time_budget: float | None = None,
        standardize_labels: bool = True,
        categorical: Categorical = "refuse",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | Report = False,
    ) -> None:
        self.estimator = estimator
        self.folds = folds
        self.trainings = trainings
        self.time_budget = time_budget
        self.standardize_labels = standardize_labels
        self.categorical = categorical
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _read(self, X: Any, y: Any) -> tuple[FloatArray, FloatArray]:
        """Check the input, and remember the scale of the labels; returns features and labels."""
        self._check_parameters()
        x, labels = self._take(X, y)
        self._label_scale = LabelScale.identity(labels.shape[1])
        if self.standardize_labels:
            scaler = StandardScaler().fit(labels)
            self._label_scale = LabelScale(scaler.mean_, scaler.scale_)
        return x, labels

    def _search(self, X: Any, y: Any, X_val: Any, y_val: Any) -> tuple[FloatArray, FloatArray]:
        """Check the input, choose plans and set the fitted attributes; returns features and labels."""
        x, labels = self._read(X, y)
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither to hold out rows of X")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rng = folds_stream(seed)
        if X_val is None:
            folds = deal(x, self._scale(labels), min(self.folds, len(x) - 2), rng)
        else:
            x_val, labels_val = self._numbers(X_val, "X_val", reset=False), as_matrix(y_val, "y_val")
            check_consistent_length(x_val, labels_val)
            if labels_val.shape[1] != labels.shape[1]:
                raise ValueError(f"y has {labels.shape[1]} targets but y_val has {labels_val.shape[1]}")
            folds = given(x, self._scale(labels), x_val, self._scale(labels_val), self.folds, rng)
        self._seed = seed
        config = default_config(min(len(fold.data.x_train) for fold in folds), self.device)
        self._config = replace(config, standardize_labels=self.standardize_labels)
        if self.estimator is None:
            fit, most_pairs, together = networks(self._config), _MOST_PAIRS, _TOGETHER
        else:
            trial = self._clones().fit(x[:_TRIAL_ROWS], labels[:_TRIAL_ROWS])  # fail before the search, not after it
            self._clones().predict(trial, x[:_TRIAL_ROWS], labels.shape[1])
            fit, most_pairs, together = self._clones().judging(x, labels, self._scale), _FEW_PAIRS, 2
        report = self.verbose if callable(self.verbose) else _print if self.verbose else _say_nothing
        effort = Effort(self.trainings, self.time_budget, most_pairs, together)
        self._found = search(folds, self._config, fit, effort, keep=self.estimator is None, seed=seed, report=report)
        self._set_report(self._found)
        return x, labels

    def _mix(self, x: FloatArray, labels: FloatArray) -> tuple[FloatArray, FloatArray, pd.DataFrame]:
        """All rows followed by the mixed rows of the best plan; and the plan."""
        way, policy = self.chosen_[0], self._found.policy
        if way == NO_MIXING:
            plan = pd.DataFrame({"row": [0], "space": ["data"], "k": [0], "probability": [0.0]}).iloc[:0]
            return x, labels, plan
        scaled = self._scale(labels)
        mixer = Mixer(RegressionData(x, scaled, x[:1], scaled[:1]), self._config)
        plans = mixer.plans(policy if way in (LEARNED, LEARNED_HALF) else None, stream(self._seed, "plan for all rows"))
        return *with_mixed(x, labels, *mixer.pairs(plans[way])), plans[way].reset_index(drop=True)

    def _clones(self) -> Clones:
        return Clones(self.estimator, self._seed, np.asarray if self._columns is None else self._columns.frame)

    def _set_report(self, found: Found) -> None:
        # The errors of several targets are averaged in standard deviations.
        scale = float(self._label_scale.scale[0]) if len(self._label_scale.scale) == 1 else 1.0
        table = found.table
        self.report_ = table.assign(
            rmse=table["rmse"] * scale, gain=table["gain"] * scale**2, standard_error=table["standard_error"] * scale**2
        )
        self.chosen_ = tuple(found.chosen)
        self.trainings_ = found.policy.trainings if found.policy else 0

    def _check_parameters(self) -> None:
        for name, least in (("folds", 2), ("trainings", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        budget = self.time_budget
        if budget is not None and (not isinstance(budget, Real) or isinstance(budget, bool) or not 0 < budget < np.inf):
            raise ValueError(f"time_budget must be None or a number of seconds above 0, got {budget!r}")
        if self.categorical not in ("refuse", "one_hot"):
            raise ValueError(f"categorical must be 'refuse' or 'one_hot', got {self.categorical!r}")
        if not isinstance(self.standardize_labels, bool):
            raise ValueError(f"standardize_labels must be True or False, got {self.standardize_labels!r}")
        if not isinstance(self.verbose, bool) and not callable(self.verbose):
            raise ValueError(f"verbose must be True, False or a function of a share and words, got {self.verbose!r}")
        if self.estimator is not None:
            clone(self.estimator)  # raises TypeError if it is not an estimator
            if not hasattr(self.estimator, "predict"):
                raise ValueError(f"estimator must be a regressor with the methods fit and predict, got {self.estimator!r}")

    def _take(self, X: Any, y: Any) -> tuple[FloatArray, FloatArray]:
        """Features (n, d) and labels (n, e) to fit to."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        x, labels = self._numbers(X, reset=True), as_matrix(y)
        check_consistent_length(x, labels)
        if len(x) < FEWEST_ROWS:
            raise ValueError(f"found {len(x)} sample(s) (n_samples={len(x)}), while a minimum of {FEWEST_ROWS} is required")
        if (labels == labels[0]).all():
            raise ValueError(f"y is {', '.join(map(str, labels[0]))} in every row: there is nothing to predict")
        return x, labels

    def _numbers(self, X: Any, name: str = "X", *, reset: bool) -> FloatArray:
        """Features as numbers, shape (n, d); reset remembers their columns for later calls."""
        if isinstance(X, pd.DataFrame):
            if reset:
                self._columns = Columns(X, self.categorical)
                self._columns.check_categories(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            return (self._columns or Columns(X, "refuse")).numbers(X, name)
        if reset:
            self._columns = None
        elif self._columns and self._columns.categories:
            raise ValueError(f"{name} must be a DataFrame with the columns that were fitted, because some hold categories")
        return as_floats(X, name, lambda: validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=False))

    def _scale(self, labels: FloatArray) -> FloatArray:
        return self._label_scale.to_standard(labels)

    def __sklearn_tags__(self) -> Tags:
        """Several targets are supported."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _print(share: float, words: str) -> None:
    print(f"[{share:4.0%}] {words}", flush=True)


def _say_nothing(share: float, words: str) -> None:
    pass

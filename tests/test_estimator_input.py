"""What MixRLSampler and MixRLRegressor take: kinds of columns, units and sizes; and what they say of what they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_array
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLRegressor, MixRLSampler
from mixrl_env.plans import NO_MIXING

pytestmark = pytest.mark.usefixtures("small_networks")
ROWS = 40
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = X @ [1, 2, 3]
FRAME = pd.DataFrame({"a": X[:, 0], "color": ["red", "blue"] * (ROWS // 2), "c": X[:, 1]})
TREE = DecisionTreeRegressor(random_state=0)
ENCODER = OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")
ENCODED = make_pipeline(make_column_transformer(ENCODER, remainder="passthrough"), TREE)


def sampler(estimator: Any = TREE, **arguments: Any) -> MixRLSampler:
    return MixRLSampler(estimator, **{"cv": 2, "random_state": 0} | arguments)


def regressor(estimator: Any = None, **arguments: Any) -> MixRLRegressor:
    return MixRLRegressor(estimator or Ridge(), **{"cv": 2, "random_state": 0} | arguments)


def with_value(row: int, column: int, value: object) -> np.ndarray:
    changed = X.astype(object)
    changed[row, column] = value
    return changed


def of_labels(row: int, value: object) -> pd.Series:
    labels = pd.Series(Y, name="price", dtype=object)
    labels[row] = value
    return labels


# Errors


@pytest.mark.parametrize(
    ("x", "y", "words"),  # more of these are in bad_calls.py
    [
        (X[[0, 1] * 3], Y[[0, 1] * 3], "found 2 different rows or groups, but a minimum of 3 is required"),
        ([["1", "2"], ["3", "oak"]] * 20, Y, r"X has 'oak', which is no number, in row 1 \(from 0\), column '1' .*encode"),
        (with_value(3, 1, None), Y, r"X contains NaN in row 3, column 1 \(from 0; the first of 1 in 40 rows\): fill in or"),
        (with_value(3, 1, -np.inf), Y, "X contains -inf in row 3, column 1"),
        (X, of_labels(7, "oak"), r"y has 'oak', which is no number, in row 7 \(from 0\), column 'price'"),
        (X, of_labels(7, None), r"y has no value in row 7 \(from 0\), column 'price' \(the first of 1 in 40 rows\): fill in"),
        (X, pd.DataFrame(X[:, :2], columns=["t", "t"]), "y has 2 columns called 't': rename or drop all but one"),
        (X, pd.DataFrame(index=range(ROWS)), "y has no columns"),
        (FRAME.assign(color=pd.Categorical([1, 2] * 20)), Y, r"categories: 'color' \(1, 2\)"),
        (FRAME.assign(color=pd.array([1, None] * 20, dtype="Int64")), Y, r"X has no value in row 1 \(from 0\), column 'color'"),
        (FRAME.assign(color=None), Y, r"X has no value in row 0 \(from 0\), column 'color' \(the first of 40 in 40 rows\)"),
    ],
)
def test_what_is_wrong_is_said_with_row_and_column(x: Any, y: Any, words: str) -> None:
    for estimator in (sampler(Ridge()), regressor()):
        with pytest.raises(ValueError, match=words):
            estimator.fit(x, y)


@pytest.mark.parametrize("categorical", ["one_hot", "within"])
@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["red", None] * 20, r"X has no value in row 1 \(from 0\), column 'color' \(the first of 20 in 40 rows\): fill in or"),
        ([f"row {row}" for row in range(ROWS)], "X has 40 different values in 40 rows of column 'color' .* too many for"),
        (pd.Categorical([1, "1"] * 20), "X, one-hot encoded, has 2 columns called 'color=1'"),
    ],
)
def test_columns_that_are_no_categories(column: Any, words: str, categorical: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampler(Ridge(), categorical=categorical).fit(FRAME.assign(color=column), Y)


@pytest.mark.parametrize(
    "column", [pd.date_range("2020-01-31", periods=ROWS), [f"2021-03-{day:02}" for day in range(1, 21)] * 2]
)
def test_the_recipe_for_dates_makes_numbers_of_them(column: Any) -> None:
    frame = FRAME[["a"]].assign(day=column)
    with pytest.raises(ValueError, match=r"X has dates in column 'day'") as refused:
        sampler(categorical="one_hot").fit(frame, Y)
    recipe = str(refused.value).partition("such as ")[2].partition(", or drop")[0]
    exec(recipe, {"pd": pd, "frame": frame})
    assert sampler().fit_resample(frame, Y)[0]["day"].diff()[1] == 1
    with pytest.raises(ValueError, match=r"X has time spans in column 'day'.*to_timedelta"):
        sampler().fit(frame.assign(day=pd.to_timedelta(np.arange(ROWS), unit="h")), Y)


@pytest.mark.parametrize(
    ("x_val", "y_val", "words"),
    [
        (None, Y, "X_val and y_val belong together"),
        (X[:, :2], Y, "2 features, but MixRLSampler is expecting 3"),
        (X, np.column_stack([Y, Y]), "y has 1 targets but y_val has 2"),
        (with_value(2, 0, np.nan), Y, "X_val contains NaN in row 2, column 0"),
        (X, of_labels(7, "oak"), "y_val has 'oak', which is no number, in row 7"),
    ],
)
def test_validation_rows_that_do_not_fit(x_val: Any, y_val: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampler(Ridge()).fit(X, Y, X_val=x_val, y_val=y_val)


# Categories


def test_one_hot_encoding() -> None:
    frame, labels = FRAME.assign(flag=[True, False] * 20), Y + 5 * (FRAME["color"] == "red")
    x, _ = sampler(categorical="one_hot").fit_resample(frame, labels)
    assert list(x) == ["a", "color=blue", "color=red", "c", "flag"]
    assert (x["color=red"][:ROWS] == (frame["color"] == "red")).all()
    assert (x["color=blue"] + x["color=red"] == 1).all()
    assert set(x["color=red"]) == {0, 0.5, 1}
    assert (x["flag"] == x["color=red"]).all()


@pytest.mark.usefixtures("any_gain_counts")
@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_within_categories(dtype: Any) -> None:
    """The wrapped estimator sees the columns as they were."""
    frame = FRAME.assign(color=pd.Series(FRAME["color"], dtype=dtype), level=pd.Categorical([3, 3, 7, 7] * 10))
    labels = Y + 5 * (FRAME["color"] == "red")
    fitted = sampler(ENCODED, categorical="within")
    x, y = fitted.fit_resample(frame, labels)
    assert x.dtypes.to_dict() == frame.dtypes.to_dict()
    pd.testing.assert_frame_equal(x[:ROWS], frame)
    assert len(x) - ROWS == len(fitted.parents_) > 0
    for number, (i, j) in enumerate(fitted.parents_[["row", "neighbor"]].to_numpy(), start=ROWS):
        for name in ("color", "level"):
            assert frame[name][i] == frame[name][j] == x[name][number]
        assert x["a"][number] == (frame["a"][i] + frame["a"][j]) / 2
        assert y[number] == (labels[i] + labels[j]) / 2


@pytest.mark.parametrize("categorical", ["one_hot", "within"])
def test_categories_at_prediction(categorical: str) -> None:
    labels = Y + 50 * (FRAME["color"] == "red")
    model = regressor(ENCODED if categorical == "within" else TREE, categorical=categorical).fit(FRAME, labels)
    red, blue, green = (float(model.predict(FRAME.assign(color=color)).mean()) for color in ("red", "blue", "green"))
    assert red - blue > 25
    assert np.isfinite(green)  # of no category that was fitted
    assert (model.n_features_in_, list(model.feature_names_in_)) == (3, ["a", "color", "c"])
    with pytest.raises(ValueError, match="X must be a DataFrame with the columns that were fitted"):
        model.predict(FRAME.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(FRAME[["c", "color", "a"]])


# Numbers


@pytest.mark.parametrize(
    "column",
    [
        pd.array([3, 4] * 20, dtype="Int64"),
        pd.array([True, False] * 20, dtype="boolean"),
        pd.array(["3", "4.5"] * 20, dtype="string"),
        np.array([3, "4.5"] * 20, dtype=object),
    ],
)
def test_kinds_of_numbers(column: Any) -> None:
    x, _ = sampler().fit_resample(FRAME.assign(color=column), Y)
    expected = [float(value) for value in column]
    assert x["color"][:ROWS].tolist() == expected
    assert x["color"].between(min(expected), max(expected)).all()
    assert (x.dtypes == np.float64).all()


@pytest.mark.parametrize("framed", [True, False])
def test_missing_values_where_the_estimator_takes_them(framed: bool) -> None:
    x, trees = X.copy(), HistGradientBoostingRegressor(min_samples_leaf=2, max_iter=5)
    x[::5, 0], x[1, :] = np.nan, np.nan
    given = pd.DataFrame(x, columns=["a", "b", "c"]) if framed else x
    fitted = sampler(trees)
    mixed = np.asarray(fitted.fit_resample(given, Y)[0])
    np.testing.assert_array_equal(mixed[:ROWS], x)
    np.testing.assert_array_equal(mixed[ROWS:], x[fitted.parents_[["row", "neighbor"]]].mean(axis=1))
    assert np.isfinite(regressor(trees).fit(given, Y).predict(given)).all()
    with pytest.raises(ValueError, match=r"NaN in row 0, column 0|no value in row 0"):
        sampler(Ridge()).fit(given, Y)


@pytest.mark.parametrize("kind", [csr_array, csc_matrix])
def test_sparse_rows_stay_sparse(kind: Any) -> None:
    dense = np.where(np.abs(X) > 0.5, X, 0)
    x, y = sampler().fit_resample(kind(dense), Y)
    expected = sampler().fit_resample(dense, Y)
    assert x.format == kind(dense).format
    np.testing.assert_array_equal(x.toarray(), expected[0])
    np.testing.assert_array_equal(y, expected[1])
    model = regressor().fit(kind(dense), Y)
    np.testing.assert_allclose(model.predict(kind(dense)), regressor().fit(dense, Y).predict(dense))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("estimator", [None, TREE, LinearRegression()], ids=["networks", "tree", "plane"])
def test_columns_that_say_nothing_are_harmless(estimator: Any) -> None:
    """Of one value, however large; where there is another later, networks do not look at it."""
    model = MixRLRegressor(estimator, cv=2, random_state=0)
    x = np.column_stack([X, np.full(ROWS, 7.0), np.full(ROWS, 1e30)])
    predicted = model.fit(x, Y).predict(x)
    assert np.abs(predicted - Y).max() < 4 * Y.std()
    x[:, 3:] = [-1e3, 1e29]
    if estimator is None:
        np.testing.assert_array_equal(model.predict(x), predicted)
    large = np.column_stack([X, 1e30 * X[:, 0]])
    assert np.abs(model.fit(large, Y).predict(large) - Y).max() < 4 * Y.std()


# Units and sizes


def test_units_do_not_matter() -> None:
    """Of about 1e-12 and 1e12; powers of 2, so that nothing is rounded."""
    unit_x, unit_y = 2.0**-40, 2.0**40
    plain, scaled = (MixRLRegressor(cv=2, random_state=0) for _ in range(2))
    expected = plain.fit(X, Y).predict(X)
    np.testing.assert_array_equal(scaled.fit(X * unit_x, Y * unit_y).predict(X * unit_x) / unit_y, expected)
    assert scaled.chosen_ == plain.chosen_
    for name in ("rmse", "gain", "standard_error"):
        np.testing.assert_array_equal(scaled.report_[name] / unit_y, plain.report_[name])
    np.testing.assert_array_equal(np.array(scaled.gain_) / unit_y, plain.gain_)


@pytest.mark.parametrize("strategy", ["search", "pretrained", "none"])
@pytest.mark.parametrize("rows", [4, 5])
def test_few_rows_and_more_folds_than_rows(rows: int, strategy: Any) -> None:
    labels = np.arange(rows)
    model = MixRLRegressor(strategy=strategy, cv=50, random_state=0).fit(X[:rows], labels)
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.report_["rmse"].to_numpy(dtype=float)).all()
    if strategy == "none":
        assert (len(model.parents_), model.chosen_, len(model.report_)) == (0, NO_MIXING, 0)

"""What MixRLSampler and MixRLRegressor take: kinds of columns, units and sizes; and what they say of what they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from mixrl import MixRLRegressor, MixRLSampler
from mixrl.estimators.search import default_config

ROWS = 40
X = np.random.default_rng(0).normal(size=(ROWS, 3))
Y = X @ [1, 2, 3]
FRAME = pd.DataFrame({"a": X[:, 0], "color": ["red", "blue"] * (ROWS // 2), "c": X[:, 1]})


def sampler(**arguments: Any) -> MixRLSampler:
    settings: dict[str, Any] = {"folds": 2, "trainings": 0, "random_state": 0}
    return MixRLSampler(LinearRegression(), **settings | arguments)


def regressor(**arguments: Any) -> MixRLRegressor:
    return MixRLRegressor(Ridge(), folds=2, trainings=0, random_state=0, **arguments)


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
    ("x", "y", "words"),
    [
        (X, None, "requires y to be passed, but the target y is None"),
        (X[:3], Y[:3], r"found 3 sample\(s\) .* a minimum of 4 is required"),
        (X, Y[:9], r"inconsistent numbers of samples: \[40, 9\]"),
        (X, np.full(ROWS, 2.5), "y is 2.5 in every row: there is nothing to predict"),
        (with_value(3, 1, "oak"), Y, r"X has 'oak', which is no number, in row 3 \(from 0\), column '1' .*encode"),
        ([["1", "2"], ["3", "oak"]] * 20, Y, r"X has 'oak', which is no number, in row 1 \(from 0\), column '1'"),
        (
            with_value(3, 1, None),
            Y,
            r"X contains NaN in row 3, column 1 \(from 0; the first of 1 in 40 rows\): fill in or drop",
        ),
        (with_value(3, 1, -np.inf), Y, "X contains -inf in row 3, column 1"),
        (X, of_labels(7, "oak"), r"y has 'oak', which is no number, in row 7 \(from 0\), column 'price'"),
        (X, of_labels(7, None), r"y has no value in row 7 \(from 0\), column 'price' \(the first of 1 in 40 rows\): fill in"),
        (X, [*Y[:39], np.inf], r"y contains inf in row 39 \(from 0; the first of 1 in 40 rows\)"),
        (X, pd.DataFrame(X[:, :2], columns=["t", "t"]), "y has 2 columns called 't': rename or drop all but one"),
        (X, pd.DataFrame(index=range(ROWS)), "y has no columns"),
        (pd.DataFrame(X, columns=["a", "b", "a"]), Y, "X has 2 columns called 'a': rename or drop all but one"),
        (FRAME, Y, r"X has columns of categories: 'color' \('blue', 'red'\).* categorical='one_hot'"),
        (FRAME.assign(color=pd.Categorical([1, 2] * 20)), Y, r"categories: 'color' \(1, 2\)"),
        (FRAME.assign(color=["1"] * 39 + ["oak"]), Y, r"X has 'oak', which is no number, in row 39 \(from 0\), column 'color'"),
        (
            FRAME.assign(color=[1.0] * 38 + [np.nan] * 2),
            Y,
            r"X has no value in row 38 .* column 'color' \(the first of 2 in 40",
        ),
        (FRAME.assign(color=pd.array([1, None] * 20, dtype="Int64")), Y, r"X has no value in row 1 \(from 0\), column 'color'"),
        (FRAME.assign(color=None), Y, r"X has no value in row 0 \(from 0\), column 'color' \(the first of 40 in 40 rows\)"),
    ],
)
def test_what_is_wrong_is_said_with_row_and_column(x: Any, y: Any, words: str) -> None:
    for estimator in (sampler(), regressor()):
        with pytest.raises(ValueError, match=words):
            estimator.fit(x, y)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            ["red", None] * 20,
            r"X has no value in row 1 \(from 0\), column 'color' \(the first of 20 in 40 rows\): fill in or drop",
        ),
        (
            [f"row {row}" for row in range(ROWS)],
            "X has 40 different values in 40 rows of column 'color' .* too many for categories",
        ),
        (pd.Categorical([1, "1"] * 20), "X, one-hot encoded, has 2 columns called 'color=1'"),
    ],
)
def test_columns_that_cannot_be_one_hot_encoded(column: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampler(categorical="one_hot").fit(FRAME.assign(color=column), Y)


@pytest.mark.parametrize(
    ("x_val", "y_val", "words"),
    [
        (X, None, "X_val and y_val belong together"),
        (None, Y, "X_val and y_val belong together"),
        (X[:, :2], Y, "2 features, but MixRLSampler is expecting 3"),
        (X, Y[:9], "inconsistent numbers of samples"),
        (X, np.column_stack([Y, Y]), "y has 1 targets but y_val has 2"),
        (with_value(2, 0, np.nan), Y, "X_val contains NaN in row 2, column 0"),
        (X, of_labels(7, "oak"), "y_val has 'oak', which is no number, in row 7"),
    ],
)
def test_validation_rows_that_do_not_fit(x_val: Any, y_val: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampler().fit(X, Y, X_val=x_val, y_val=y_val)


# Columns


def test_one_hot_encoding() -> None:
    frame, labels = FRAME.assign(flag=[True, False] * 20), Y + 5 * (FRAME["color"] == "red")
    x, _ = MixRLSampler(folds=2, trainings=0, categorical="one_hot", random_state=0).fit_resample(frame, labels)
    assert list(x) == ["a", "color=blue", "color=red", "c", "flag"]
    assert (x["color=red"][:ROWS] == (frame["color"] == "red")).all()
    assert (x["color=blue"] + x["color=red"] == 1).all()
    assert set(x["color=red"]) <= {0, 0.5, 1}
    assert (x["flag"] == x["color=red"]).all()


def test_one_hot_encoding_at_prediction() -> None:
    labels = Y + 50 * (FRAME["color"] == "red")
    model = regressor(categorical="one_hot").fit(FRAME, labels, X_val=FRAME, y_val=labels)
    assert model.predict(FRAME.iloc[:1].assign(color="red")) - model.predict(FRAME.iloc[:1].assign(color="blue")) > 25
    assert (model.n_features_in_, list(model.feature_names_in_)) == (3, ["a", "color", "c"])
    with pytest.raises(
        ValueError, match=r"X has 'green' in row 2 \(from 0\), column 'color' \(the first of 38 in 40 rows\): the"
    ):
        model.predict(FRAME.assign(color=["red", "blue"] + ["green"] * 38))
    with pytest.raises(
        ValueError, match="X must be a DataFrame with the columns that were fitted, because some hold categories"
    ):
        model.predict(FRAME.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(FRAME[["c", "color", "a"]])


@pytest.mark.parametrize(
    "column",
    [
        pd.array([3, 4] * 20, dtype="Int64"),
        pd.array([True, False] * 20, dtype="boolean"),
        pd.array(["3", "4.5"] * 20, dtype="string"),
        np.array([3, "4.5"] * 20, dtype=object),
        np.full(ROWS, 7, dtype=np.int8),
    ],
    ids=lambda column: str(column.dtype),
)
def test_kinds_of_numbers(column: Any) -> None:
    x, _ = sampler().fit_resample(FRAME.assign(color=column), Y)
    expected = [float(value) for value in column]
    assert x["color"][:ROWS].tolist() == expected
    assert x["color"].between(min(expected), max(expected)).all()
    assert (x.dtypes == np.float64).all()


# Units and sizes


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("unit_x", "unit_y"), [(2.0**-40, 2.0**40)])
def test_units_do_not_matter(unit_x: float, unit_y: float) -> None:
    """Of about 1e-12 and 1e12; powers of 2, so that nothing is rounded."""
    plain, scaled = (MixRLRegressor(folds=2, trainings=16, random_state=0) for _ in range(2))
    expected = plain.fit(X, Y).predict(X)
    np.testing.assert_array_equal(scaled.fit(X * unit_x, Y * unit_y).predict(X * unit_x) / unit_y, expected)
    assert scaled.chosen_ == plain.chosen_
    np.testing.assert_array_equal(scaled.report_["rmse"] / unit_y, plain.report_["rmse"])
    np.testing.assert_array_equal(scaled.report_["gain"] / unit_y**2, plain.report_["gain"])


@pytest.mark.parametrize("rows", [4, 5])
def test_few_rows_and_more_folds_than_rows(rows: int) -> None:
    labels = np.arange(rows)
    model = MixRLRegressor(folds=50, trainings=16, random_state=0).fit(X[:rows], labels)
    assert model.predict(X).shape == (ROWS,)
    assert np.isfinite(model.report_["rmse"]).all()
    x, y = sampler(folds=50).fit_resample(X[:rows], labels)
    np.testing.assert_array_equal(x[:rows], X[:rows])
    np.testing.assert_array_equal(y[:rows], labels)


@pytest.mark.parametrize(
    ("rows", "most"), [(2, 1), (7, 1), (8, 2), (16, 4), (63, 8), (64, 16), (5_000, 16), (5_001, 4), (100_000, 4)]
)
def test_a_neighbourhood_is_a_quarter_of_the_rows_at_most(rows: int, most: int) -> None:
    assert max(option.k for option in default_config(rows).options) == most

"""Regression data: the bundled NO2 table, its splits, standardisation, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixrl_env.datasets
from mixrl_env import RegressionData, dataset_names, load_dataset

NO2_FILE = Path(mixrl_env.datasets.__file__).with_name("no2.csv")


def read_table() -> tuple[list[str], np.ndarray]:
    """The NO2 file by Python's own csv reader, not by the loader under test."""
    with NO2_FILE.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, np.array([[float(value) for value in row] for row in rows])


def rows_of(data: RegressionData, part: str) -> list[tuple[float, ...]]:
    """Features and label of one part, each row as a tuple."""
    return [tuple(row) for row in np.concatenate([getattr(data, f"x_{part}"), getattr(data, f"y_{part}")], axis=1)]


def parts(**changes: Any) -> dict[str, Any]:
    """Valid arguments of a small task (6 training, 3 validation, 2 test rows; 2 features, 1 target), with changes."""
    rng = np.random.default_rng(0)
    sizes = {"train": 6, "val": 3, "test": 2}
    arrays = {f"x_{part}": rng.normal(size=(n, 2)) for part, n in sizes.items()}
    arrays |= {f"y_{part}": rng.normal(size=(n, 1)) for part, n in sizes.items()}
    return arrays | changes


def with_value(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    """A copy with one value replaced."""
    changed = array.copy()
    changed[row, column] = value
    return changed


def test_no2_sizes_and_names() -> None:
    data = load_dataset("no2", split_seed=0)
    assert [len(part) for part in (data.x_train, data.x_val, data.x_test, data.y_train, data.y_val, data.y_test)] == [
        *(200, 200, 100),
        *(200, 200, 100),
    ]
    header, _ = read_table()
    assert (*data.feature_names, *data.target_names) == tuple(header)
    assert data.target_names == ("log_no2",)
    assert data.name == "NO2"
    assert "no2" in dataset_names()


def test_no2_parts_are_the_whole_table_row_for_row() -> None:
    _, table = read_table()
    assert table.shape == (500, 8)
    expected = sorted(map(tuple, table))
    assert len(set(expected)) == 500  # all rows differ, so an equal union of 500 rows also means disjoint parts
    data = load_dataset("no2", split_seed=3)
    assert sorted(rows_of(data, "train") + rows_of(data, "val") + rows_of(data, "test")) == expected


def test_split_seed_decides_the_rows() -> None:
    first, again, other = (load_dataset("no2", split_seed=seed) for seed in (7, 7, 8))
    for part in ("train", "val", "test"):
        assert rows_of(first, part) == rows_of(again, part)
        assert set(rows_of(first, part)) != set(rows_of(other, part))


def test_standardisation_is_fitted_on_the_training_rows() -> None:
    data = load_dataset("no2", split_seed=0)
    for standardize, train, val in (
        (data.standardize_x, data.x_train, data.x_val),
        (data.standardize_y, data.y_train, data.y_val),
    ):
        scaled = standardize(train)
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-12)
        np.testing.assert_allclose(standardize(val), (val - train.mean(axis=0)) / train.std(axis=0), rtol=1e-9, atol=1e-12)
        assert abs(standardize(val).mean(axis=0)).max() > 1e-3  # validation rows are not centred by themselves


def test_arrays_are_read_only_copies() -> None:
    given = parts()
    data = RegressionData(**given)
    for field, source in given.items():
        kept = getattr(data, field)
        before = kept.copy()
        source += 1
        assert np.array_equal(kept, before), field
        assert source.flags.writeable, field  # the caller's own array is left alone
        with pytest.raises(ValueError, match="read-only"):
            kept[0, 0] = 0


def test_flat_labels_become_one_column_and_names_have_defaults() -> None:
    given = parts(x_test=None, y_test=None)
    data = RegressionData(**given | {"y_train": given["y_train"][:, 0], "y_val": given["y_val"][:, 0].tolist()})
    assert data.y_train.shape == (6, 1)
    assert np.array_equal(data.y_val, given["y_val"])
    assert (data.feature_names, data.target_names) == (("x0", "x1"), ("y0",))
    assert data.x_test is None


def test_from_table_draws_disjoint_parts() -> None:
    x = np.arange(20.0)[:, None]
    data = RegressionData.from_table(x, x[:, 0] * 10, sizes=(5, 4, 3), split_seed=1, name="ids")
    assert data.x_test is not None
    drawn = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0]
    assert len(drawn) == len(set(drawn)) == 12
    for part in ("train", "val", "test"):  # every row keeps its own label
        assert np.array_equal(getattr(data, f"y_{part}"), getattr(data, f"x_{part}") * 10)
    assert RegressionData.from_table(x, x, sizes=(5, 4, 0), split_seed=1).x_test is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("field", "column", "name"), [("x_val", 1, "wind"), ("y_train", 0, "no2"), ("x_test", 0, "cars")])
def test_values_that_are_not_finite_are_located(field: str, column: int, name: str, value: float) -> None:
    broken = with_value(parts()[field], 1, column, value)
    with pytest.raises(ValueError, match=rf"{field} holds {value} at row 1, column {column} \('{name}'\); 1 value"):
        RegressionData(**parts(**{field: broken}), feature_names=["cars", "wind"], target_names=["no2"])

"""RMSE and R2 against the paper's formulas, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mixrl_env.metrics import r2, rmse


def squared_errors(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Sum over all rows and columns."""
    pairs = zip(y_true.ravel().tolist(), y_pred.ravel().tolist(), strict=True)
    return math.fsum((a - b) ** 2 for a, b in pairs)


def spread(y_true: np.ndarray) -> float:
    """Sum of squares around each column's own mean."""
    total = 0.0
    for column in y_true.T.tolist():
        mean = math.fsum(column) / len(column)
        total += math.fsum((value - mean) ** 2 for value in column)
    return total


@pytest.mark.parametrize("shape", [(1, 2), (30, 1), (40, 3)])
def test_rmse_is_over_all_rows_and_columns(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=shape), rng.normal(size=shape)
    value = rmse(y_true, y_pred)
    assert type(value) is float
    assert value == pytest.approx(math.sqrt(squared_errors(y_true, y_pred) / y_true.size), rel=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_r2_pools_squares_over_columns(columns: int) -> None:
    rng = np.random.default_rng(1)
    # Columns of very different mean and spread: averaging R2 over columns, or one common mean, would give other numbers.
    y_true = rng.normal(size=(40, columns)) * np.array([1.0, 10.0, 0.1])[:columns] + np.array([5.0, -20.0, 0.0])[:columns]
    y_pred = y_true + rng.normal(size=y_true.shape)
    value = r2(y_true, y_pred)
    assert type(value) is float
    assert value == pytest.approx(1 - squared_errors(y_true, y_pred) / spread(y_true), rel=1e-12)
    if columns > 1:
        by_column = [r2(y_true[:, [column]], y_pred[:, [column]]) for column in range(columns)]
        assert abs(value - np.mean(by_column)) > 0.1


def test_r2_counts_the_errors_of_a_constant_column() -> None:
    y_true = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    y_pred = y_true + np.array([0.0, 1.0])
    assert squared_errors(y_true, y_pred) == 3
    assert r2(y_true, y_pred) == pytest.approx(1 - 3 / 8)


def test_perfect_and_constant_predictions() -> None:
    y_true = np.array([[1.0, 0.0], [2.0, 5.0], [3.0, 1.0]])
    assert rmse(y_true, y_true) == 0
    assert r2(y_true, y_true) == 1
    mean = np.broadcast_to(y_true.mean(axis=0), y_true.shape)
    assert r2(y_true, mean) == pytest.approx(0, abs=1e-12)

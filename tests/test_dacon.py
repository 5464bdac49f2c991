"""The reader of the real DACON table, on small files in its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixrl_env.datasets.dacon
from mixrl_env.datasets.dacon import load_dacon

ROWS = 1500


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """1,500 rows, 1,200 of them within 10 to 100 nm; column "0" is the row's number, so that no two rows are equal."""
    rng = np.random.default_rng(0)
    thicknesses = rng.integers(1, 11, (ROWS, 4)) * 10
    outside = rng.choice(ROWS, 300, replace=False)
    thicknesses[outside, rng.integers(0, 4, 300)] = rng.integers(11, 31, 300) * 10
    frame = pd.DataFrame(rng.integers(0, 2, (ROWS, 226)), columns=[str(point) for point in range(226)])
    frame["0"] = np.arange(ROWS)
    frame["225"] = rng.uniform(-0.015, 1, ROWS).round(6)
    for layer in range(4):
        frame.insert(layer, f"layer_{layer + 1}", thicknesses[:, layer])
    return frame


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "train.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("rows_at_once", [400, 20_000])
def test_rows_within_the_range_are_drawn(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(mixrl_env.datasets.dacon, "_ROWS_AT_ONCE", rows_at_once)
    shuffled = table[list(table.columns[::-1])].assign(id="TRAIN")  # names count, not places; other columns are ignored
    data = load_dacon(written(shuffled, tmp_path), 3)
    assert data.x_test is not None
    assert data.y_test is not None
    assert [len(x) for x in (data.x_train, data.x_val, data.x_test)] == [500, 300, 300]
    x = np.concatenate([data.x_train, data.x_val, data.x_test])
    y = np.concatenate([data.y_train, data.y_val, data.y_test])
    drawn = x[:, 0].astype(int)
    assert len(set(drawn)) == 1100
    truth = table.to_numpy()
    assert np.array_equal(np.column_stack([y, x]), truth[drawn])
    assert (y.min(), y.max()) == (10, 100)
    assert data.feature_names == tuple(table.columns[4:])
    assert data.target_names == ("layer_1", "layer_2", "layer_3", "layer_4")
    same, other = load_dacon(tmp_path / "train.csv", 3), load_dacon(str(tmp_path / "train.csv"), 4)
    assert np.array_equal(data.x_train, same.x_train)
    assert not np.array_equal(data.x_train, other.x_train)

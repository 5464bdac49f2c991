"""Nearest neighbours against brute force, pairs against a loop, and options that are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from mixrl_env import NeighborOption, NeighborTable, neighbors
from mixrl_env.neighbors import DEFAULT_OPTIONS, nearest_neighbors

# The machine may be busy: no deadlines. The examples are the same in every run.
thorough = settings(deadline=None, derandomize=True, max_examples=120)


def brute_force(points: np.ndarray, k: int) -> np.ndarray:
    """Every row's others sorted by (squared distance, index)."""
    rows = points.tolist()
    table = []
    for i, own in enumerate(rows):
        distance = [sum((a - b) ** 2 for a, b in zip(own, other, strict=True)) for other in rows]
        table.append(sorted((j for j in range(len(rows)) if j != i), key=lambda j, d=distance: (d[j], j))[:k])
    return np.array(table)


@st.composite
def integer_points(draw: st.DrawFn) -> np.ndarray:
    """Few different integer values, so that ties and duplicate rows abound; perhaps far from the origin or finely spaced."""
    n, d = draw(st.integers(2, 40)), draw(st.integers(1, 20))
    highest, seed = draw(st.integers(0, 4)), draw(st.integers(0, 2**32 - 1))
    # Powers of two and whole offsets keep all differences and squares exact, so that ties are ties for brute force too. The
    # squared norms of the largest offset are not: a search that works with them sees ties as slightly different distances.
    offset, scale = draw(st.sampled_from([0, 0, -(10**6), 10**9])), 2.0 ** draw(st.integers(-3, 3))
    points = np.random.default_rng(seed).integers(0, highest + 1, size=(n, d))
    return (points + offset) * scale


@st.composite
def continuous_points(draw: st.DrawFn) -> np.ndarray:
    """Distinct distances almost surely; some rows may be copies of others."""
    n, d = draw(st.integers(2, 40)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distinct = draw(st.integers(1, n))
    return rng.normal(size=(distinct, d))[rng.permutation(np.arange(n) % distinct)]


@thorough
@given(points=integer_points(), data=st.data())
def test_nearest_neighbors_with_ties(points: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(points) - 1))
    assert np.array_equal(nearest_neighbors(points, k), brute_force(points, k))


@thorough
@given(points=continuous_points(), data=st.data())
def test_nearest_neighbors_of_continuous_values(points: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(points) - 1))
    assert np.array_equal(nearest_neighbors(points, k), brute_force(points, k))


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("d", [2, 20])  # scikit-learn searches low dimensions by tree, high ones by brute force
@pytest.mark.parametrize("k", [1, 16])
def test_nearest_neighbors_of_many_rows(d: int, k: int, threads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(d)
    if threads:
        monkeypatch.setattr(neighbors, "_ROWS_FOR_THREADS", 0)
    for points in (rng.normal(size=(300, d)), rng.integers(0, 3, size=(300, d)).astype(float)):
        assert np.array_equal(nearest_neighbors(points, k), brute_force(points, k))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6])
@pytest.mark.parametrize("d", [1, 20])
def test_identical_rows_come_in_the_order_of_their_index(d: int, value: float) -> None:
    points = np.full((7, d), value)
    expected = [[j for j in range(7) if j != i][:3] for i in range(7)]
    assert np.array_equal(nearest_neighbors(points, 3), expected)


TABLE_OPTIONS = [("data", 3), ("label", 2), ("all", 0), ("data", 1), ("label", 11)]


def slow_pairs(x: np.ndarray, y: np.ndarray, rows: np.ndarray, options: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of a selection, one row after the other."""
    pairs = []
    for row, option in zip(rows.tolist(), options.tolist(), strict=True):
        space, k = TABLE_OPTIONS[option]
        if space == "all":
            neighbors = [j for j in range(len(x)) if j != row]
        else:
            points = x if space == "data" else y
            others = [j for j in range(len(x)) if j != row]
            neighbors = sorted(others, key=lambda j, p=points, r=row: (math.dist(p[r], p[j]), j))[:k]
        pairs += [(row, j) for j in neighbors]
    return pairs


@thorough
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 30))
def test_pairs_against_a_loop(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, size=(12, 3)).astype(float), rng.integers(0, 3, size=(12, 2)).astype(float)
    table = NeighborTable(x, y, TABLE_OPTIONS)
    rows, options = rng.integers(12, size=size), rng.integers(len(TABLE_OPTIONS), size=size)
    i, j = table.pairs(rows, options)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == slow_pairs(x, y, rows, options)
    assert i.dtype == j.dtype == np.int64


def test_options_are_the_papers_by_default_and_keep_their_order() -> None:
    assert tuple([("data", k) for k in range(1, 17)] + [("label", k) for k in range(1, 17)]) == DEFAULT_OPTIONS
    points = np.arange(5.0)[:, None]
    table = NeighborTable(points, points, [["label", np.int64(4)], ("data", 1), ["all"]])
    assert table.options == (NeighborOption("label", 4), NeighborOption("data", 1), NeighborOption("all", 0))


def test_heavy_ties_are_searched_among_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ratings from 1 to 5 in 3,000 rows: of each rating only k + 1 rows can be anybody's neighbours.
    points = np.random.default_rng(0).integers(1, 6, size=(3000, 1)).astype(float)
    fitted: list[int] = []

    class Counted(NearestNeighbors):  # type: ignore[misc]
        def fit(self, rows: np.ndarray) -> Any:
            fitted.append(len(rows))
            return super().fit(rows)

    monkeypatch.setattr("sklearn.neighbors.NearestNeighbors", Counted)
    table = nearest_neighbors(points, 16)
    assert fitted == [5 * 17]
    for row in (0, 1500, 2999):
        same = [j for j in np.flatnonzero(points[:, 0] == points[row, 0]) if j != row]
        assert table[row].tolist() == same[:16]

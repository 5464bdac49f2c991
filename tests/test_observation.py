"""What an agent sees of a row, column by column, for every choice of parts."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixrl_env
from mixrl_env import MixingProblem, ProblemConfig, RegressionData
from mixrl_env.neighbors import NeighborTable
from mixrl_env.observation import DEFAULT_PARTS, PARTS, mean_distances
from mixrl_env.problem import Batch

OPTIONS = (("data", 2), ("all", 0), ("label", 3), ("label", 1), ("data", 5))
_CHEAP = [part for part in PARTS if part not in ("features", "context")]  # which have tests of their own
SUBSETS = [parts for size in range(1, len(_CHEAP) + 1) for parts in combinations(_CHEAP, size)]


def make_problem(**changes: Any) -> MixingProblem:
    """12 training rows, two of them the same, 3 features, 2 targets."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 3, (20, 3)), rng.normal(-2, 7, (20, 2))
    x[4], y[4] = x[3], y[3]
    data = RegressionData(x[:12], y[:12], x[12:], y[12:])
    return MixingProblem(data, ProblemConfig.from_settings({"options": OPTIONS} | changes))


def slow_mean_distances(x: np.ndarray, y: np.ndarray, options: tuple[tuple[str, int], ...]) -> np.ndarray:
    """The definition, one row, option and neighbour at a time."""
    n = len(x)
    out = np.empty((n, len(options), 2))
    for row in range(n):
        for option, (space, k) in enumerate(options):
            neighbors = [j for j in range(n) if j != row]
            if space != "all":
                points = x if space == "data" else y
                neighbors.sort(key=lambda j, p=points, r=row: (float(np.sqrt(np.sum(np.square(p[r] - p[j])))), j))
                neighbors = neighbors[:k]
            for kind, points in enumerate((x, y)):
                apart = [np.sqrt(np.mean(np.square(points[row] - points[j]))) for j in neighbors]
                out[row, option, kind] = np.mean(apart)
    return out


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(7, 12), widths=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_mean_distances_against_a_loop(seed: int, n: int, widths: tuple[int, int]) -> None:
    # Few values: equal rows and tied distances abound.
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 4, (n, width)).astype(float) for width in widths)
    ours = mean_distances(x, y, NeighborTable(x, y, OPTIONS))
    np.testing.assert_allclose(ours, slow_mean_distances(x, y, OPTIONS), rtol=1e-12, atol=1e-12)


def expected_columns(problem: MixingProblem, batch: Batch) -> dict[str, np.ndarray]:
    data = problem.data
    x, y = ((v - v.mean(axis=0)) / v.std(axis=0) for v in (data.x_train, data.y_train))
    distances = slow_mean_distances(x, y, OPTIONS)
    return {
        "x": x[batch.rows],
        "y": y[batch.rows],
        "option": np.array([[float(column == option) for column in range(len(OPTIONS))] for option in batch.options]),
        "distances": np.array([distances[row, option] for row, option in zip(batch.rows, batch.options, strict=True)]),
    }


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_columns_come_in_the_documented_order(parts: tuple[str, ...]) -> None:
    problem = make_problem()
    batch = problem.sample_batch(np.random.default_rng(1))
    columns = expected_columns(problem, batch)
    expected = np.concatenate([columns[part] for part in ("x", "y", "option", "distances") if part in parts], axis=1)
    for as_given in (parts, parts[::-1]):
        observed = make_problem(observe=as_given).observe(batch)
        assert observed.dtype == np.float32
        np.testing.assert_allclose(observed, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parts", SUBSETS, ids="+".join)
def test_bounds_are_the_lowest_and_highest_values(parts: tuple[str, ...]) -> None:
    problem = make_problem(observe=parts)
    low, high = problem.observation_bounds()
    everything = problem.observe(problem.every_row_and_option())
    assert low.dtype == high.dtype == np.float32
    assert np.array_equal(low, everything.min(axis=0))
    assert np.array_equal(high, everything.max(axis=0))


@pytest.mark.parametrize(
    ("observe", "size"),
    [
        (["x", "y", "option"], 7 + 1 + 32),
        (["distances"], 2),
        (["option", "distances"], 32 + 2),
        (["distances", "y"], 1 + 2),
        (["x", "y", "option", "distances"], 7 + 1 + 32 + 2),
        ("option", 32),
    ],
    ids=str,
)
def test_environments_offer_the_parts_asked_for(observe: list[str] | str, size: int) -> None:
    env = gym.make("MixRL-NO2-v0", split_seed=1, observe=observe)
    assert env.observation_space.shape == (200, size)
    first, _ = env.reset(seed=3)
    for observation in (first, env.reset()[0]):
        assert observation.dtype == np.float32
        assert observation in env.observation_space
    envs = gym.make_vec("MixRL-NO2-v0", 2, "vector_entry_point", split_seed=1, observe=observe)
    states, _ = envs.reset(seed=3)
    assert states.shape == envs.observation_space.shape == (2, 200, size)
    assert states in envs.observation_space
    assert np.array_equal(states[0], first)


def test_the_default_is_the_state_of_the_paper() -> None:
    """Features, label and option, as without any setting; the other parts stand beside it, not in its place."""
    assert DEFAULT_PARTS == ("x", "y", "option")
    assert ProblemConfig().observe == DEFAULT_PARTS
    plain, _ = gym.make("MixRL-NO2-v0", split_seed=0).reset(seed=0)
    named, _ = gym.make("MixRL-NO2-v0", split_seed=0, observe=["x", "y", "option"]).reset(seed=0)
    wider, _ = gym.make("MixRL-NO2-v0", split_seed=0, observe=PARTS).reset(seed=0)
    assert np.array_equal(plain, named)
    assert np.array_equal(plain, wider[:, :40])
    data = mixrl_env.load_dataset("no2", 0)
    expected = [(v - v.mean(axis=0)) / v.std(axis=0) for v in (data.x_train, data.y_train)]
    np.testing.assert_allclose(plain[:, :8], np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-6)
    assert np.array_equal(np.sort(plain[:, 8:], axis=1)[:, -2:], np.tile([0, 1], (200, 1)))

"""What does not grow with the training set: the cost of a step, and the memory of the neighbour table beyond its own size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from experiments.benchmark.timing import peak_memory_mb, time_in_turn
from mixrl_env import MixRLVectorEnv, RegressionData
from mixrl_env.neighbors import nearest_neighbors
from mixrl_env.streams import data_stream

TRAINING_ROWS = (200, 1_000, 10_000, 100_000)
TABLE_ROWS, TABLE_COLUMNS, TABLE_K = 100_000, 100, 16
_ROUNDS = 7


def step_cost(report: Callable[[str], None]) -> pd.DataFrame:
    """Seconds of one step of 16 masks over B = 200 rows, for training sets of 200 to 100,000 rows (Fig. 6e's claim)."""
    works = {}
    for n_train in TRAINING_ROWS:
        report(f"step cost: building the problem with {n_train} rows")
        envs, masks = _problem(n_train)
        works[str(n_train)] = lambda envs=envs, masks=masks: envs.step(masks)
    seconds = time_in_turn(works, _ROUNDS, lambda words: report(f"step cost: {words} training rows"))
    reference = seconds[str(TRAINING_ROWS[0])]
    return pd.DataFrame(
        {
            "n_train": TRAINING_ROWS,
            "seconds": [statistics.median(values) for values in seconds.values()],
            "times_smallest": [
                statistics.median(a / b for a, b in zip(values, reference, strict=True)) for values in seconds.values()
            ],
            "peak_mb": [peak_memory_mb(_one_step, n_train) for n_train in TRAINING_ROWS],
        }
    )


def _problem(n_train: int) -> tuple[MixRLVectorEnv, np.ndarray]:
    """16 environments on so many random rows, and 16 masks."""
    rng = data_stream(n_train)
    x, y = rng.normal(size=(n_train, 7)), rng.normal(size=(n_train, 1))
    data = RegressionData(x, y, rng.normal(size=(200, 7)), rng.normal(size=(200, 1)))
    envs = MixRLVectorEnv(16, data=data, batch_rows=200, pretrained=False, step_budget=100)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    return envs, envs.action_space.sample()


def _one_step(n_train: int) -> None:
    envs, masks = _problem(n_train)
    envs.step(masks)


def neighbor_table(report: Callable[[str], None]) -> pd.DataFrame:
    """The neighbour table of 100,000 x 100 rows against scikit-learn's brute force: seconds, peak memory, and whether equal."""
    points = _points()
    start = time.perf_counter()
    ours = nearest_neighbors(points, TABLE_K, lambda done, of: report(f"neighbour table: {done} of {of} rows"))
    seconds = time.perf_counter() - start
    report("neighbour table: scikit-learn's brute force")
    start = time.perf_counter()
    search = NearestNeighbors(n_neighbors=TABLE_K, algorithm="brute").fit(points)
    brute = search.kneighbors(return_distance=False)  # no points given: a row is not its own neighbour
    brute_seconds = time.perf_counter() - start
    report("neighbour table: peak memory")
    return pd.DataFrame(
        {
            "search": ["nearest_neighbors", "scikit-learn brute force"],
            "rows": TABLE_ROWS,
            "columns": TABLE_COLUMNS,
            "k": TABLE_K,
            "seconds": [seconds, brute_seconds],
            "times_brute": [seconds / brute_seconds, 1.0],
            "same_neighbors": [float((ours == brute).mean()), 1.0],
            "peak_mb": [peak_memory_mb(_build_table), float("nan")],
        }
    )


def _points() -> np.ndarray:
    return data_stream(0).normal(size=(TABLE_ROWS, TABLE_COLUMNS))


def _build_table() -> None:
    nearest_neighbors(_points(), TABLE_K)

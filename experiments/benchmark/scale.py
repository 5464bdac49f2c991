"""What does not grow with the training set: the cost of a step."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pandas as pd

from experiments.benchmark.timing import time_in_turn
from mixrl_env import MixRLVectorEnv, RegressionData
from mixrl_env.streams import data_stream

TRAINING_ROWS = (200, 1_000, 10_000, 100_000)
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

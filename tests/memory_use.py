"""A program of test_leaks: many steps of environments. Prints how much memory they hold after each hundred, as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mixrl_env import MixRLEnv, MixRLVectorEnv, RegressionData


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def environments(backend: str) -> list[Any]:
    x = np.random.default_rng(0).normal(size=(200, 4))
    data = RegressionData.from_table(x, x[:, :1] * 2 + 5, sizes=(100, 100, 0), split_seed=0)
    regressor = {"hidden_sizes": (64, 64), "max_steps": 2, "device": "cpu", "backend": backend}
    same: dict[str, Any] = {
        "data": data,
        "options": [("data", 4), ("label", 2)],
        "regressor": regressor,
        "schedule": "constant",
    }
    return [MixRLEnv(**same), MixRLVectorEnv(3, **same, horizon=4)]


if __name__ == "__main__":
    envs = environments(sys.argv[1])
    used = []
    for done in range(1, 1001):
        for env in envs:
            if done == 1 or env is envs[0]:
                env.reset(seed=0 if done == 1 else None)
            env.step(np.ones(env.action_space.shape, dtype=np.int8))
        if done % 100 == 0:
            used.append(resident_megabytes())
    print(json.dumps(used))

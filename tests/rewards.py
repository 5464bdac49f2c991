"""What the paper's environment pays, for tests that compare threads and processes; they import nothing else."""

from __future__ import annotations

import numpy as np

from mixrl_env import MixRLVectorEnv


def rewards_of(num_envs: int, backend: str, steps: int = 2) -> list[list[float]]:
    """Rewards of the paper's networks on NO2, trained for a moment."""
    regressor = {"backend": backend, "max_steps": 10, "device": "cpu"}
    env = MixRLVectorEnv(num_envs, data="no2", regressor=regressor, schedule="constant")
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    return [env.step(rng.integers(2, size=(num_envs, 200)).astype(np.int8))[1].tolist() for _ in range(steps)]

"""What every agent offers, and what it learns on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

Envs = VectorEnv[Any, Any, Any]
ProgressCallback = Callable[[int, dict[str, float]], None]
"""Called after every update with the inner trainings spent so far and the metrics that were logged."""


class Agent(Protocol):
    """Learns to select rows; knows nothing of what lies behind the environment."""

    def learn(self, envs: Envs | gym.Env[Any, Any], num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Learn on one environment or a vector of them, spending at most num_trainings steps (inner trainings)."""
        ...

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of selecting each observation row: (..., d + e + |N|) in, (...,) out."""
        ...


def as_vector_env(envs: Envs | gym.Env[Any, Any]) -> Envs:
    """The vector environment itself, or a single environment as a vector of one.

    Raises:
        ValueError: if it does not autoreset in the same step: one-step episodes would waste every second training.
    """
    if isinstance(envs, gym.Env):
        return SyncVectorEnv([lambda: envs], autoreset_mode=AutoresetMode.SAME_STEP)
    if envs.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
        raise ValueError("the vector environment must use AutoresetMode.SAME_STEP, since every episode is one step")
    return envs

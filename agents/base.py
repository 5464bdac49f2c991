"""What every agent offers, and what it learns on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

Envs = VectorEnv[Any, Any, Any]
ProgressCallback = Callable[[int, dict[str, float]], None]
"""Called after every update with the inner trainings spent so far and the metrics that were logged."""


class Agent(Protocol):
    """Learns to select rows. All but `agents.MetaGradient` know nothing of what lies behind the environment."""

    def learn(self, envs: Envs | gym.Env[Any, Any], num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Learn on one environment or a vector of them, spending at most num_trainings steps (inner trainings).

        The callback may ask for `probabilities` after every update. All but those of stable-baselines3 also take
        `agents.Checkpoints`, to be stopped at any moment and to go on as if they had not been.
        """
        ...

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of selecting each observation row: (..., d + e + |N|) in, (...,) out.

        A policy that sees a batch as a whole needs shape (..., B, d + e + |N|); for the others any shape will do.
        """
        ...


def as_vector_env(envs: Envs | gym.Env[Any, Any]) -> Envs:
    """The vector environment itself, or a single environment as a vector of one.

    Raises:
        ValueError: if it does not autoreset in the same step: one-step episodes would waste every second training.
    """
    if isinstance(envs, gym.Env):
        return SyncVectorEnv([partial(_itself, envs)], autoreset_mode=AutoresetMode.SAME_STEP)
    if envs.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
        raise ValueError("the vector environment must use AutoresetMode.SAME_STEP, since every episode is one step")
    return envs


def _itself(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """No lambda, so that what keeps the vector can be pickled."""
    return env


def step_once(
    envs: Envs, masks: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], dict[str, Any]]:
    """One episode of every environment, for agents to which an action has no later consequences (T = 1, as in the paper).

    Args:
        envs: as from `as_vector_env`.
        masks: the selected rows, shape (m, B).

    Returns:
        The next observations (m, B, d + e + |N|), the rewards (m,), and the infos of the episodes, an array for each key.

    Raises:
        ValueError: if an episode goes on.
    """
    state, reward, terminated, _, info = envs.step(masks)
    if not np.all(terminated):
        raise ValueError(
            "this agent learns from episodes of one step, and the environment's are longer; "
            "leave out horizon, or take an agent of stable-baselines3 (agents.SB3Agent)"
        )
    return state, np.asarray(reward, dtype=np.float64), info.get("final_info", {})

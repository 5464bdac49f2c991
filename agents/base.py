"""What every agent offers, and what it learns on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, MultiBinary
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from mixrl_env.checks import check_seed, check_whole

Envs = VectorEnv[Any, Any, Any]
AnyEnv = Envs | gym.Env[Any, Any]
Config = TypeVar("Config")
ProgressCallback = Callable[[int, dict[str, float]], None]
"""Called after every update with the inner trainings spent so far and the metrics that were logged."""


class Logger(Protocol):
    """Takes the learning curves; the loggers of stable-baselines3 are such."""

    def record(self, key: str, value: Any) -> None:
        """A metric of the update at hand."""
        ...

    def dump(self, step: int = 0) -> None:
        """The update is complete."""
        ...


class Agent(Protocol):
    """Learns to select rows. All but `mixrl.MetaGradient` know nothing of what lies behind the environment."""

    def learn(self, envs: Envs | gym.Env[Any, Any], num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Learn on one environment or a vector of them, spending at most num_trainings steps (inner trainings).

        The callback may ask for `probabilities` after every update. All but those of stable-baselines3 also take
        `mixrl.Checkpoints`, to be stopped at any moment and to go on as if they had not been.
        """
        ...

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of selecting each observation row: (..., d + e + |N|) in, (...,) out.

        A policy that sees a batch as a whole needs shape (..., B, d + e + |N|); for the others any shape will do.
        """
        ...


def settled(config: Config | None, kind: type[Config], seed: int) -> Config:
    """The config of an agent, or the default one.

    Raises:
        ValueError: for a config of another kind, or a bad seed.
    """
    if config is not None and type(config) is not kind:  # an agent would ignore the settings that a derived config adds
        raise ValueError(f"config must be None or of {kind.__name__}, got {config!r}")
    check_seed(seed)
    return kind() if config is None else config


def check_budget(num_trainings: int, m: int) -> None:
    """Raise a ValueError unless the budget is a whole number and enough for one update of m trainings."""
    check_whole(num_trainings, "num_trainings")
    if num_trainings < m:
        raise ValueError(f"a budget of {num_trainings} trainings is below one update of m = {m}")


def check_rows(rows: npt.NDArray[np.float32], row_size: int) -> None:
    """Raise a ValueError unless rows are observation rows (..., row_size) as an agent has learned on, and finite."""
    if np.shape(rows)[-1:] != (row_size,):
        raise ValueError(f"rows must have shape (..., {row_size}), as those that were learned on, got {np.shape(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("rows must be finite; some values are NaN or infinite")


def as_vector_env(envs: Envs | gym.Env[Any, Any]) -> Envs:
    """The vector environment itself, or a single environment as a vector of one.

    Raises:
        ValueError: if it is no environment, has other spaces than MixRL's, or does not autoreset in the same step: one-step
            episodes would waste every second training.
    """
    if not isinstance(envs, gym.Env | VectorEnv):
        raise ValueError(f"agents learn on a Gymnasium environment or a vector of them, got {envs!r}")
    if isinstance(envs, gym.Env):
        envs = SyncVectorEnv([partial(_itself, envs)], autoreset_mode=AutoresetMode.SAME_STEP)
    if envs.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
        raise ValueError("the vector environment must use AutoresetMode.SAME_STEP, since every episode is one step")
    offered, masks = envs.single_observation_space, envs.single_action_space
    rows = offered.shape[:1] if isinstance(offered, Box) and len(offered.shape) == 2 else None
    if not isinstance(masks, MultiBinary) or masks.shape != rows:
        raise ValueError(
            f"agents need observations Box(B, row size) and actions MultiBinary(B), as MixRL environments have them; "
            f"got {offered} and {masks}"
        )
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
            "leave out horizon, or take an agent of stable-baselines3 (mixrl.SB3Agent)"
        )
    return state, np.asarray(reward, dtype=np.float64), info.get("final_info", {})

"""What learners share: environments, budget, learning curves, and checkpoints of one call of `learn`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from mixrl.checkpoint import Checkpoints, State, members, restore, state_of
from mixrl_env import MixingProblem, __version__
from mixrl_env.checks import check_seed, check_whole

Envs = VectorEnv[Any, Any, Any]
AnyEnv = Envs | gym.Env[Any, Any]
Config = TypeVar("Config")
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Values = Tensor | npt.NDArray[Any]
ProgressCallback = Callable[[int, dict[str, float]], None]
"""Called after every update with the inner trainings spent so far and the logged metrics."""


class Logger(Protocol):
    """Takes the learning curves; the loggers of stable-baselines3 fit."""

    def record(self, key: str, value: Any) -> None:
        """Set a metric of the current update."""
        ...

    def dump(self, step: int = 0) -> None:
        """End the current update."""
        ...


class Agent(Protocol):
    """Learns to select rows. Most see the environment only through Gymnasium.

    Attributes:
        trainings: inner trainings that `learn` has spent.
    """

    trainings: int

    def learn(self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Learn on one environment or a vector of them, spending at most num_trainings steps (inner trainings).

        The callback may ask for `probabilities` after every update. All agents but `mixrl.PlanSearch` and those of
        stable-baselines3 also take `mixrl.Checkpoints`, and then go on after an interruption as if there had been none.
        """
        ...

    def probabilities(self, rows: Rows) -> FloatArray:
        """Probability of selecting each observation row: (..., d + e + |N|) in, (...,) out.

        A policy that sees a batch as a whole needs shape (..., B, d + e + |N|); the others take any shape.

        Raises:
            RuntimeError: before `learn`.
        """
        ...


class Learner(Generic[Config]):
    """The part that all agents but those of stable-baselines3 have in common.

    Args:
        config: settings of type `config_type`; None for the defaults.
        seed: of everything random, the environments included; the same seed gives the same run.
        logger: for the learning curves, such as one of stable-baselines3, or None.

    Attributes:
        trainings: inner trainings that `learn` has spent.

    Raises:
        ValueError: for a config of another type, or a bad seed.
    """

    config_type: ClassVar[type[Any]]

    def __init__(self, config: Config | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        self.config: Config = settled(config, self.config_type, seed)
        self.seed, self.logger, self.trainings = seed, logger, 0

    def _reset(self, envs: AnyEnv, num_trainings: int, least: int = 1, plans: bool = False) -> tuple[Envs, Rows]:
        """The environments as a vector of m, and their first observations (m, B, d + e + |N|).

        Raises:
            ValueError: as `as_vector_env`, or if the budget is below `least` trainings, rounded up to whole steps of m.
        """
        envs = as_vector_env(envs, plans)
        check_budget(num_trainings, -(-least // envs.num_envs) * envs.num_envs)
        return envs, envs.reset(seed=self.seed)[0]


class Run:
    """One call of `learn`: counts trainings, logs updates, calls the callback, saves checkpoints and resumes from them.

    Args:
        agent: the learner.
        envs: what it learns on, after their reset.
        num_trainings: its budget.
        callback: as in `Agent`, or None.
        checkpoints: where to save; None for no checkpoints.
        cost: trainings that an update counts as; 0 is one for each environment.
        **parts: what else changes while the agent learns: networks, optimisers, generators, and other objects with
            state_dict() and load_state_dict(). They are restored from the checkpoint, if there is one; None stays None.

    Raises:
        ValueError: if the checkpoint is of another agent, environment or version, or beyond the budget, or the environment
            cannot be saved.
    """

    def __init__(
        self,
        agent: Learner[Any],
        envs: AnyEnv,
        num_trainings: int,
        callback: ProgressCallback | None,
        checkpoints: Checkpoints | None,
        cost: int = 0,
        **parts: Any,
    ) -> None:
        self._agent, self._callback, self._checkpoints = agent, callback, checkpoints
        self._parts = {name: part for name, part in {**parts, "envs": envs}.items() if part is not None}
        self._cost = cost or int(getattr(envs, "num_envs", 1))
        self._updates = num_trainings // self._cost
        self._log: list[tuple[int, dict[str, float]]] = []  # trainings and metrics of every update
        self._values: State | None = None
        if checkpoints is None:
            return
        self._name = _name(agent, envs)
        state_of(envs)  # fail early if an environment cannot be checkpointed
        if saved := checkpoints.newest():
            self._load(saved, checkpoints)

    @property
    def done(self) -> int:
        """Updates so far, including those before the checkpoint."""
        return len(self._log)

    @property
    def left(self) -> int:
        """Updates that the budget still pays for."""
        return self._updates - self.done

    def start(self, **fresh: Any) -> tuple[Any, ...]:
        """Values restored from the checkpoint, or the given initial values."""
        return tuple(fresh.values()) if self._values is None else tuple(self._values[name] for name in fresh)

    def end_update(self, metrics: dict[str, float], *, last: bool = False, **values: Any) -> None:
        """Count the trainings of an update, log it, save if it is time to, and call the callback.

        Args:
            metrics: of the update.
            last: whether no update follows although there is budget left.
            **values: for `start`, under the same names.
        """
        self._agent.trainings += self._cost
        self._log.append((self._agent.trainings, metrics))
        self._write_log()
        if self._checkpoints and (last or not self.left or self.done % self._checkpoints.every == 0):
            parts = {name: state_of(part) for name, part in self._parts.items()}
            self._checkpoints.save(self.done, {"run": self._name, "parts": parts, "values": values, "log": self._log})
        if self._callback is not None:
            self._callback(self._agent.trainings, dict(metrics))

    def _write_log(self) -> None:
        """Give the newest update to the logger."""
        if logger := self._agent.logger:
            trainings, metrics = self._log[-1]
            for name, value in {**metrics, "trainings": trainings}.items():
                logger.record(name, value)
            logger.dump(self.done)

    def _load(self, saved: State, checkpoints: Checkpoints) -> None:
        for what, ours in self._name.items():
            if (theirs := saved["run"].get(what)) != ours:
                raise ValueError(f"the checkpoints in {checkpoints.folder} are of another {what}: {theirs}, not {ours}")
        if len(saved["log"]) > self._updates:
            raise ValueError(
                f"the checkpoint in {checkpoints.folder} has seen {len(saved['log'])} updates, and the budget is enough for "
                f"{self._updates}: give it more trainings"
            )
        for name, part in self._parts.items():
            restore(part, saved["parts"][name])
        self._values = saved["values"]
        for trainings, metrics in saved["log"]:
            self._log.append((trainings, metrics))
            self._write_log()
        self._agent.trainings += self.done * self._cost


def settled(config: Config | None, kind: type[Config], seed: int) -> Config:
    """The config of an agent, or the default one.

    Raises:
        ValueError: for a config of another type, or a bad seed.
    """
    if config is not None and type(config) is not kind:  # an agent would ignore the settings that a derived config adds
        raise ValueError(f"config must be None or of {kind.__name__}, got {config!r}")
    check_seed(seed)
    return kind() if config is None else config


def check_budget(num_trainings: int, least: int) -> None:
    """Raise a ValueError unless the budget is a whole number and at least that of one update."""
    check_whole(num_trainings, "num_trainings")
    if num_trainings < least:
        raise ValueError(f"a budget of {num_trainings} trainings is below one update of {least}")


def check_rows(rows: Rows, row_size: int) -> None:
    """Raise a ValueError unless rows are finite observation rows of shape (..., row_size)."""
    if np.shape(rows)[-1:] != (row_size,):
        raise ValueError(f"rows must have shape (..., {row_size}), as the agent has learned on, got {np.shape(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("rows must be finite; some values are NaN or infinite")


def as_vector_env(envs: AnyEnv, plans: bool = False) -> Envs:
    """The vector environment itself, or a single environment as a vector of one.

    Args:
        envs: with masks as actions, or with plans.
        plans: which of them.

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
    if plans and not isinstance(masks, MultiDiscrete):
        raise ValueError(f"this agent chooses whole plans: make the environment with action='plan'; got {masks}")
    if not plans and (not isinstance(masks, MultiBinary) or masks.shape != rows):
        raise ValueError(
            f"agents need observations Box(B, row size) and actions MultiBinary(B), as MixRL environments have them; "
            f"got {offered} and {masks}"
        )
    return envs


def problem_of(envs: AnyEnv) -> MixingProblem:
    """The problem behind MixRL environments, for agents that look at more than observations.

    Raises:
        ValueError: for other environments, and vectors of single ones.
    """
    problem = getattr(getattr(envs, "unwrapped", None), "problem", None)
    if not isinstance(problem, MixingProblem):
        raise ValueError(
            "this agent needs a MixRL environment or mixrl_env.MixRLVectorEnv (vectorization_mode='vector_entry_point'), "
            f"got {envs}"
        )
    return problem


def _itself(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """A function and no lambda, so that the vector can be pickled."""
    return env


def step_once(envs: Envs, masks: npt.NDArray[np.int8]) -> tuple[Rows, FloatArray, dict[str, Any]]:
    """One episode of every environment, for agents of the paper's horizon, T = 1.

    Args:
        envs: as from `as_vector_env`.
        masks: the selected rows, shape (m, B).

    Returns:
        The next observations (m, B, d + e + |N|), the rewards (m,), and the infos of the episodes, an array for each key.

    Raises:
        ValueError: if an episode has more than one step.
    """
    state, reward, terminated, _, info = envs.step(masks)
    if not np.all(terminated):
        raise ValueError(
            "this agent learns from episodes of one step, and the environment's are longer; "
            "leave out horizon, or take an agent of stable-baselines3 (mixrl.SB3Agent)"
        )
    return state, np.asarray(reward, dtype=np.float64), info.get("final_info", {})


def update_metrics(logits: Values, masks: Values, reward: Values, info: Mapping[str, Any]) -> dict[str, float]:
    """Metrics that tell a policy that learns from one that drifts.

    Args:
        logits: of the offered rows, shape (m, B).
        masks: the selected rows, shape (m, B).
        reward: of the masks, shape (m,).
        info: of the trainings; see `env_metrics`.
    """
    logits, masks, reward = (torch.as_tensor(values).double() for values in (logits, masks, reward))
    p = torch.sigmoid(logits)
    metrics = {
        "reward/mean": float(reward.mean()),
        "reward/std": float(reward.std(correction=0)),
        "policy/p_mean": float(p.mean()),
        "policy/p_std": float(p.std(correction=0)),  # over rows and options
        "policy/entropy": float(bce_with_logits(logits, p)),  # nats a row: log 2 at p = 1/2, 0 when decided
        "policy/selected_share": float(masks.mean()),
    }
    return metrics | env_metrics(info)


def env_metrics(info: Mapping[str, Any]) -> dict[str, float]:
    """Means over the infos of m trainings, as a vector environment gathers them, under the names env/..."""
    means = {key: np.mean(value) for key, value in info.items() if not key.startswith("_") and np.ndim(value) < 2}
    return {f"env/{key}": float(mean) for key, mean in means.items()}


def _name(agent: Learner[Any], envs: AnyEnv) -> dict[str, str]:
    """What two runs must have in common so that one can go on from a checkpoint of the other."""
    environment = f"{getattr(envs, 'num_envs', 1)} x {envs.unwrapped.__class__.__name__}"
    problem = getattr(members(envs)[0], "problem", None)
    if isinstance(problem, MixingProblem):
        digest = hashlib.sha256(repr(problem.config).encode())
        for table in (problem.data.x_train, problem.data.y_train, problem.data.x_val, problem.data.y_val):
            digest.update(np.ascontiguousarray(table).tobytes())
        environment += f" of {problem.data.name}, {digest.hexdigest()[:12]}"
    return {
        "agent": type(agent).__name__,
        "settings of the agent": repr(dataclasses.asdict(agent.config)),
        "seed": str(agent.seed),
        "environment": environment,
        "version of MixRL": __version__,
    }

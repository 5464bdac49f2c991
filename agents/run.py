"""One call of `learn`: what is done after every update, and where it goes on from a checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv

from mixrl.base import Envs, Logger, ProgressCallback
from mixrl.checkpoint import Checkpoints, State
from mixrl.progress import log_update
from mixrl_env import MixingProblem, __version__


class Learner(Protocol):
    """An agent as a run knows it.

    Attributes:
        config: settings, a dataclass.
        seed: of the run.
        logger: for the curves, or None.
    """

    config: Any
    seed: int
    logger: Logger | None


class Run:
    """Logs updates, tells the callback, saves checkpoints; and goes on from one with the log as if nothing had happened.

    Args:
        agent: that learns.
        envs: what it learns on, after their reset.
        updates: that its budget is enough for.
        callback: as in `mixrl.base.Agent`, or None.
        checkpoints: where to save; None for no checkpoints.
        **parts: what else changes while the agent learns: networks, optimisers, generators, and whatever has state_dict() and
            load_state_dict(). All are as in the checkpoint after this call; what is None stays None.

    Attributes:
        done: updates that the checkpoint had seen; 0 without one.

    Raises:
        ValueError: if the checkpoint is of another agent, environment or version, or beyond the budget, or the environment
            cannot be saved.
    """

    def __init__(
        self,
        agent: Learner,
        envs: Envs | gym.Env[Any, Any],
        updates: int,
        callback: ProgressCallback | None,
        checkpoints: Checkpoints | None,
        **parts: Any,
    ) -> None:
        self._logger, self._callback, self._checkpoints, self._parts = (
            agent.logger,
            callback,
            checkpoints,
            {**parts, "envs": envs},
        )
        self._updates = updates
        self._trainings: list[int] = []
        self._metrics: list[Mapping[str, float]] = []
        self._values: State | None = None
        if checkpoints is None:
            return
        self._name = _name(agent, envs)
        _state_of(envs)  # fail early if an environment cannot be checkpointed
        if saved := checkpoints.newest():
            self._load(saved, checkpoints)

    @property
    def done(self) -> int:
        """Updates so far, those before the checkpoint included."""
        return len(self._metrics)

    def start(self, **fresh: Any) -> tuple[Any, ...]:
        """Values restored from the checkpoint, or the given initial values."""
        return tuple(fresh.values()) if self._values is None else tuple(self._values[name] for name in fresh)

    def end_update(self, trainings: int, metrics: Mapping[str, float], last: bool = False, **values: Any) -> None:
        """Log, save if it is time to, and tell the callback.

        Args:
            trainings: spent so far.
            metrics: of the update.
            last: whether no update follows, though there is budget left.
            **values: for `start`, under the same names.
        """
        self._trainings.append(trainings)
        self._metrics.append(dict(metrics))
        log_update(self._logger, metrics, self.done, trainings)
        if self._checkpoints and (last or self.done == self._updates or self.done % self._checkpoints.every == 0):
            parts = {name: _state_of(part) for name, part in self._parts.items() if part is not None}
            log = {"trainings": np.array(self._trainings), **_table(self._metrics)}
            self._checkpoints.save(self.done, {"run": self._name, "parts": parts, "values": values, "log": log})
        if self._callback is not None:
            self._callback(trainings, dict(metrics))

    def _load(self, saved: State, checkpoints: Checkpoints) -> None:
        for what, ours in self._name.items():
            if (theirs := saved["run"].get(what)) != ours:
                raise ValueError(f"the checkpoints in {checkpoints.folder} are of another {what}: {theirs}, not {ours}")
        trainings = saved["log"]["trainings"].tolist()
        if len(trainings) > self._updates:
            raise ValueError(
                f"the checkpoint in {checkpoints.folder} has seen {len(trainings)} updates, and the budget is enough for "
                f"{self._updates}: give it more trainings"
            )
        for name, part in self._parts.items():
            if part is not None:
                _restore(part, saved["parts"][name])
        self._values = saved["values"]
        self._trainings, self._metrics = trainings, _rows(saved["log"])
        for update, (spent, metrics) in enumerate(zip(self._trainings, self._metrics, strict=True), start=1):
            log_update(self._logger, metrics, update, spent)


def _name(agent: Learner, envs: Envs | gym.Env[Any, Any]) -> dict[str, str]:
    """What two runs must have in common so that one can go on where the other stopped."""
    environment = f"{getattr(envs, 'num_envs', 1)} x {envs.unwrapped.__class__.__name__}"
    problems = [getattr(one, "problem", None) for one in _members(envs)]
    for problem in problems[:1]:
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


def _members(envs: Any) -> list[Any]:
    """The environments that hold the state of a vector: itself, or those that it steps in turn."""
    inner = envs.unwrapped
    return [env.unwrapped for env in inner.envs] if isinstance(inner, SyncVectorEnv) else [inner]


def _state_of(part: Any) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    if not isinstance(getattr(part, "unwrapped", None), gym.Env | gym.vector.VectorEnv):
        return part.state_dict()
    for one in _members(part):
        if not hasattr(one, "state_dict"):
            raise ValueError(f"{one} cannot be saved: it has no state_dict() and load_state_dict(); leave out checkpoints")
    return [one.state_dict() for one in _members(part)]


def _restore(part: Any, state: Any) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state)
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif isinstance(getattr(part, "unwrapped", None), gym.Env | gym.vector.VectorEnv):
        for one, own in zip(_members(part), state, strict=True):
            one.load_state_dict(own)
    else:
        part.load_state_dict(state)


def _table(metrics: list[Mapping[str, float]]) -> State:
    """The log as arrays; updates need not have the same metrics."""
    names = list(dict.fromkeys(name for row in metrics for name in row))
    values = np.array([[row.get(name, np.nan) for name in names] for row in metrics], dtype=np.float64)
    there = np.array([[name in row for name in names] for row in metrics], dtype=np.bool_)
    return {"names": names, "values": values, "there": there}


def _rows(log: State) -> list[Mapping[str, float]]:
    rows = zip(log["values"].tolist(), log["there"].tolist(), strict=True)
    return [{name: value for name, value, own in zip(log["names"], *row, strict=True) if own} for row in rows]

"""The on-policy algorithms of stable-baselines3 as agents: PPO, A2C, and TRPO of sb3-contrib."""

from __future__ import annotations

import math
import pickle  # only of what this process itself has pickled  # nosec B403
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import BernoulliDistribution
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from mixrl.sb3.row_policy import RowPolicy
from mixrl.sb3.vec_env import SB3VecEnv
from mixrl.training import AnyEnv, ProgressCallback, check_rows, settled, update_metrics
from mixrl_env.checks import check_whole
from mixrl_env.regressor import resolve_device

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Every step is an inner training: small rollouts, many updates. PPO's probability ratio is that of a whole mask, all
        # B rows at once, and leaves its clip range soon: few epochs.
        "ppo": {"n_steps": 2, "batch_size": 32, "n_epochs": 4, "learning_rate": 1e-2},
        # Adam: the first steps of SB3's RMSprop are ten times as long, and leave some rows decided wrongly for good.
        "a2c": {"n_steps": 1, "learning_rate": 3e-3, "normalize_advantage": True, "use_rms_prop": False},
        # The divergence is a mean over rows, not that of whole masks; the learning rate is the critic's.
        "trpo": {"n_steps": 2, "batch_size": 32, "learning_rate": 1e-3, "target_kl": 0.1},
    }
)
"""Arguments of an algorithm unless the settings give others; the rest are SB3's own defaults. See `SB3Config.arguments`."""
SMALLEST_ROLLOUT = 16  # trainings; advantages are normalised over them, and of two only the sign is left


@dataclass(frozen=True)
class SB3Config:
    """Settings of `SB3Agent`.

    Attributes:
        algorithm: "ppo", "a2c" or "trpo" (the last needs sb3-contrib).
        policy: "rows" is `RowPolicy`; "flat" SB3's MlpPolicy, which flattens the batch: a control.
        settings: arguments of the algorithm, such as {"n_steps": 4}, on top of `DEFAULTS`.
        device: where the networks live: "auto", "cpu", "cuda", ...

    Raises:
        ValueError: for a value out of its range.
    """

    algorithm: Literal["ppo", "a2c", "trpo"] = "ppo"
    policy: Literal["rows", "flat"] = "rows"
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.settings, Mapping):
            raise ValueError(f"settings must be a mapping of the algorithm's arguments, got {self.settings!r}")
        if self.algorithm not in list(DEFAULTS):
            raise ValueError(f"algorithm must be one of {', '.join(DEFAULTS)}, got {self.algorithm!r}")
        if self.policy not in ("rows", "flat"):
            raise ValueError(f"policy must be 'rows' or 'flat', got {self.policy!r}")
        if taken := sorted({"policy", "env", "seed", "device", "verbose", "tensorboard_log"} & set(self.settings)):
            raise ValueError(f"{taken[0]} is set by the agent and cannot be overridden")
        check_whole(steps := self.settings.get("n_steps", 1), "n_steps")
        if steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {steps}")

    def arguments(self, num_envs: int, num_trainings: int) -> dict[str, Any]:
        """The arguments of the algorithm on num_envs environments, m, with a budget of trainings.

        What `settings` leave open fits m: with few environments a rollout has more steps, until it holds `SMALLEST_ROLLOUT`
        trainings or the whole budget; minibatches are of one size, that divisor of the rollout which is nearest to the default.
        """
        arguments = {**DEFAULTS[self.algorithm], **self.settings}
        if "n_steps" not in self.settings:
            arguments["n_steps"] = max(
                arguments["n_steps"], min(math.ceil(SMALLEST_ROLLOUT / num_envs), num_trainings // num_envs)
            )
        if "batch_size" in arguments and "batch_size" not in self.settings:
            rollout, wanted = arguments["n_steps"] * num_envs, arguments["batch_size"]
            sizes = [
                size for size in range(min(2, rollout), rollout + 1) if rollout % size == 0
            ]  # a minibatch of one cannot be normalised
            arguments["batch_size"] = min(sizes, key=lambda size: abs(math.log(size / wanted)))
        return arguments


class SB3Agent:
    """An algorithm of stable-baselines3 that meets `mixrl.training.Agent`; with plain SB3 calls: `PPO(RowPolicy, env)`.

    Args:
        config: settings.
        seed: of weights, masks and environments; the same seed gives the same run. SB3 draws from the global generators of
            Python, NumPy and torch; they are as before when `learn` returns.
        logger: a stable-baselines3 logger for the curves, or None.

    Attributes:
        model: SB3's, such as a PPO; None before `learn`.
        trainings: inner trainings that `learn` has spent.
    """

    def __init__(self, config: SB3Config | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        self.config, self.seed, self.logger = settled(config, SB3Config, seed), seed, logger
        self.model: OnPolicyAlgorithm | None = None
        self.trainings = 0

    def learn(self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Learn with num_trainings steps, rounded down to whole rollouts; see `mixrl.training.Agent`.

        Raises:
            ValueError: if the budget is below one rollout, or the rollout is one training and advantages are normalised.
            ModuleNotFoundError: for TRPO without sb3-contrib.
        """
        check_whole(num_trainings, "num_trainings")
        config, vec_env = self.config, SB3VecEnv(envs)
        arguments = config.arguments(vec_env.num_envs, num_trainings)
        rollout = arguments["n_steps"] * vec_env.num_envs
        if num_trainings < rollout:
            raise ValueError(f"a budget of {num_trainings} trainings is below one rollout of n_steps * m = {rollout}")
        if rollout < 2 and arguments.get("normalize_advantage", True):
            raise ValueError("normalize_advantage needs rollouts of at least 2 trainings, and n_steps * m is 1")
        with _global_generators_kept():
            self.model = _algorithm(config.algorithm)(
                RowPolicy if config.policy == "rows" else "MlpPolicy",
                vec_env,
                seed=self.seed,
                device=resolve_device(config.device),
                **arguments,
            )
            self.model.set_logger(self.logger or Logger(None, []))
            self.model.learn(num_trainings // rollout * rollout, _Curves(self, callback), log_interval=1)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of selecting each observation row; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
            ValueError: if a flat policy is not asked for whole batches, shape (..., B, d + e + |N|).
        """
        if self.model is None:
            raise RuntimeError("call learn() before probabilities()")
        policy = self.model.policy
        shape = policy.observation_space.shape
        assert shape is not None
        if isinstance(policy, RowPolicy):
            check_rows(rows, shape[-1])
            return policy.probabilities(rows)
        if rows.shape[-2:] != shape:
            raise ValueError(
                f"a flat policy sees whole batches: ask it for rows of shape (..., {shape[0]}, {shape[1]}), got {rows.shape}"
            )
        batches = torch.as_tensor(rows.reshape(-1, *shape), device=policy.device)
        return torch.sigmoid(_logits(policy, batches).double()).cpu().numpy().reshape(rows.shape[:-1])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """By pickling: policies of SB3 keep the graph of their last action, which torch pickles but does not copy."""
        copied: Self = pickle.loads(pickle.dumps(self))  # as above  # nosec B301
        return copied


class _Curves(BaseCallback):
    """Logs every rollout as our own agents log an update, and tells the callback once the policy has learned from it."""

    def __init__(self, agent: SB3Agent, callback: ProgressCallback | None) -> None:
        super().__init__()
        self._agent, self._tell = agent, callback
        self._rewards: list[npt.NDArray[np.float32]] = []
        self._info: defaultdict[str, list[Any]] = defaultdict(list)
        self._metrics: dict[str, float] = {}

    def _on_step(self) -> bool:
        self._rewards.append(self.locals["rewards"].copy())
        for info in self.locals["infos"]:  # not all have the same keys: some episodes have ended, others go on
            for key, value in info.items():
                if isinstance(value, bool | int | float | np.number | np.bool_) and key != "TimeLimit.truncated":
                    self._info[key].append(value)
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        policy = self.model.policy
        assert isinstance(policy, ActorCriticPolicy)
        rows = torch.as_tensor(buffer.observations, device=policy.device).flatten(0, 1)  # (n_steps * m, B, row size)
        masks = torch.as_tensor(buffer.actions).flatten(0, 1)  # (n_steps * m, B)
        self._metrics = update_metrics(_logits(policy, rows).cpu(), masks, np.concatenate(self._rewards), self._info)
        self._rewards = []
        self._info.clear()
        self._agent.trainings = self.num_timesteps
        for name, value in {**self._metrics, "trainings": self.num_timesteps}.items():
            self.logger.record(name, value)

    def _on_rollout_start(self) -> None:
        self._learned()

    def _on_training_end(self) -> None:
        self._learned()

    def _learned(self) -> None:
        if self._metrics and self._tell is not None:
            self._tell(self.num_timesteps, self._metrics)
        self._metrics = {}


def _algorithm(name: str) -> type[OnPolicyAlgorithm]:
    if name == "trpo":
        try:
            from sb3_contrib import TRPO
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("TRPO is in sb3-contrib, which is not installed: pip install sb3-contrib") from error
        trpo: type[OnPolicyAlgorithm] = TRPO
        return trpo
    return PPO if name == "ppo" else A2C


def _logits(policy: ActorCriticPolicy, observations: Tensor) -> Tensor:
    """Logits (m, B) of observations (m, B, row size)."""
    with torch.no_grad():
        distribution = policy.get_distribution(observations)
    assert isinstance(distribution, BernoulliDistribution)
    logits: Tensor = distribution.distribution.logits
    return logits


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Restore the global generators on exit."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # SB3 seeds the global one
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

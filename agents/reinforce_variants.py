"""REINFORCE beyond Algorithm 1: another baseline, scaled steps, an entropy bonus, a stopping rule (ours, not the paper's)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from mixrl.checkpoint import Checkpoints
from mixrl.reinforce import Reinforce, ReinforceConfig
from mixrl.training import AnyEnv, ProgressCallback, as_vector_env
from mixrl.value_network import ValueNetwork, log_pi


@dataclass(frozen=True)
class ReinforceVariantConfig(ReinforceConfig):
    """Settings of `ReinforceVariant`, those of Algorithm 1 included; the defaults are Algorithm 1 without a stopping rule.

    Attributes:
        baseline: "moving_average" is Base of Algorithm 1; "leave_one_out" compares each of m > 1 trajectories with the mean of
            the others.
        patience: updates without a new highest smoothed reward after which the policy counts as converged; None spends the
            whole budget.
        progress_window: updates that the smoothed reward is the mean of; `window` is W of Base alone.
        normalize: divide Eq. 1 by B and by the standard deviation of the update's rewards, so that neither C nor the size of
            the batch changes the balance with the entropy bonus.
        entropy_bonus: weight of the policy's entropy in nats a row, which holds p at 1/2 where rewards say nothing.

    Raises:
        ValueError: for a value out of its range.
    """

    baseline: Literal["moving_average", "leave_one_out"] = "moving_average"
    patience: int | None = None
    progress_window: int = 20
    normalize: bool = False
    entropy_bonus: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in ("moving_average", "leave_one_out"):
            raise ValueError(f"baseline must be 'moving_average' or 'leave_one_out', got {self.baseline!r}")
        if self.progress_window < 1:
            raise ValueError(f"progress_window must be at least 1, got {self.progress_window}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be None or at least 1, got {self.patience}")
        if not 0 <= self.entropy_bonus < np.inf:
            raise ValueError(f"entropy_bonus must be 0 or above, got {self.entropy_bonus}")


class ReinforceVariant(Reinforce):
    """`Reinforce` with the options of `ReinforceVariantConfig`; without any of them the same run, to the bit.

    Attributes:
        network: h_theta; None before `learn`.
        converged: whether it stopped because the smoothed reward made no progress, before the budget was spent.
    """

    config_type: ClassVar[type[ReinforceVariantConfig]] = ReinforceVariantConfig
    config: ReinforceVariantConfig

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Learn until convergence, for at most num_trainings inner trainings; see `mixrl.training.Agent`.

        Raises:
            ValueError: as `Reinforce.learn`, or if there is one environment and nothing to compare its rewards with.
        """
        envs = as_vector_env(envs)
        if envs.num_envs < 2 and (self.config.normalize or self.config.baseline == "leave_one_out"):
            raise ValueError("normalize and the leave_one_out baseline compare rewards; they need at least 2 environments")
        return super().learn(envs, num_trainings, callback, checkpoints)

    def _start(self, h: ValueNetwork) -> dict[str, Any]:
        self._progress = Progress(self.config.progress_window, self.config.patience)
        return super()._start(h) | {"progress": self._progress}

    def _objective(self, D_m: Tensor, logits: Tensor, R: Tensor, Base: float, info: Mapping[str, Any]) -> Tensor:
        """Eq. 1 with another baseline and scale, and the entropy."""
        config = self.config
        reference = Base if config.baseline == "moving_average" else (R.sum() - R) / (len(R) - 1)
        objective = ((R - reference) * log_pi(logits, D_m)).mean()
        if config.normalize:
            objective /= logits.shape[1] * (float(R.std()) or 1.0)
        entropy = bce_with_logits(logits, torch.sigmoid(logits))  # nats a row
        return objective + config.entropy_bonus * entropy

    def _after_update(self, R: Tensor) -> dict[str, float]:
        """Follow the smoothed reward."""
        metrics = self._progress.update(float(R.mean()))
        self.converged = self._progress.converged
        return metrics


class Progress:
    """The stopping rule: has the smoothed reward, the mean over a window of updates, reached no new height for long?"""

    def __init__(self, window: int, patience: int | None) -> None:
        self.patience, self.converged = patience, False
        self._since_best, self._best = 0, -math.inf
        self._recent: deque[float] = deque(maxlen=window)

    def update(self, reward: float) -> dict[str, float]:
        """Take the mean reward of an update; returns what to log."""
        self._recent.append(reward)
        smoothed = sum(self._recent) / len(self._recent)
        if len(self._recent) == self._recent.maxlen:  # before, the mean of a few is too noisy to count
            self._since_best = 0 if smoothed > self._best else self._since_best + 1
            self._best = max(self._best, smoothed)
        self._judge()
        return {
            "convergence/smoothed_reward": smoothed,
            "convergence/updates_since_best": float(self._since_best),
            "convergence/converged": float(self.converged),
        }

    def _judge(self) -> None:
        self.converged = self.patience is not None and self._since_best >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """All that changes, for a checkpoint."""
        return {"recent": list(self._recent), "best": self._best, "since_best": self._since_best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._recent.clear()
        self._recent.extend(state["recent"])
        self._best, self._since_best = state["best"], state["since_best"]
        self._judge()

"""REINFORCE beyond Algorithm 1: other baselines, a critic, an entropy bonus, a stopping rule (ours, not the paper's)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from mixrl.base import AnyEnv, Logger, ProgressCallback, as_vector_env, settled
from mixrl.checkpoint import Checkpoints
from mixrl.critic import PooledCritic
from mixrl.progress import Progress
from mixrl.reinforce import Reinforce, ReinforceConfig
from mixrl.value_network import ValueNetwork, log_pi


@dataclass(frozen=True)
class ReinforceVariantConfig(ReinforceConfig):
    """Settings of `ReinforceVariant`, those of Algorithm 1 included; the defaults are Algorithm 1 without a stopping rule.

    Attributes:
        baseline: "moving_average" is Base of Algorithm 1; "leave_one_out" compares each of m > 1 trajectories with the mean of
            the others.
        antithetic: mirror the random numbers of every other trajectory; leave-one-out then leaves the mirrored pair out.
        critic: subtract what `mixrl.critic.PooledCritic` expects of a mask, and add the gradient of its mean.
        patience: updates without a new highest smoothed reward after which the policy counts as converged; None spends the
            whole budget.
        progress_window: updates that the smoothed reward is the mean of; `window` is W of Base alone.
        normalize: divide Eq. 1 by B and by the standard deviation of the update's rewards, so that neither C nor the size of
            the batch changes the balance with the entropy bonus.
        entropy_bonus: weight of the policy's entropy in nats a row, which holds p at 1/2 where rewards tell nothing.

    Raises:
        ValueError: for a value out of its range.
    """

    baseline: Literal["moving_average", "leave_one_out"] = "moving_average"
    antithetic: bool = False
    critic: bool = False
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

    Args:
        config: settings.
        seed: of the initial weights, the sampled masks and the environments; the same seed gives the same run.
        logger: for the learning curves, such as one of stable-baselines3, or None.

    Attributes:
        network: h_theta; None before `learn`.
        trainings: inner trainings that `learn` has spent.
        converged: whether it stopped because the smoothed reward made no progress, before the budget was spent.
    """

    config: ReinforceVariantConfig

    def __init__(self, config: ReinforceVariantConfig | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        super().__init__(None, seed, logger)
        self.config = settled(config, ReinforceVariantConfig, seed)

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Learn until convergence, for at most num_trainings inner trainings; see `mixrl.base.Agent`.

        Raises:
            ValueError: as `Reinforce.learn`, or if there are too few trajectories to compare or to pair.
        """
        envs = as_vector_env(envs)
        m, pair = envs.num_envs, self._dependent
        if m % pair:
            raise ValueError(f"antithetic masks come in pairs; m = {m} is odd")
        if self.config.baseline == "leave_one_out" and m < 2 * pair:
            raise ValueError(f"the leave_one_out baseline needs at least {2 * pair} environments, got {m}")
        if self.config.normalize and m < 2:
            raise ValueError("normalize takes the spread of the rewards of an update; it needs at least 2 environments, got 1")
        return super().learn(envs, num_trainings, callback, checkpoints)

    @property
    def _dependent(self) -> int:
        """How many consecutive trajectories depend on each other."""
        return 2 if self.config.antithetic else 1

    def _start(self, h: ValueNetwork, generator: torch.Generator) -> dict[str, Any]:
        config = self.config
        self.network = h
        self._critic = PooledCritic(h.row_size, generator, next(h.parameters()).device) if config.critic else None
        self._progress = Progress(config.progress_window, config.patience)
        adam = torch.optim.Adam(h.parameters(), lr=config.learning_rate)
        return {"h": h, "adam": adam, "critic": self._critic, "progress": self._progress}

    def _sample(self, p: Tensor, generator: torch.Generator) -> Tensor:
        """Masks (m, B) of independent Bernoulli draws; antithetic ones use u for one trajectory and 1 - u for the next."""
        if not self.config.antithetic:
            return super()._sample(p, generator)
        u = torch.rand(len(p) // 2, *p.shape[1:], generator=generator)
        return (torch.stack([u, 1 - u], dim=1).flatten(0, 1) < p).float()

    def _objective(self, D_b: Tensor, D_m: Tensor, logits: Tensor, R: Tensor, Base: float) -> tuple[Tensor, Tensor]:
        """Eq. 1 with the rewards that the critic leaves unexplained, and the entropy."""
        config, Q, mean_Q = self.config, torch.zeros_like(R), torch.zeros_like(R)
        if self._critic is not None:
            Q, mean_Q = self._critic.value(D_b, D_m).detach(), self._critic.value(D_b, torch.sigmoid(logits))
        left = R - Q
        reference = Base if config.baseline == "moving_average" else _mean_of_others(left, self._dependent)
        objective = ((left - reference) * log_pi(logits, D_m) + mean_Q).mean()
        if config.normalize:
            objective /= logits.shape[1] * (float(R.std()) or 1.0)
        entropy = bce_with_logits(logits, torch.sigmoid(logits))  # nats a row
        return objective + config.entropy_bonus * entropy, left

    def _after_update(self, D_b: Tensor, D_m: Tensor, R: Tensor) -> dict[str, float]:
        """Train the critic, and follow the smoothed reward."""
        if self._critic is not None:
            self._critic.fit(D_b, D_m, R)
        metrics = self._progress.update(float(R.mean()))
        self.converged = self._progress.converged
        return metrics


def _mean_of_others(values: Tensor, group: int) -> Tensor:
    """For each of m values the mean of those outside its own group of consecutive ones, shape (m,)."""
    groups = values.unflatten(0, (-1, group)).sum(dim=1).repeat_interleave(group)
    mean: Tensor = (values.sum() - groups) / (len(values) - group)
    return mean

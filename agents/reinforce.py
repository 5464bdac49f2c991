"""Algorithm 1: Monte Carlo policy gradient on the Mixup value network (Sec. 3.1, Sec. 3.2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits
from torch.nn.utils import get_total_norm

from agents.base import Envs, ProgressCallback, as_vector_env, settled, step_once
from agents.checkpoint import Checkpoints
from agents.critic import PooledCritic
from agents.guards import center, guard
from agents.progress import Progress, update_metrics
from agents.run import Run
from agents.value_network import HIDDEN_SIZES, ValueNetwork
from mixrl_env.checks import check_types, check_whole
from mixrl_env.regressor import resolve_device


@dataclass(frozen=True)
class ReinforceConfig:
    """Settings of Algorithm 1; the defaults are the paper's (App. B.1).

    Attributes:
        learning_rate: alpha, of Adam.
        baseline: "moving_average" is Base of Algorithm 1; "leave_one_out" compares each of m > 1 trajectories with the mean of
            the others.
        window: W of the moving average.
        antithetic: mirror the random numbers of every other trajectory; leave-one-out then leaves the mirrored pair out.
        critic: subtract what `agents.critic.PooledCritic` expects of a mask, and add the gradient of its mean.
        patience: updates without a new highest smoothed reward, the mean over the last `window` updates, after which the policy
            counts as converged; None spends the whole budget.
        keep_best: the policy is that of the highest smoothed reward, not that of the last update.
        average: the policy is an exponential moving average of theta over the updates with this decay; 0 takes theta itself.
        normalize: divide Eq. 1 by B and by the standard deviation of the update's rewards, so that neither C nor the size of
            the batch moves the balance with the guards below.
        entropy_bonus: weight of the policy's entropy in nats a row, which holds p at 1/2 where rewards tell nothing.
        exploration_penalty: weight of DVRL's guard, max(mean p - 0.9, 0) + max(0.1 - mean p, 0); it used 1000.
        center: subtract from every logit the mean logit of the rows at hand, so that the bias that all rows share cannot
            move; a row's p then depends on the rows it is asked for with.
        weight_decay: of theta, decoupled from Adam's step.
        hidden_sizes: nodes of the hidden layers of h_theta.
        device: where h_theta lives: "auto", "cpu", "cuda", ...

    Raises:
        ValueError: for a value out of its range.
    """

    learning_rate: float = 0.001
    baseline: Literal["moving_average", "leave_one_out"] = "moving_average"
    window: int = 20
    antithetic: bool = False
    critic: bool = False
    patience: int | None = None
    keep_best: bool = False
    average: float = 0.0
    normalize: bool = False
    entropy_bonus: float = 0.0
    exploration_penalty: float = 0.0
    center: bool = False
    weight_decay: float = 0.0
    hidden_sizes: tuple[int, ...] = HIDDEN_SIZES
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        if self.baseline not in ("moving_average", "leave_one_out"):
            raise ValueError(f"baseline must be 'moving_average' or 'leave_one_out', got {self.baseline!r}")
        if self.window < 1 or not 0 < self.learning_rate < np.inf:
            raise ValueError(f"window must be at least 1 and learning_rate positive, got {self.window}, {self.learning_rate}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be None or at least 1, got {self.patience}")
        for name in ("entropy_bonus", "exploration_penalty", "weight_decay"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be 0 or above, got {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must lie in [0, 1), got {self.average}")
        if self.average and self.keep_best:
            raise ValueError("average and keep_best each name another policy as the learned one; choose one of them")


class Reinforce:
    """REINFORCE with m sample trajectories an update, m the number of environments (Eq. 1; Algorithm 1 is m = 1).

    Args:
        config: settings.
        seed: of the initial weights, the sampled masks and the environments; the same seed gives the same run.
        logger: a stable-baselines3 logger for the curves, or None.

    Attributes:
        network: h_theta, or with keep_best the best so far; None before `learn`.
        trainings: inner trainings that `learn` has spent.
        converged: whether it stopped because the smoothed reward made no progress, before the budget was spent.
    """

    def __init__(self, config: ReinforceConfig | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        self.config, self.seed, self.logger = settled(config, ReinforceConfig, seed), seed, logger
        self.network: ValueNetwork | None = None
        self.trainings, self.converged = 0, False

    def learn(
        self,
        envs: Envs | gym.Env[Any, Any],
        num_trainings: int,
        callback: ProgressCallback | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Self:
        """Run Algorithm 1 until convergence, for at most num_trainings inner trainings, rounded down to whole updates of m.

        See `agents.base.Agent`.

        Raises:
            ValueError: if the budget is below one update, there are too few trajectories to compare or to pair, or an
                episode has more than one step (T > 1).
        """
        check_whole(num_trainings, "num_trainings")
        envs = as_vector_env(envs)
        config, m = self.config, envs.num_envs
        if num_trainings < m:
            raise ValueError(f"a budget of {num_trainings} trainings is below one update of m = {m}")
        group = 2 if config.antithetic else 1  # trajectories that depend on each other
        if m % group:
            raise ValueError(f"antithetic masks come in pairs; m = {m} is odd")
        if config.baseline == "leave_one_out" and m < 2 * group:
            raise ValueError(f"the leave_one_out baseline needs at least {2 * group} environments, got {m}")
        if config.normalize and m < 2:
            raise ValueError("normalize takes the spread of the rewards of an update; it needs at least 2 environments, got 1")
        device = resolve_device(config.device)
        generator = torch.Generator().manual_seed(self.seed)
        W = config.window

        state, _ = envs.reset(seed=self.seed)  # Sample D^b ~ P x Uniform(N), shape (m, B, d + e + |N|)
        h = ValueNetwork(state.shape[-1], config.hidden_sizes, generator).to(device)  # Initialize theta,
        self.network = copy.deepcopy(h) if config.keep_best or config.average else h
        adam = torch.optim.AdamW(h.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)  # alpha
        critic = PooledCritic(state.shape[-1], generator, device) if config.critic else None
        progress = Progress(W, config.patience)
        parts = {"h": h, "policy": self.network, "adam": adam, "critic": critic, "progress": progress}
        run = Run(self, envs, num_trainings // m, callback, checkpoints, **parts, generator=generator)
        state, base = run.start(state=state, base=0.0)  # Base = 0
        self.trainings, self.converged = run.done * m, progress.converged

        for update in range(run.done + 1, num_trainings // m + 1):
            if progress.converged:
                break
            rows = torch.as_tensor(state, device=device)
            logits = center(h(rows)) if config.center else h(rows)  # of h_theta(x_i, y_i, k_i), shape (m, B)
            p = torch.sigmoid(logits)
            D_m = self._sample(p.detach().cpu(), generator)  # D^m as masks (m, B)
            # Train f_phi on D^b with Mix(D^m, D, N): R = -C * Loss. The state that comes back is the next D^b.
            state, reward, info = step_once(envs, D_m.numpy().astype(np.int8))
            D_m, R = D_m.to(device), torch.as_tensor(reward, dtype=torch.float32, device=device)  # (m, B), (m,)

            Q = torch.zeros_like(R) if critic is None else critic.value(rows, D_m).detach()
            mean_Q = torch.zeros_like(R) if critic is None else critic.value(rows, p)
            advantage = R - Q
            if config.baseline == "leave_one_out":
                advantage -= _mean_of_others(advantage, group)
            else:
                advantage -= base  # -C * (Loss - Base): base is kept in units of the reward
            log_pi = -bce_with_logits(logits, D_m, reduction="none").sum(dim=1)  # log pi_theta(D^m | D^b), (m,)
            objective = (advantage * log_pi + mean_Q).mean()  # its gradient is Eq. 1
            if config.normalize:
                objective /= logits.shape[1] * (float(R.std()) or 1.0)
            objective += guard(logits, config.entropy_bonus, config.exploration_penalty)
            adam.zero_grad()
            (-objective).backward()
            grad_norm = get_total_norm([w.grad for w in h.parameters() if w.grad is not None])
            adam.step()
            base = (W - 1) / W * base + 1 / W * float((R - Q).mean())
            if critic is not None:
                critic.fit(rows, D_m, R)

            metrics = update_metrics(logits.detach(), D_m, R, info)
            metrics |= {"reward/moving_average": base, "policy/grad_norm": float(grad_norm)}
            metrics |= progress.update(float(R.mean()))
            if config.keep_best and progress.improved:
                self.network.load_state_dict(h.state_dict())
            if config.average:
                _follow(self.network, h, config.average if update > 1 else 0.0)
            self.trainings, self.converged = update * m, progress.converged
            run.end_update(self.trainings, metrics, last=progress.converged, state=state, base=base)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """h_theta of each observation row; see `agents.base.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.network is None:
            raise RuntimeError("call learn() before probabilities()")
        logits = self.network.logits(rows)
        return torch.sigmoid(center(logits) if self.config.center else logits).numpy()

    def _sample(self, p: Tensor, generator: torch.Generator) -> Tensor:
        """Masks (m, B) of independent Bernoulli draws; antithetic ones use u for one trajectory and 1 - u for the next."""
        if not self.config.antithetic:
            return torch.bernoulli(p, generator=generator)
        u = torch.rand(len(p) // 2, *p.shape[1:], generator=generator)
        return (torch.stack([u, 1 - u], dim=1).flatten(0, 1) < p).float()


def _mean_of_others(values: Tensor, group: int) -> Tensor:
    """For each of m values the mean of those outside its own group of consecutive ones, shape (m,)."""
    groups = values.unflatten(0, (-1, group)).sum(dim=1).repeat_interleave(group)
    mean: Tensor = (values.sum() - groups) / (len(values) - group)
    return mean


def _follow(average: ValueNetwork, network: ValueNetwork, decay: float) -> None:
    """Move the average to decay * average + (1 - decay) * network, weight by weight."""
    with torch.no_grad():
        for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(weight, 1 - decay)

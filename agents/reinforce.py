"""Algorithm 1: Monte Carlo policy gradient on the Mixup value network (Sec. 3.1, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
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

from agents.base import Envs, ProgressCallback, as_vector_env
from agents.value_network import HIDDEN_SIZES, ValueNetwork
from mixrl_env.regressor import resolve_device


@dataclass(frozen=True)
class ReinforceConfig:
    """Settings of Algorithm 1; the defaults are the paper's (App. B.1).

    Attributes:
        learning_rate: alpha, of Adam.
        baseline: "moving_average" is Base of Algorithm 1; "leave_one_out" compares each of m > 1 trajectories with the mean of
            the others.
        window: W of the moving average.
        hidden_sizes: nodes of the hidden layers of h_theta.
        device: where h_theta lives: "auto", "cpu", "cuda", ...

    Raises:
        ValueError: for a value out of its range.
    """

    learning_rate: float = 0.001
    baseline: Literal["moving_average", "leave_one_out"] = "moving_average"
    window: int = 20
    hidden_sizes: tuple[int, ...] = HIDDEN_SIZES
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.baseline not in ("moving_average", "leave_one_out"):
            raise ValueError(f"baseline must be 'moving_average' or 'leave_one_out', got {self.baseline!r}")
        if self.window < 1 or not self.learning_rate > 0:
            raise ValueError(f"window must be at least 1 and learning_rate positive, got {self.window}, {self.learning_rate}")


class Reinforce:
    """REINFORCE with m sample trajectories an update, m the number of environments (Eq. 1; Algorithm 1 is m = 1).

    Args:
        config: settings.
        seed: of the initial weights, the sampled masks and the environments; the same seed gives the same run.
        logger: a stable-baselines3 logger for the curves, or None.

    Attributes:
        network: h_theta; None before `learn`.
    """

    def __init__(self, config: ReinforceConfig | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        self.config, self.seed, self.logger = config or ReinforceConfig(), seed, logger
        self.network: ValueNetwork | None = None

    def learn(self, envs: Envs | gym.Env[Any, Any], num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Run Algorithm 1 for num_trainings inner trainings, rounded down to whole updates of m; see `agents.base.Agent`.

        Raises:
            ValueError: if the budget is below one update, or leave-one-out has only one trajectory to compare.
        """
        envs = as_vector_env(envs)
        config, m = self.config, envs.num_envs
        if num_trainings < m:
            raise ValueError(f"a budget of {num_trainings} trainings is below one update of m = {m}")
        if config.baseline == "leave_one_out" and m < 2:
            raise ValueError("the leave_one_out baseline needs at least 2 environments; use moving_average with one")
        device = resolve_device(config.device)
        generator = torch.Generator().manual_seed(self.seed)
        W = config.window

        state, _ = envs.reset(seed=self.seed)  # Sample D^b ~ P x Uniform(N), shape (m, B, d + e + |N|)
        h = ValueNetwork(state.shape[-1], config.hidden_sizes, generator).to(device)  # Initialize theta,
        base = 0.0  # Base = 0
        self.network = h
        adam = torch.optim.Adam(h.parameters(), lr=config.learning_rate)  # alpha

        for update in range(1, num_trainings // m + 1):
            logits = h(torch.as_tensor(state, device=device))  # of h_theta(x_i, y_i, k_i), shape (m, B)
            D_m = torch.bernoulli(torch.sigmoid(logits.detach()).cpu(), generator=generator)  # D^m as masks (m, B)
            # Train f_phi on D^b with Mix(D^m, D, N): R = -C * Loss. The state that comes back is the next D^b.
            state, reward, _, _, info = envs.step(D_m.numpy().astype(np.int8))
            R = torch.as_tensor(reward, dtype=torch.float32, device=device)  # shape (m,)

            if config.baseline == "leave_one_out":
                advantage = R - (R.sum() - R) / (m - 1)
            else:
                advantage = R - base  # -C * (Loss - Base): base is kept in units of the reward
            log_pi = -bce_with_logits(logits, D_m.to(device), reduction="none").sum(dim=1)  # log pi_theta(D^m | D^b), (m,)
            objective = (advantage * log_pi).mean()  # its gradient is Eq. 1
            adam.zero_grad()
            (-objective).backward()
            grad_norm = get_total_norm([p.grad for p in h.parameters() if p.grad is not None])
            adam.step()
            base = (W - 1) / W * base + 1 / W * float(R.mean())

            metrics = _metrics(logits.detach(), D_m, R, base, float(grad_norm), info.get("final_info", {}))
            self._log(metrics, update, trainings=update * m)
            if callback is not None:
                callback(update * m, metrics)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """h_theta of each observation row; see `agents.base.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.network is None:
            raise RuntimeError("call learn() before probabilities()")
        with torch.no_grad():
            device = next(self.network.parameters()).device
            logits = self.network(torch.as_tensor(rows, device=device))
            # A decided policy has logits whose sigmoids are all 1 in single precision; in double the best option is still told.
            return torch.sigmoid(logits.double()).cpu().numpy()

    def _log(self, metrics: dict[str, float], update: int, trainings: int) -> None:
        if self.logger is None:
            return
        for name, value in metrics.items():
            self.logger.record(name, value)
        self.logger.record("trainings", trainings)
        self.logger.dump(update)


def _metrics(
    logits: Tensor, masks: Tensor, reward: Tensor, base: float, grad_norm: float, info: Mapping[str, Any]
) -> dict[str, float]:
    """What tells a policy that learns from one that drifts; env/... are means over the m trainings."""
    p = torch.sigmoid(logits)
    metrics = {
        "reward/mean": float(reward.mean()),
        "reward/std": float(reward.std(correction=0)),
        "reward/moving_average": base,
        "policy/p_mean": float(p.mean()),
        "policy/p_std": float(p.std(correction=0)),  # over rows and options
        "policy/entropy": float(bce_with_logits(logits, p)),  # nats a row: log 2 at p = 1/2, 0 when decided
        "policy/selected_share": float(masks.mean()),
        "policy/grad_norm": grad_norm,
    }
    return metrics | {f"env/{key}": float(np.mean(value)) for key, value in info.items() if not key.startswith("_")}

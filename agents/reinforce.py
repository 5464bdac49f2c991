"""Algorithm 1: Monte Carlo policy gradient on the Mixup value network (Sec. 3.1, Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger
from torch.distributions import Bernoulli

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

    def learn(
        self, envs: Envs | gym.Env[Any, Any], num_trainings: int, callback: ProgressCallback | None = None
    ) -> Self:
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
        h = ValueNetwork(envs.observation_space.shape[-1], config.hidden_sizes, generator).to(device)  # Initialize theta,
        base = 0.0  # Base = 0
        self.network, alpha, W = h, config.learning_rate, config.window  # noqa: N806
        adam = torch.optim.Adam(h.parameters(), lr=alpha)

        state, _ = envs.reset(seed=self.seed)  # Sample D^b ~ P x Uniform(N)
        for update in range(1, num_trainings // m + 1):
            pi = Bernoulli(logits=h(torch.as_tensor(state, device=device)))  # h_theta(x_i, y_i, k_i), shape (m, B)
            D_m = torch.bernoulli(pi.probs.detach().cpu(), generator=generator)  # noqa: N806  # D^m, as masks (m, B)
            # Train f_phi on D^b with Mix(D^m, D, N); the reward is R = -C * Loss. The state is already the next D^b.
            state, reward, _, _, info = envs.step(D_m.numpy().astype(np.int8))
            R = torch.as_tensor(reward, dtype=torch.float32, device=device)  # noqa: N806

            if config.baseline == "leave_one_out":
                advantage = R - (R.sum() - R) / (m - 1)
            else:
                advantage = R - base  # -C * (Loss - Base): Base is kept in units of the reward
            log_pi = pi.log_prob(D_m.to(device)).sum(dim=1)  # log pi_theta(D^m | D^b), shape (m,)
            loss = -(advantage * log_pi).mean()  # its gradient is Eq. 1
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            grad_norm = torch.nn.utils.get_total_norm([p.grad for p in h.parameters() if p.grad is not None])
            adam.step()
            base = (W - 1) / W * base + 1 / W * float(R.mean())

            metrics = {
                "reward/mean": float(R.mean()),
                "reward/std": float(R.std(correction=0)),
                "reward/baseline": base if config.baseline == "moving_average" else float(R.mean()),
                "policy/p_mean": float(pi.probs.mean()),
                "policy/p_std_over_rows": float(pi.probs.std(correction=0)),
                "policy/entropy": float(pi.entropy().mean()),  # nats a row; log 2 at p = 1/2
                "policy/selected_share": float(D_m.mean()),
                "policy/grad_norm": float(grad_norm),
            }
            final = info.get("final_info", {})
            metrics |= {f"env/{key}": float(np.mean(final[key])) for key in final if not key.startswith("_")}
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
            return torch.sigmoid(self.network(torch.as_tensor(rows, device=device))).double().cpu().numpy()

    def _log(self, metrics: dict[str, float], update: int, trainings: int) -> None:
        if self.logger is None:
            return
        for name, value in metrics.items():
            self.logger.record(name, value)
        self.logger.record("trainings", trainings)
        self.logger.dump(update)

"""Algorithm 1: REINFORCE trains the Mixup value network h_theta; the symbols are the paper's (Sec. 3, Eq. 1, App. B.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mixrl.checkpoint import Checkpoints
from mixrl.training import AnyEnv, Learner, ProgressCallback, Run, step_once, update_metrics
from mixrl.value_network import HIDDEN_SIZES, ValueNetwork, gradient_norm, log_pi
from mixrl_env.checks import check_types
from mixrl_env.regressor import resolve_device
from mixrl_env.streams import torch_stream


@dataclass(frozen=True)
class ReinforceConfig:
    """Settings: alpha of Adam, W of Base, nodes of the hidden layers of h_theta, and the device it lives on."""

    learning_rate: float = 0.001
    window: int = 20
    hidden_sizes: tuple[int, ...] = HIDDEN_SIZES
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        if self.window < 1 or not 0 < self.learning_rate < np.inf:
            raise ValueError(f"window must be at least 1 and learning_rate positive, got {self.window}, {self.learning_rate}")


class Reinforce(Learner[ReinforceConfig]):
    """REINFORCE with m sample trajectories an update, m the number of environments (Eq. 1; Algorithm 1 is m = 1).

    Attributes: `network`, which is h_theta, None before `learn`; `trainings`, the inner trainings spent; `converged`, whether
    it stopped before the budget was spent, as only variants do (`mixrl.ReinforceVariant`). The same seed gives the same run.
    """

    config_type: ClassVar[type[ReinforceConfig]] = ReinforceConfig
    network: ValueNetwork | None = None
    converged = False

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Run Algorithm 1. ValueError if the budget is below one update, or T > 1; see `mixrl.training.Agent`."""
        envs, D_b = self._reset(envs, num_trainings)  # D^b ~ P x Uniform(N), shape (m, B, d + e + |N|)
        device, W, generator = resolve_device(self.config.device), self.config.window, torch_stream(self.seed, "reinforce")
        self.trainings = 0
        h = ValueNetwork(D_b.shape[-1], self.config.hidden_sizes, generator).to(device)  # Initialize theta
        parts = self._start(h)
        run = Run(self, envs, num_trainings, callback, checkpoints, **parts, generator=generator)
        D_b, Base, self.converged = run.start(state=D_b, base=0.0, converged=False)  # Base = 0
        while run.left and not self.converged:
            state = torch.as_tensor(D_b, device=device)
            logits = h(state)  # h_theta(x_i, y_i, k_i) = sigmoid(logits), shape (m, B)
            p = torch.sigmoid(logits.detach()).cpu()
            D_m = torch.bernoulli(p, generator=generator)  # add (x_i, y_i, k_i) with probability h: masks (m, B) of 0 and 1
            D_b, reward, info = step_once(envs, D_m.numpy().astype(np.int8))  # train f_phi, and draw the next D^b
            D_m, R = D_m.to(device), torch.as_tensor(reward, dtype=torch.float32, device=device)  # R = -C * Loss
            objective = self._objective(D_m, logits, R, Base, info)
            parts["adam"].zero_grad()
            (-objective).backward()  # theta = theta - alpha * C * (Loss - Base) * grad log pi_theta(D^m | D^b), by Adam
            parts["adam"].step()
            Base = (W - 1) / W * Base + 1 / W * float(R.mean())  # in units of the reward
            metrics = update_metrics(logits.detach(), D_m, R, info) | self._after_update(R)
            metrics |= {"reward/moving_average": Base, "policy/grad_norm": gradient_norm(h)}
            run.end_update(metrics, last=self.converged, state=D_b, base=Base, converged=self.converged)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """h_theta of each observation row, (..., d + e + |N|) in, (...,) out. RuntimeError before `learn`."""
        if self.network is None:
            raise RuntimeError("call learn() before probabilities()")
        return torch.sigmoid(self.network.logits(rows)).numpy()

    def _start(self, h: ValueNetwork) -> dict[str, Any]:
        """The parts that learning changes, h_theta and Adam, by their names in a checkpoint."""
        self.network = h
        return {"h": h, "adam": torch.optim.Adam(h.parameters(), lr=self.config.learning_rate)}

    def _objective(self, D_m: Tensor, logits: Tensor, R: Tensor, Base: float, info: Mapping[str, Any]) -> Tensor:
        """What is maximised; its gradient is Eq. 1."""
        return ((R - Base) * log_pi(logits, D_m)).mean()

    def _after_update(self, R: Tensor) -> dict[str, float]:
        return {}  # the metrics that a variant adds

"""REINFORCE with local credit: a row answers for the validation rows near its mixed rows (ours, not the paper's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from mixrl.checkpoint import Checkpoints
from mixrl.reinforce_variants import ReinforceVariant
from mixrl.training import AnyEnv, ProgressCallback, as_vector_env, problem_of
from mixrl_env import MixingProblem
from mixrl_env.streams import stream

NEAR = 20
"""Validation rows that a row with an option answers for."""


class LocalReinforce(ReinforceVariant):
    """`ReinforceVariant` whose advantage is one of every row: the loss on the validation rows near where its mixed rows land.

    The baseline is the loss of the other trajectories on the same validation rows. Advantages are divided by their standard
    deviation. It needs at least 2 environments with `detailed_info=True`; `baseline` and `normalize` change nothing.
    """

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Learn for at most num_trainings inner trainings; see `mixrl.training.Agent`.

        Raises:
            ValueError: as `ReinforceVariant.learn`, or for environments other than the above.
        """
        envs = as_vector_env(envs)
        problem = problem_of(envs)
        if envs.num_envs < 2 or not problem.config.detailed_info:
            raise ValueError("LocalReinforce needs at least 2 environments, made with detailed_info=True")
        self._near = near_validation_rows(problem, NEAR)
        return super().learn(envs, num_trainings, callback, checkpoints)

    def _objective(self, D_m: Tensor, logits: Tensor, R: Tensor, Base: float, info: Mapping[str, Any]) -> Tensor:
        near = torch.as_tensor(self._near[info["rows"], info["options"]])  # (m, B, NEAR)
        # Losses (m, m, B): whose regressor, near whose mixed rows.
        losses = torch.as_tensor(info["val_losses"], dtype=torch.float32)[:, near].mean(dim=-1)
        own = losses.diagonal().T  # (m, B)
        advantage = ((losses.sum(dim=0) - own) / (len(own) - 1) - own).to(logits.device)
        log_pi = -bce_with_logits(logits, D_m, reduction="none")
        entropy = bce_with_logits(logits, torch.sigmoid(logits))
        return (advantage * log_pi).mean() / (float(advantage.std()) or 1.0) + self.config.entropy_bonus * entropy


def near_validation_rows(problem: MixingProblem, count: int) -> npt.NDArray[np.int64]:
    """The validation rows nearest to any mixed row of a training row with an option, shape (n_train, |N|, count)."""
    every = np.arange(len(problem.x_train))
    near = []
    for option in range(len(problem.options)):
        x, _ = problem.mix(every, np.full(len(every), option), stream(0, "mixed rows near validation rows", option))
        distances = np.linalg.norm(x[:, None] - problem.x_val, axis=2).reshape(len(every), -1, len(problem.x_val))
        near.append(np.argsort(distances.min(axis=1), axis=1, kind="stable")[:, :count])
    return np.stack(near, axis=1)

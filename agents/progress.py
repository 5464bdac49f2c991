"""What the learning curves tell: the metrics of an update, and whether the reward still rises."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from mixrl.base import Logger

Values = Tensor | npt.NDArray[Any]


class Progress:
    """The stopping rule: has the smoothed reward, the mean over a window of updates, found no new height for long?"""

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


def update_metrics(logits: Values, masks: Values, reward: Values, info: Mapping[str, Any]) -> dict[str, float]:
    """What tells a policy that learns from one that drifts; env/... are means over the m trainings.

    Args:
        logits: of the offered rows, shape (m, B).
        masks: that were drawn, shape (m, B).
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
    """The infos of m trainings, as a vector environment gathers them, a number for each key and training: means, as env/..."""
    return {f"env/{key}": float(np.mean(value)) for key, value in info.items() if not key.startswith("_")}


def log_update(logger: Logger | None, metrics: Mapping[str, float], update: int, trainings: int) -> None:
    """One line of the learning curve, if there is a logger."""
    if logger is None:
        return
    for name, value in metrics.items():
        logger.record(name, value)
    logger.record("trainings", trainings)
    logger.dump(update)

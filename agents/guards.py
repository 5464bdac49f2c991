"""Guards against drift: gradient noise alone moves the bias of h_theta that all rows share, until p is 0 or 1.

Algorithm 1 has none; each is an option of `mixrl.ReinforceVariantConfig`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

_HIGHEST, _LOWEST = 0.9, 0.1  # mean p beyond which DVRL's penalty sets in


def center(logits: Tensor) -> Tensor:
    """Logits (..., B) around a mean of zero: what is learned is which rows to prefer, not how many to select."""
    return logits - logits.mean(dim=-1, keepdim=True)


def center_output(module: nn.Module, rows: tuple[Tensor, ...], logits: Tensor) -> Tensor:
    """A forward hook for a network whose logits (..., B) are to be centred."""
    return center(logits)


def guard(logits: Tensor, entropy_bonus: float, exploration_penalty: float) -> Tensor:
    """What is added to the objective, a scalar.

    Args:
        logits: of the offered rows, shape (m, B).
        entropy_bonus: times the policy's entropy, in nats a row.
        exploration_penalty: times how far the mean p of an update is beyond 0.9 or below 0.1 (Yoon et al. 2020, DVRL).
    """
    p = torch.sigmoid(logits)
    entropy = bce_with_logits(logits, p)
    beyond = torch.relu(p.mean() - _HIGHEST) + torch.relu(_LOWEST - p.mean())
    return entropy_bonus * entropy - exploration_penalty * beyond

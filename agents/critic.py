"""A control variate for REINFORCE: a critic that pools over the selected rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixrl.value_network import ValueNetwork

HIDDEN_SIZES = (64, 64)
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.1
STEPS_AN_UPDATE = 2
BATCH_SIZE = 64  # masks
REPLAY_UPDATES = 200


class PooledCritic:
    """Q(D^b, D^m) = sum over the selected rows of q(x, y, k): what each row adds to the reward, learned from all masks so far.

    Since Q is linear in the mask, its mean under the policy is the same sum over all rows weighted with their probabilities.
    REINFORCE on R - Q plus the gradient of that mean has the gradient of R, with less variance the better Q is; Q must not have
    seen the rewards it is subtracted from.

    Args:
        row_size: d + e + |N|.
        generator: of the initial weights and the minibatches of masks.
        device: where q lives.
    """

    def __init__(self, row_size: int, generator: torch.Generator, device: torch.device) -> None:
        self.q = ValueNetwork(row_size, HIDDEN_SIZES, generator).to(device)
        self.scale = 0.0  # standard deviation of the rewards; 0 until some were seen, so that Q starts at 0
        self._generator = generator
        self._adam = torch.optim.AdamW(self.q.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self._seen: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=REPLAY_UPDATES)

    def value(self, state: Tensor, weight: Tensor) -> Tensor:
        """Q of masks, or its mean under the policy when given probabilities; state (m, B, row), weight (m, B) -> (m,)."""
        return self.scale * self._pooled(state, weight)

    def fit(self, state: Tensor, mask: Tensor, reward: Tensor) -> None:
        """Learn from one more update's masks (m, B) and rewards (m,)."""
        self._seen.append((state, mask, reward))
        states, masks, rewards = (torch.cat(part) for part in zip(*self._seen, strict=True))
        self.scale = float(rewards.std(correction=0))
        if not self.scale:
            return
        target = (rewards - rewards.mean()) / self.scale
        for _ in range(STEPS_AN_UPDATE):
            some = torch.randint(len(target), (BATCH_SIZE,), generator=self._generator).to(target.device)
            error = target[some] - self._pooled(states[some], masks[some])
            self._adam.zero_grad()
            (error - error.mean()).square().mean().backward()  # only differences between masks are learned
            self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """All that changes but the generator, which is the agent's, for a checkpoint."""
        return {"q": self.q.state_dict(), "adam": self._adam.state_dict(), "scale": self.scale, "seen": list(self._seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.q.load_state_dict(state["q"])
        self._adam.load_state_dict(state["adam"])
        self.scale = state["scale"]
        device = next(self.q.parameters()).device
        self._seen.clear()
        self._seen.extend((rows.to(device), mask.to(device), reward.to(device)) for rows, mask, reward in state["seen"])

    def _pooled(self, state: Tensor, weight: Tensor) -> Tensor:
        pooled: Tensor = (weight * self.q(state)).sum(dim=-1) / state.shape[-2] ** 0.5
        return pooled

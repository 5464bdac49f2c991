"""A problem whose best mask is known: no regressor, the reward counts the rows selected rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, MultiBinary
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

NUM_OPTIONS = 3


def best_mask(states: np.ndarray) -> np.ndarray:
    """Rows (..., 1 + 3) worth selecting: x > 0, but with the last option x < 0. Needs both x and k to tell."""
    return (states[..., 0] > 0) != (states[..., -1] == 1)


class ToyVectorEnv(VectorEnv[Any, Any, Any]):
    """num_envs one-step episodes; reward = share of rows selected as in `best_mask`, minus 1."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, num_rows: int = 8) -> None:
        self.num_envs, self.num_rows = num_envs, num_rows
        self.single_observation_space = Box(-1, 1, (num_rows, 1 + NUM_OPTIONS), np.float32)
        self.single_action_space = MultiBinary(num_rows)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # states, masks, rewards

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return self._draw(), {}

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        rewards = (actions == best_mask(self._states)).mean(axis=1) - 1.0
        self.history.append((self._states, actions.copy(), rewards))
        ended = np.ones(self.num_envs, dtype=bool)
        infos: dict[str, Any] = {}
        for m, (state, reward) in enumerate(zip(self._states, rewards, strict=True)):
            final = {"final_obs": state, "final_info": {"val_rmse": -reward}}
            infos = self._add_info(infos, final, m)
        return self._draw(), rewards, ended, ~ended, infos

    def _draw(self) -> np.ndarray:
        x = self._draw_x()
        one_hot = np.eye(NUM_OPTIONS)[self._rng.integers(NUM_OPTIONS, size=(self.num_envs, self.num_rows))]
        self._states = np.concatenate([x, one_hot], axis=2).astype(np.float32)
        return self._states

    def _draw_x(self) -> np.ndarray:
        return self._rng.uniform(-1, 1, (self.num_envs, self.num_rows, 1))


class FixedRowsEnv(ToyVectorEnv):
    """The rows are those of one table, as in MixRL; only their options are drawn anew."""

    def _draw_x(self) -> np.ndarray:
        return np.broadcast_to(self.table, (self.num_envs, self.num_rows, 1))

    @property
    def table(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(-1, 1, (self.num_rows, 1))

    def every_row_and_option(self) -> np.ndarray:
        """Shape (options, B, row size): batches that a policy of whole batches can be asked for."""
        rows = [np.concatenate([self.table, np.tile(one_hot, (self.num_rows, 1))], axis=1) for one_hot in np.eye(NUM_OPTIONS)]
        return np.stack(rows).astype(np.float32)

"""Credit by regression over many tables, where the credit of every row is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixrl import Checkpoints, CreditRegression, CreditRegressionConfig
from tests.toy import ToyVectorEnv

M, ROWS = 8, 40


def credit(states: np.ndarray) -> np.ndarray:
    """Of rows (..., 4): the better the larger x, and with the last option the other way round."""
    return np.where(states[..., -1] == 1, 0.4 - states[..., 0], states[..., 0] - 0.6)


class ManyToyTables(ToyVectorEnv):
    """Tables of 10 to 40 rows, padded with zeros; reward: mean credit of the selected rows of the table, and noise."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        offered = self._states.any(axis=-1)
        assert not (np.asarray(actions, dtype=bool) & ~offered).any()  # nothing is said of padding
        rewards = (actions * credit(self._states)).sum(axis=1) / offered.sum(axis=1)
        _, _, *others = super().step(actions)
        return self._states, rewards + self._rng.normal(0, 0.02, self.num_envs), *others

    def _draw(self) -> np.ndarray:
        states = super()._draw()
        for state in states:
            state[self._rng.integers(10, ROWS + 1) :] = 0
        return states

    def _draw_x(self) -> np.ndarray:
        return self._rng.uniform(0, 1, (self.num_envs, self.num_rows, 1))


def learned(trainings: int, **settings: Any) -> CreditRegression:
    return CreditRegression(CreditRegressionConfig(**settings), 0).learn(ManyToyTables(M, ROWS), trainings)


def test_finds_the_credit_of_rows_of_new_tables() -> None:
    agent, rows = learned(4096, num_features=100, ridge=1), ManyToyTables(M, ROWS).reset(seed=99)[0]
    real = rows.any(axis=-1)
    found, true = agent.credit(rows)[real], credit(rows)[real]
    assert np.abs(found - true).mean() < 0.05
    assert ((agent.probabilities(rows)[real] > 0.5) == (true > 0))[np.abs(true) > 0.1].mean() > 0.98


def test_against_ridge_of_all_masks() -> None:
    """Sums of products give the same weights as a regression that keeps everything."""
    envs = ManyToyTables(M, ROWS)
    agent = CreditRegression(CreditRegressionConfig(num_features=20), 3).learn(envs, 160)
    pooled, rewards = [], []
    for states, masks, _ in envs.history:
        offered = states.any(axis=-1).sum(axis=1)
        pooled += [mask @ agent._features(state) / n for state, mask, n in zip(states, masks, offered, strict=True)]
        rewards += list((masks * credit(states)).sum(axis=1) / offered)
    table = np.array(pooled)
    penalty = 100 * np.square(table).mean()
    expected = np.linalg.solve(table.T @ table + penalty * np.eye(21), table.T @ np.array(rewards))
    assert agent.weights is not None
    np.testing.assert_allclose(agent.weights, expected, atol=0.05)


def test_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole = learned(160, num_features=10)
    config = CreditRegressionConfig(num_features=10)
    CreditRegression(config, 0).learn(SavedTables(M, ROWS), 80, None, Checkpoints(tmp_path))
    again = CreditRegression(config, 0).learn(SavedTables(M, ROWS), 160, None, Checkpoints(tmp_path, resume=True))
    np.testing.assert_array_equal(whole.weights, again.weights)


class SavedTables(ManyToyTables):
    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._rng.bit_generator.state, "states": self._states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["generator"]
        self._states = state["states"]


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match=r"ridge positive, got 300, 2\.0, 0"):
        CreditRegressionConfig(ridge=0.0)
    with pytest.raises(RuntimeError, match="call learn"):
        CreditRegression().probabilities(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="rows must have shape"):
        learned(16, num_features=3).credit(np.zeros((2, 5), dtype=np.float32))

"""Credit by regression over many tables, where the credit of every row and option is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mixrl import Checkpoints, CreditRegression, CreditRegressionConfig
from mixrl_env import MixingProblem
from mixrl_env.problem import Batch

M, ROWS, OPTIONS = 4, 12, 3


def credit(offers: np.ndarray) -> np.ndarray:
    """Of rows (..., 3) of x, space and option: large x is good in the first space, small x in the second."""
    x, space, option = (offers[..., column] for column in range(3))
    return np.where(space == 0, x - 0.6, 0.3 - x) - 0.2 * (option - 0.5)


class ManyToyTables(VectorEnv[Any, Any, Any]):
    """Tables of 4 to 12 rows, padded with zeros; reward: the credits of a plan, divided by the rows, and noise."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, noise: float = 0.02) -> None:
        self.num_envs, self.noise = M, noise
        self.single_observation_space = Box(0, 1, (ROWS * 2 * OPTIONS, 3), np.float32)
        self.single_action_space = MultiDiscrete([OPTIONS + 1] * 2 * ROWS)
        self.observation_space = batch_space(self.single_observation_space, M)
        self.action_space = batch_space(self.single_action_space, M)
        self.seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # offers, plans, rewards

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return self._draw(), {}

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        offers = self._offers.reshape(M, ROWS, 2, OPTIONS, 3)
        plans = np.asarray(actions).reshape(M, ROWS, 2)
        rows = offers.any(axis=(2, 3, 4))
        assert not plans[~rows].any()  # nothing is said of padding
        chosen = np.arange(1, OPTIONS + 1) == plans[..., None]
        rewards = (chosen * credit(offers)).sum(axis=(1, 2, 3)) / rows.sum(axis=1)
        rewards += self._rng.normal(0, self.noise, M)
        self.seen.append((self._offers, np.array(actions), rewards))
        ended = np.ones(M, dtype=bool)
        return self._draw(), rewards, ended, ~ended, {}

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._rng.bit_generator.state, "offers": self._offers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["generator"]
        self._offers = state["offers"]

    def _draw(self) -> np.ndarray:
        offers = np.zeros((M, ROWS, 2, OPTIONS, 3), dtype=np.float32)
        offers[..., 0] = self._rng.uniform(0.01, 1, (M, ROWS, 1, 1))
        offers[:, :, 1, :, 1] = 1
        offers[..., 2] = [0, 0.5, 1]
        for table in offers:
            table[self._rng.integers(4, ROWS + 1) :] = 0
        self._offers = offers.reshape(M, -1, 3)
        return self._offers


def learned(envs: ManyToyTables, trainings: int, **settings: Any) -> CreditRegression:
    return CreditRegression(CreditRegressionConfig(**settings), 0).learn(envs, trainings)


@pytest.fixture(scope="module")
def agent() -> CreditRegression:
    return learned(ManyToyTables(), 4096, num_features=100, ridge=1.0, least_gain=0.1)


def test_finds_the_credit_of_rows_of_new_tables(agent: CreditRegression) -> None:
    offers = ManyToyTables().reset(seed=99)[0]
    real = offers.any(axis=-1)
    found, true = agent.credit(offers)[real], credit(offers)[real]
    assert np.abs(found - true).mean() < 0.05
    assert ((agent.probabilities(offers)[real] > 0.5) == (true > 0))[np.abs(true) > 0.1].mean() > 0.98


def test_weights_against_a_regression_that_keeps_all_plans() -> None:
    envs = ManyToyTables(0.0)
    agent = learned(envs, 160, num_features=20)
    pooled, rewards = [], []
    for offers, plans, paid in envs.seen:
        features = agent._features(offers).reshape(M, ROWS * 2, OPTIONS, -1)
        chosen = np.arange(1, OPTIONS + 1) == plans[..., None]
        num_rows = offers.reshape(M, ROWS, -1).any(axis=2).sum(axis=1)
        pooled.append((chosen[..., None] * features).sum(axis=(1, 2)) / num_rows[:, None])
        rewards.append(paid)
    table = np.concatenate(pooled)
    penalty = 300 * np.square(table).mean() * np.eye(21)
    expected = np.linalg.solve(table.T @ table + penalty, table.T @ np.concatenate(rewards))
    assert agent.weights is not None
    np.testing.assert_allclose(agent.weights, expected, rtol=1e-8, atol=1e-12)


def table_of(x: list[float]) -> MixingProblem:
    """What an agent looks at in a problem, with the offers of a toy table."""
    offers = np.array([[v, space, option] for v in x for space in (0, 1) for option in (0, 0.5, 1)], dtype=np.float32)
    rows, options = np.repeat(np.arange(len(x)), 6), np.tile(np.arange(6), len(x))
    found = SimpleNamespace(
        every_row_and_option=lambda: Batch(rows, options),
        observe=lambda batch: offers,
        x_train=np.zeros((len(x), 1)),
        neighbors=SimpleNamespace(by_space={"data": np.arange(3), "label": np.arange(3, 6)}),
    )
    return cast(MixingProblem, found)


def test_plan_and_the_gain_that_it_promises(agent: CreditRegression) -> None:
    plan, gain = agent.plan(table_of([1.0, 0.05, 0.45]))  # the third row has nothing to gain in either distance
    assert {*zip(*plan, strict=True)} == {(0, 0), (1, 3)}
    assert gain == pytest.approx((0.5 + 0.35) / 3, abs=0.05)
    plan, gain = agent.plan(table_of([0.45, 0.55, 0.4]))  # too little to bother
    assert (len(plan.rows), gain) == (0, 0.0)


def test_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole = learned(ManyToyTables(), 160, num_features=10)
    config = CreditRegressionConfig(num_features=10)
    CreditRegression(config, 0).learn(ManyToyTables(), 80, None, Checkpoints(tmp_path))
    again = CreditRegression(config, 0).learn(ManyToyTables(), 160, None, Checkpoints(tmp_path, resume=True))
    np.testing.assert_array_equal(whole.weights, again.weights)


def test_saved_and_loaded(agent: CreditRegression, tmp_path: Path) -> None:
    path = tmp_path / "credit.safetensors"
    agent.save(path, "the command")
    again, offers = CreditRegression.load(path), ManyToyTables().reset(seed=1)[0]
    np.testing.assert_array_equal(agent.credit(offers), again.credit(offers))
    assert (again.config, again.seed, again.trainings) == (agent.config, 0, 4096)
    content = path.read_bytes()
    assert b"the command" in content
    for broken in (
        content[:-8],
        content.replace(b"credit_regression", b"other_regression_"),
        b"",
        content.replace(b"ridge", b"rigde"),
    ):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="does not hold a credit regression"):
            CreditRegression.load(path)
    with pytest.raises(RuntimeError, match="call learn"):
        CreditRegression().save(path, "")


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match=r"ridge positive and least_gain at least 0, got 300, 0\.0, 0\.05"):
        CreditRegressionConfig(ridge=0.0)
    with pytest.raises(RuntimeError, match="call learn"):
        CreditRegression().probabilities(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="rows must have shape"):
        learned(ManyToyTables(), 16, num_features=3).credit(np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="a budget of 3 trainings is below one update of 4"):
        learned(ManyToyTables(), 3)

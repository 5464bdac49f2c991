"""Credit by regression over many tables, where the credit of every row and option is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mixrl import CreditRegression, CreditRegressionConfig
from mixrl.credit_regression import FEW, WORSE, Experience
from mixrl_env import MixingProblem, ProblemConfig, RegressorConfig, load_dataset
from mixrl_env.data import FloatArray
from mixrl_env.many_tables import OPTIONS as OPTIONS_OF_TABLES
from mixrl_env.many_tables import policy_problem
from mixrl_env.problem import Batch

OPTIONS = 3  # of each of two distances


def credit(rows: FloatArray) -> FloatArray:
    """Of rows (..., 3) of x, space and option: large x is good in the first space, small x in the second."""
    x, space, option = (rows[..., column] for column in range(3))
    return np.where(space == 0, x - 0.6, 0.3 - x) - 0.2 * (option - 0.5)


def table(x: FloatArray) -> FloatArray:
    """Observation of a toy table, shape (n, 6, 3)."""
    offers = [[[v, space, option] for space in (0, 1) for option in (0, 0.5, 1)] for v in x]
    return np.array(offers, dtype=np.float32)  # type: ignore[return-value]


def experiences(tables: int, noise: float = 0.02, plans: int = 16) -> Iterator[Experience]:
    """Plans that mix each row with one option of a distance, or none, at random."""
    rng = np.random.default_rng(0)
    for _ in range(tables):
        rows = table(rng.uniform(0, 1, rng.integers(4, 13)))
        chosen = rng.integers(OPTIONS + 1, size=(plans, len(rows), 2, 1))
        mixed = (chosen == np.arange(1, OPTIONS + 1)).reshape(plans, *rows.shape[:2])
        gains = (mixed * credit(rows)).sum(axis=(1, 2)) / len(rows)
        yield Experience(rows, mixed, gains + rng.normal(0, noise, plans))  # type: ignore[arg-type]


def problem_of(rows: FloatArray) -> MixingProblem:
    """What an agent looks at in a problem."""
    count, options = rows.shape[:2]
    found = SimpleNamespace(
        every_row_and_option=lambda: Batch(np.repeat(np.arange(count), options), np.tile(np.arange(options), count)),
        observe=lambda batch: rows.reshape(-1, rows.shape[2]),
        x_train=np.zeros((count, 1)),
        neighbors=SimpleNamespace(by_space={"data": np.arange(3), "label": np.arange(3, 6)}),
    )
    return cast(MixingProblem, found)


@pytest.fixture(scope="module")
def agent() -> CreditRegression:
    return CreditRegression(CreditRegressionConfig(num_features=100, ridge=0.3)).fit(experiences(256))


def test_finds_the_credit_of_rows_of_new_tables(agent: CreditRegression) -> None:
    rows = table(np.linspace(0, 1, 20))
    assert np.abs(agent.credit(rows) - credit(rows)).mean() < 0.05  # type: ignore[arg-type]
    assert agent.num_plans == 256 * 16


def test_weights_against_least_squares_with_the_penalty_as_rows() -> None:
    agent = CreditRegression(CreditRegressionConfig(num_features=20, ridge=3.0)).fit(experiences(10, noise=0.5))
    pooled, gains = [], []
    for rows, mixed, own in experiences(10, noise=0.5):
        features = agent._features(rows)
        pooled += [sum(features[i, o] for i, o in np.argwhere(plan)) / len(rows) for plan in mixed]
        gains += np.clip(own, -0.7, 0.7).tolist()
    of_plans = np.array(pooled)
    penalty = np.sqrt(3.0 * np.square(of_plans).mean()) * np.eye(21)
    expected = np.linalg.lstsq(np.concatenate([of_plans, penalty]), np.append(gains, np.zeros(21)), rcond=None)[0]
    assert agent.weights is not None
    np.testing.assert_allclose(agent.weights, expected, rtol=1e-6, atol=1e-9)


def test_plan_and_the_gain_that_it_promises(agent: CreditRegression) -> None:
    plan, gain = agent.plan(problem_of(table(np.array([1.0, 0.05, 0.45]))))  # nothing to gain for the third row
    assert {*zip(*plan, strict=True)} == {(0, 0), (1, 3)}
    assert gain == pytest.approx((0.5 + 0.35) / 3, abs=0.05)


def test_first_plans_are_random_and_later_ones_are_near_the_best(agent: CreditRegression) -> None:
    rows = table(np.linspace(0, 1, 12))
    problem, rng = problem_of(rows), np.random.default_rng(0)

    def gains(plans: list[Batch]) -> list[float]:
        return [float(credit(rows)[plan.rows, plan.options].sum()) / 12 for plan in plans]

    first = CreditRegression().propose(problem, rows, 200, rng)  # type: ignore[arg-type]
    for space in ("data", "label"):
        own = [plan.options[np.isin(plan.options, problem.neighbors.by_space[space])] for plan in first]  # type: ignore[index]
        assert 0.2 < np.mean([len(options) == 0 for options in own]) < 0.6
        assert np.mean([len(set(options)) == 1 for options in own]) > 0.3
        assert {int(option) for options in own for option in options} == set(problem.neighbors.by_space[space])  # type: ignore[index]
    later, best = agent.propose(problem, rows, 50, rng), agent.plan(problem)[0]  # type: ignore[arg-type]
    assert np.mean(gains(first)) < np.mean(gains(later)) <= gains([best])[0] + 0.02
    unsure = CreditRegression(CreditRegressionConfig(num_features=100, ridge=0.3)).fit(experiences(4, noise=0.5))
    assert len({tuple(plan.options) for plan in unsure.propose(problem, rows, 50, rng)}) > 25  # type: ignore[arg-type]


def test_calibration_against_every_threshold(agent: CreditRegression) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        promised = rng.uniform(0, 0.3, 60)
        gains = promised * 0.4 + rng.normal(0, 0.06, 60)
        agent.calibrate(promised, gains)
        share = {least: (gains[promised > least] < -WORSE).sum() / 60 for least in (0.0, *promised)}
        assert agent.least_gain == min(least for least in share if share[least] <= FEW)
        own = promised > agent.least_gain
        assert agent.kept == pytest.approx(np.linalg.lstsq(promised[own, None], gains[own], rcond=None)[0][0])
    assert agent.calibrate(promised, np.full(60, -1.0)).kept == 0
    plan, gain = agent.plan(problem_of(table(np.array([0.45, 0.55, 0.4]))))
    assert (len(plan.rows), gain) == (0, 0.0)
    assert agent.calibrate(promised, promised).least_gain == 0
    assert agent.kept == pytest.approx(1)


def test_spread_and_noise_of_tables_that_differ() -> None:
    """Weights of every table are drawn around common ones; noise comes on top."""
    rng, drawn = np.random.default_rng(3), []
    agent = CreditRegression(CreditRegressionConfig(num_features=4, ridge=1e-6))
    agent.fit(experiences(1))  # draws the features
    common = rng.normal(0, 0.05, 5)
    for rows, mixed, _ in experiences(400, plans=8):
        own = common + rng.normal(0, 0.02, 5)
        pooled = (mixed.reshape(8, -1) @ agent._features(rows).reshape(-1, 5)) / len(rows)
        drawn.append(Experience(rows, mixed, pooled @ own + rng.normal(0, 0.01, 8)))
    agent.fit(drawn)
    np.testing.assert_allclose(agent.weights, common, atol=0.02)  # type: ignore[arg-type]
    assert agent.spread == pytest.approx(0.02, rel=0.15)
    assert agent.noise == pytest.approx(0.01, rel=0.4)


def test_what_rewards_move_against_penalized_least_squares() -> None:
    agent, rng = CreditRegression(), np.random.default_rng(0)
    agent.spread, agent.noise = 0.3, 0.7
    table, wrong = rng.normal(size=(6, 20)), rng.normal(size=6)
    both = np.concatenate([table / 0.7, np.eye(20) / 0.3])
    expected = np.linalg.lstsq(both, np.append(wrong / 0.7, np.zeros(20)), rcond=None)[0]
    np.testing.assert_allclose(agent._moved(table, wrong), expected, rtol=1e-9)


def test_adapted_to_a_table() -> None:
    """What holds elsewhere, that everything gains, does not hold for label neighbours across the gap."""
    data = load_dataset("gap", 0)
    config = ProblemConfig(
        options=OPTIONS_OF_TABLES, regressor=RegressorConfig(hidden_sizes=(16,), learning_rate=0.01, max_steps=400)
    )
    problem, seen = MixingProblem(data, config), policy_problem(data)
    rows = seen.observe(seen.every_row_and_option()).reshape(len(seen.x_train), 10, -1)
    mixed = np.random.default_rng(0).random((200, *rows.shape[:2])) < 0.2
    prior = CreditRegression(CreditRegressionConfig(num_features=50, ridge=1.0))
    prior.fit([Experience(rows, mixed, 0.1 * mixed.mean(axis=(1, 2)))])  # type: ignore[arg-type]
    prior.spread, prior.noise, before = 0.1, 0.05, prior.weights
    adapted, again = (prior.adapt(seen, problem, 41, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(adapted.weights, again.weights)  # type: ignore[arg-type]
    assert prior.weights is before
    of_data, of_label = adapted.credit(rows)[:, :5], adapted.credit(rows)[:, 5:]  # type: ignore[arg-type]
    assert of_label.mean() < min(0, of_data.mean())
    assert (prior.credit(rows) > 0).mean() > 0.9  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="call fit"):
        CreditRegression().adapt(seen, problem, 8, np.random.default_rng(0))


def test_saved_and_loaded(agent: CreditRegression, tmp_path: Path) -> None:
    path, rows = tmp_path / "credit.safetensors", table(np.linspace(0, 1, 5))
    agent.calibrate(np.array([0.1, 0.2]), np.array([-0.1, 0.1]))
    agent.save(path, "the command")
    again = CreditRegression.load(path)
    np.testing.assert_array_equal(agent.credit(rows), again.credit(rows))  # type: ignore[arg-type]
    for name in ("config", "seed", "num_plans", "kept", "least_gain", "spread", "noise"):
        assert getattr(again, name) == getattr(agent, name)
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
    with pytest.raises(RuntimeError, match="call fit"):
        CreditRegression().save(path, "")


def test_bad_calls() -> None:
    with pytest.raises(ValueError, match=r"ridge positive, got 1000 and 0\.0"):
        CreditRegressionConfig(ridge=0.0)
    with pytest.raises(RuntimeError, match="call fit"):
        CreditRegression().credit(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="no plan to learn from"):
        CreditRegression().fit([])
    with pytest.raises(ValueError, match="rows must have shape"):
        CreditRegression(CreditRegressionConfig(num_features=3)).fit(experiences(1)).credit(np.zeros((2, 5), dtype=np.float32))

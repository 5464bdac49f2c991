"""Credit by regression, held against the normal equations and against a problem whose best mask is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import BayesianRidge

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import MaskRegression, MaskRegressionConfig
from mixrl.random_features import RandomFeatures, random_policies
from tests.toy import NUM_OPTIONS, ToyVectorEnv, best_mask

FEW = MaskRegressionConfig(num_features=50)
# Every x of a grid with every option.
ROWS = np.concatenate(
    [np.tile(np.linspace(-1, 1, 42)[:, None], (3, 1)), np.repeat(np.eye(NUM_OPTIONS), 42, axis=0)], axis=1
).astype(np.float32)
CLEAR = np.abs(ROWS[:, 0]) > 0.1  # at the border both answers earn the same


class Changed(ToyVectorEnv):
    """The toy's rewards times a factor, plus a constant, plus normal noise."""

    def __init__(self, num_envs: int, factor: float = 1.0, constant: float = 0.0, noise: float = 0.0) -> None:
        super().__init__(num_envs)
        self.factor, self.constant, self.noise = factor, constant, noise

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, *ended, info = super().step(actions)
        rewards = self.factor * rewards + self.constant + self.noise * self._rng.normal(size=self.num_envs)
        self.history[-1] = (*self.history[-1][:2], rewards)
        return state, rewards, *ended, info


def learned(envs: ToyVectorEnv, trainings: int = 160, seed: int = 0, config: MaskRegressionConfig = FEW) -> np.ndarray:
    return MaskRegression(config, seed).learn(envs, trainings).probabilities(ROWS)


@pytest.mark.parametrize(("m", "config"), [(1, FEW), (16, FEW), (16, MaskRegressionConfig())], ids=["one", "many", "default"])
def test_finds_the_known_best_mask(m: int, config: MaskRegressionConfig) -> None:
    for seed in range(3):
        p = learned(ToyVectorEnv(m), 320, seed, config)
        assert p.shape == (len(ROWS),)
        assert ((p > 0.5) == best_mask(ROWS))[CLEAR].mean() > 0.97


def test_finds_it_in_rewards_that_are_mostly_noise() -> None:
    p = learned(Changed(16, noise=0.35), 1600)  # the mask explains a fifth of the variance: its SD is 0.18
    assert ((p > 0.5) == best_mask(ROWS))[CLEAR].mean() > 0.95


def test_rewards_of_noise_convince_of_nothing() -> None:
    """A posterior probability is below 1/20 or above 19/20 no more often than its name says where there is no credit."""
    noise = np.array([learned(Changed(16, factor=0.0, noise=1.0), 320, seed) for seed in range(20)])
    signal = np.array([learned(Changed(16), 320, seed) for seed in range(3)])
    convinced = [(np.abs(p - 0.5) > 0.45)[:, CLEAR].mean() for p in (noise, signal)]
    assert convinced[0] < 0.05
    assert convinced[1] > 0.9
    assert abs(noise.mean() - 0.5) < 0.1
    assert np.abs(noise - 0.5).mean() < 0.2


def test_constant_rewards_say_nothing() -> None:
    for constant in (0.0, -0.3, 1e9):
        np.testing.assert_allclose(learned(Changed(16, factor=0.0, constant=constant)), 0.5, atol=1e-6)


def test_random_policies_select_similar_rows_together() -> None:
    """Any row is selected half of the time, but two rows the more often together the more alike they are."""
    envs = ToyVectorEnv(4, num_rows=16)
    learned(envs, 16_000)
    states = np.concatenate([states for states, _, _ in envs.history])  # (trainings, B, row size)
    masks = np.concatenate([masks for _, masks, _ in envs.history])
    assert abs(masks.mean() - 0.5) < 0.02
    same_option = states[:, 0, 1:].argmax(axis=1) == states[:, 1, 1:].argmax(axis=1)
    near = np.abs(states[:, 0, 0] - states[:, 1, 0]) < 0.3
    alike = masks[:, 0] == masks[:, 1]
    agree = [alike[rows].mean() for rows in (same_option & near, same_option & ~near, ~same_option & ~near)]
    assert agree[0] > agree[1] + 0.05
    assert agree[1] > agree[2] + 0.03
    assert agree[2] > 0.5  # policies differ in how many rows they select


def test_random_policies_have_the_logits_that_were_asked_for() -> None:
    """The logit is exploration times a standardised function of the rows plus a standard normal of the policy's own."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 40, 4)).astype(np.float32)
    features = RandomFeatures(rows[0], 50, rng)(rows)
    weights = random_policies(features, 0.5, rng)
    assert weights.shape == (2000, 51)
    logits = np.einsum("mif,mf->mi", features, weights) / 0.5
    np.testing.assert_allclose(logits.std(axis=1), 1, rtol=1e-9)
    assert abs(logits.mean(axis=1).mean()) < 0.1
    assert abs(logits.mean(axis=1).std() - 1) < 0.05


@pytest.mark.parametrize(("factor", "exact"), [(2.0**-20, True), (2.0**30, True), (1e-6, False), (1e6, False)])
def test_the_scale_of_the_reward_does_not_matter(factor: float, exact: bool) -> None:
    """By powers of two not even the rounding is another."""
    ours, theirs = learned(Changed(4, factor)), learned(Changed(4))
    np.testing.assert_allclose(ours, theirs, rtol=0 if exact else 1e-6, atol=0)
    assert np.ptp(ours) > 0.5


def test_a_reward_turned_round_turns_the_probabilities_round() -> None:
    np.testing.assert_allclose(learned(Changed(4, -1.0)), 1 - learned(Changed(4)), atol=1e-9)


def recorded(envs: ToyVectorEnv) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    states, masks, rewards = zip(*envs.history, strict=True)
    return list(states), [mask == 1 for mask in masks], np.concatenate(rewards)


def test_fit_on_what_was_recorded_is_learn() -> None:
    envs = Changed(4, noise=0.3)
    expected = learned(envs, seed=3)
    states, masks, rewards = recorded(envs)
    fitted = MaskRegression(FEW, seed=3).fit(states, masks, rewards)
    assert np.array_equal(fitted.probabilities(ROWS), expected)
    assert fitted.trainings == 0  # it has spent none
    # The random features belong to the seed, and the order of the trainings is nothing.
    other = MaskRegression(FEW, seed=4).fit(states, masks, rewards)
    assert np.abs(other.probabilities(ROWS) - expected).max() > 0.01
    turned = MaskRegression(FEW, seed=3)
    turned.fit(
        [states[0], *states[:0:-1]], [masks[0], *masks[:0:-1]], np.concatenate([rewards[:4], *rewards.reshape(-1, 4)[:0:-1]])
    )
    np.testing.assert_allclose(turned.probabilities(ROWS), expected, rtol=1e-6)


def test_learning_again_adds_to_what_was_seen() -> None:
    once = MaskRegression(FEW, seed=0).learn(ToyVectorEnv(4), 40)
    assert once.trainings == 40
    alone = once.probabilities(ROWS)
    agents = [once, MaskRegression(FEW, seed=0).learn(ToyVectorEnv(4), 40)]
    second = [Changed(8), Changed(8, constant=100.0)]  # other rewards are another environment's
    for agent, envs in zip(agents, second, strict=True):
        agent.learn(envs, 83)
        assert agent.trainings == 40 + 80
        assert len(envs.history) == 10
    assert np.array_equal(second[0].history[3][1], second[1].history[3][1])
    both = [agent.probabilities(ROWS) for agent in agents]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-6)
    assert np.abs(both[0] - alone).max() > 0.05
    # In one call the constant would be a difference between rewards.
    states, masks, rewards = recorded(second[0])
    pooled = MaskRegression(FEW, seed=0).fit(states * 2, masks * 2, np.concatenate([rewards, rewards + 100.0]))
    apart = MaskRegression(FEW, seed=0).fit(states, masks, rewards).fit(states, masks, rewards + 100.0)
    assert np.abs(pooled.probabilities(ROWS) - apart.probabilities(ROWS)).max() > 0.05


class Spied(BayesianRidge):
    """Keeps the last one that was fitted."""

    last: Spied

    def fit(self, *arguments: Any, **more: Any) -> Spied:
        Spied.last = self
        super().fit(*arguments, **more)
        return self


@pytest.mark.parametrize(("num_features", "trainings"), [(12, 200), (60, 40)], ids=["many rewards", "few rewards"])
def test_probabilities_are_those_of_the_normal_posterior(
    num_features: int, trainings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variances that were estimated: mean and covariance of the weights solved from the normal equations."""
    monkeypatch.setattr("sklearn.linear_model.BayesianRidge", Spied)
    envs = Changed(4, noise=0.2)
    agent = MaskRegression(MaskRegressionConfig(num_features), seed=0).learn(envs, trainings)
    learned_p = agent.probabilities(ROWS)
    noise, prior = float(Spied.last.alpha_), float(Spied.last.lambda_)  # precisions, in units of the scaled problem
    assert agent._features is not None
    x, y = [], []
    for states, masks, rewards in envs.history:
        for state, mask, reward in zip(states, masks, rewards, strict=True):
            x.append(sum((d - 0.5) * agent._features(row) for d, row in zip(mask, state, strict=True)))
            y.append(reward)
    x, y = np.array(x), np.array(y)
    x = x / np.sqrt(np.mean(x**2))
    y = (y - y.mean()) / y.std()
    x = x - x.mean(axis=0)  # an intercept with a flat prior
    precision = noise * x.T @ x + prior * np.eye(num_features + 1)
    mean = np.linalg.solve(precision, noise * x.T @ y)
    for row, p in zip(ROWS, learned_p, strict=True):
        features = agent._features(row)
        spread = np.sqrt(features @ np.linalg.solve(precision, features))
        assert p == pytest.approx(norm.cdf(features @ mean / spread), rel=1e-6)


def test_random_features() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(3, 5, (200, 4)).astype(np.float32)
    rows[:, 2] = 7.0  # a column without spread
    features = RandomFeatures(rows, 30, np.random.default_rng(1))
    values = features(rows)
    assert values.shape == (200, 31)
    assert np.array_equal(values[:, -1], np.ones(200))
    assert values.min() == 0
    shapes = features(rows.reshape(10, 20, 4))
    np.testing.assert_allclose(shapes.reshape(200, 31), values, rtol=1e-12)
    # Rows are standardised: another unit and origin of a column changes nothing.
    moved = (rows * np.array([2, 0.5, 3, 8]) + np.array([1, 0, -4, 2])).astype(np.float32)
    np.testing.assert_allclose(RandomFeatures(moved, 30, np.random.default_rng(1))(moved), values, atol=1e-4)
    # At the mean row what is left is the bias, uniform within 1 of 0.
    bias = features(rows.mean(axis=0, dtype=np.float64))[:-1]
    assert 5 <= (bias > 1e-3).sum() <= 25
    assert bias.max() <= 1 + 1e-6
    # relu(w z + b): linear in z with one kink at most along a line.
    line = features((np.linspace(-9, 9, 101)[:, None] * rng.normal(size=4)).astype(np.float32))[:, :-1]
    bends = np.abs(np.diff(line, n=2, axis=0)) > 1e-3 * line.max(axis=0)
    assert bends.sum(axis=0).max() <= 2  # the kink lies between two points, and is seen from both sides
    assert bends.any()

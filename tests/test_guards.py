"""Guards against drift: their formulas, their part in an update, and what becomes of a policy whose rewards tell nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixrl import ReinforceVariant, ReinforceVariantConfig
from mixrl.guards import center, guard
from tests.test_reinforce import network_at_start
from tests.toy import NUM_OPTIONS, ToyVectorEnv

SMALL = ReinforceVariantConfig(hidden_sizes=(8, 4), baseline="leave_one_out", learning_rate=0.01)
# Every x of a grid with every option.
ROWS = np.concatenate(
    [np.tile(np.linspace(-1, 1, 21)[:, None], (3, 1)), np.repeat(np.eye(NUM_OPTIONS), 21, axis=0)], axis=1
).astype(np.float32)
some_logits = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=4)


def entropy(p: np.ndarray) -> float:
    """Nats a row, from the definition; 0 log 0 is 0."""
    return float(np.mean([-sum(q * math.log(q) for q in (one, 1 - one) if q > 0) for one in p.ravel()]))


def penalty(p: np.ndarray) -> float:
    return max(float(p.mean()) - 0.9, 0.0) + max(0.1 - float(p.mean()), 0.0)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@settings(deadline=None, derandomize=True, max_examples=80)
@given(some_logits, st.floats(0, 10), st.floats(0, 1000))
def test_guard_is_entropy_less_penalty(told: list[list[float]], bonus: float, weight: float) -> None:
    logits = np.array(told)
    p = sigmoid(logits)
    ours = float(guard(torch.tensor(logits), bonus, weight))
    assert ours == pytest.approx(bonus * entropy(p) - weight * penalty(p), rel=1e-9, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(some_logits, st.floats(0, 10), st.floats(0, 1000))
def test_gradient_of_the_guard(told: list[list[float]], bonus: float, weight: float) -> None:
    """dH/dl = -l p (1 - p), and the penalty moves every logit by p (1 - p) once the mean is beyond 0.1 or 0.9."""
    logits = torch.tensor(told, dtype=torch.float64, requires_grad=True)
    guard(logits, bonus, weight).backward()
    p = sigmoid(np.array(told))
    beyond = float(p.mean() > 0.9) - float(p.mean() < 0.1)
    expected = (-bonus * np.array(told) - weight * beyond) * p * (1 - p) / p.size
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("p", "nats", "beyond"),
    [
        ([0.5, 0.5], math.log(2), 0.0),
        ([0.95, 0.95], 0.95 * math.log(1 / 0.95) + 0.05 * math.log(20), 0.05),
        ([0.02, 0.02], 0.02 * math.log(50) + 0.98 * math.log(1 / 0.98), 0.08),
        ([1e-300, 1 - 1e-16], 0.0, 0.0),  # one as decided as the other: their mean is 1/2
    ],
)
def test_guard_of_known_policies(p: list[float], nats: float, beyond: float) -> None:
    logits = torch.logit(torch.tensor([p], dtype=torch.float64))
    assert float(guard(logits, 1.0, 0.0)) == pytest.approx(nats, abs=1e-12)
    assert float(guard(logits, 0.0, 1000.0)) == pytest.approx(-1000 * beyond, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(some_logits, st.floats(-50, 50))
def test_centre_takes_away_what_the_rows_of_a_batch_share(told: list[list[float]], shift: float) -> None:
    logits = torch.tensor(told, dtype=torch.float64)
    expected = np.array([np.array(row) - sum(row) / len(row) for row in told])
    for one in (logits, logits + shift):
        np.testing.assert_allclose(center(one).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalize": True},
        {"entropy_bonus": 0.5},
        {"center": True},
        {"normalize": True, "entropy_bonus": 0.5},
        {"normalize": True, "entropy_bonus": 0.5, "center": True},
        {"normalize": True, "entropy_bonus": 0.5, "center": True, "baseline": "moving_average"},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_gradient_of_one_update(changes: dict[str, Any]) -> None:
    """Eq. 1 over B and the rewards' standard deviation, plus the entropy, all with h around a mean of zero."""
    config, m, b = replace(SMALL, **changes), 5, 8
    envs = ToyVectorEnv(m, num_rows=b)
    agent = ReinforceVariant(config, seed=1).learn(envs, m)
    states, masks, rewards = envs.history[0]
    network = network_at_start(1, config)
    scale = b * np.std(rewards, ddof=1) if config.normalize else 1.0
    objective = torch.zeros(())
    for i in range(m):
        logits = network(torch.tensor(states[i]))
        if config.center:
            logits = logits - sum(logits) / b
        h = torch.sigmoid(logits)
        log_policy = torch.where(torch.tensor(masks[i]) == 1, torch.log(h), torch.log(1 - h)).sum()
        base = np.delete(rewards, i).mean() if config.baseline == "leave_one_out" else 0.0
        entropy_a_row = -(h * torch.log(h) + (1 - h) * torch.log(1 - h)).sum() / b
        objective = objective + ((rewards[i] - base) * log_policy / scale + config.entropy_bonus * entropy_a_row) / m
    objective.backward()
    assert agent.network is not None
    for ours, exact in zip(agent.network.parameters(), network.parameters(), strict=True):
        assert ours.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(-ours.grad, exact.grad, rtol=1e-4, atol=1e-7)


def test_weight_decay_shrinks_theta_beside_the_step_of_adam() -> None:
    agents = [ReinforceVariant(replace(SMALL, weight_decay=decay), seed=2) for decay in (3.0, 0.0)]
    decayed, plain = (weights(agent.learn(ToyVectorEnv(4), 4)) for agent in agents)
    start = torch.cat([p.detach().flatten() for p in network_at_start(2, SMALL).parameters()])
    torch.testing.assert_close(decayed - plain, -0.01 * 3.0 * start, rtol=1e-4, atol=1e-7)
    assert not torch.equal(plain, start)


def weights(agent: ReinforceVariant) -> torch.Tensor:
    assert agent.network is not None
    return torch.cat([p.detach().flatten() for p in agent.network.parameters()])


class Scaled(ToyVectorEnv):
    """Rewards, no two of them the same, of an environment whose C is another."""

    def __init__(self, num_envs: int, scale: float) -> None:
        super().__init__(num_envs)
        self.scale = scale

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, ended, truncated, info = super().step(actions)
        return state, (rewards + 0.05 * self._rng.normal(size=len(rewards))) * self.scale, ended, truncated, info


@pytest.mark.parametrize(
    "changes",
    [{}, {"baseline": "moving_average"}, {"critic": True}, {"center": True, "exploration_penalty": 1.0}],
    ids=["leave one out", "moving average", "critic", "centred"],
)
def test_normalised_runs_do_not_depend_on_the_scale_of_the_reward(changes: dict[str, Any]) -> None:
    config = replace(SMALL, normalize=True, entropy_bonus=0.1, **changes)
    one = weights(ReinforceVariant(config, seed=0).learn(Scaled(4, 1.0), 4 * 12))
    for scale in (2.0**-10, 2.0**7):  # powers of two: not even the rounding is another
        assert torch.equal(weights(ReinforceVariant(config, seed=0).learn(Scaled(4, scale), 4 * 12)), one)
    # Unless it is normalised, the bonus drowns the one reward and is drowned by the other.
    bare = replace(config, normalize=False)
    small, large = (weights(ReinforceVariant(bare, seed=0).learn(Scaled(4, scale), 4 * 12)) for scale in (2.0**-10, 2.0**7))
    assert float((small - large).abs().max()) > 0.01


def test_normalised_rewards_without_spread_move_nothing() -> None:
    agent = ReinforceVariant(replace(SMALL, normalize=True), seed=0).learn(Scaled(4, 0.0), 4 * 5)
    start = torch.cat([p.detach().flatten() for p in network_at_start(0, SMALL).parameters()])
    assert torch.equal(weights(agent), start)


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_averaged_weights_are_the_recomputed_mean(decay: float) -> None:
    """The run itself is that of the last weights; the average only looks on."""
    last = ReinforceVariant(SMALL, seed=4)
    thetas: list[torch.Tensor] = []
    last.learn(ToyVectorEnv(4), 4 * 30, lambda *_: thetas.append(weights(last)))
    mean, means = thetas[0], []
    for theta in thetas:
        mean = decay * mean + (1 - decay) * theta
        means.append(mean)
    averaged = ReinforceVariant(replace(SMALL, average=decay), seed=4)
    seen: list[torch.Tensor] = []
    averaged.learn(ToyVectorEnv(4), 4 * 30, lambda *_: seen.append(weights(averaged)))
    for ours, expected in zip(seen, means, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert float((means[-1] - thetas[-1]).abs().max()) > 1e-3  # else there is nothing to tell apart
    assert averaged.network is not None
    with torch.no_grad():
        logits = averaged.network(torch.tensor(ROWS)).numpy()
    np.testing.assert_allclose(averaged.probabilities(ROWS), sigmoid(logits), rtol=1e-5)


def test_probabilities_of_a_centred_policy() -> None:
    agent = ReinforceVariant(replace(SMALL, center=True), seed=0).learn(ToyVectorEnv(4), 4 * 20)
    assert agent.network is not None
    with torch.no_grad():
        logits = agent.network(torch.tensor(ROWS)).numpy()
    np.testing.assert_allclose(agent.probabilities(ROWS), sigmoid(logits - logits.mean()), rtol=1e-4)
    both = agent.probabilities(np.stack([ROWS, -ROWS]))  # every batch around its own mean
    np.testing.assert_allclose(both[0], agent.probabilities(ROWS), rtol=1e-5)
    np.testing.assert_allclose(both[1], agent.probabilities(-ROWS), rtol=1e-5)


class Noise(ToyVectorEnv):
    """Rewards that have nothing to do with the mask, as spread as NO2's are from mask to mask."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, ended, truncated, info = super().step(actions)
        return state, 0.01 * self._rng.normal(size=len(rewards)), ended, truncated, info


def test_rewards_of_noise_move_a_guarded_policy_less() -> None:
    fast = replace(SMALL, hidden_sizes=(32, 32))
    furthest = []
    for config in (fast, replace(fast, normalize=True, entropy_bonus=0.03)):
        runs = [ReinforceVariant(config, seed).learn(Noise(16, num_rows=128), 16 * 100) for seed in range(4)]
        furthest.append(max(abs(float(run.probabilities(ROWS).mean()) - 0.5) for run in runs))
    assert furthest[0] > 0.35
    assert furthest[1] < 0.15


class Count(ToyVectorEnv):
    """Nothing counts but how many rows are selected."""

    def __init__(self, num_envs: int, sign: float) -> None:
        super().__init__(num_envs)
        self.sign = sign

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, _, ended, truncated, info = super().step(actions)
        return state, self.sign * actions.mean(axis=1), ended, truncated, info


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["select all", "select none"])
def test_exploration_penalty_turns_the_mean_back_at_nine_tenths_and_at_a_tenth(sign: float) -> None:
    share = {}
    for weight in (0.0, 1000.0):
        config = replace(SMALL, learning_rate=0.03, exploration_penalty=weight)
        means: list[float] = []
        agent = ReinforceVariant(config, seed=1)
        agent.learn(Count(8, sign), 8 * 100, lambda _, metrics, m=means: m.append(metrics["policy/p_mean"]))
        share[weight] = np.array(means if sign > 0 else [1 - p for p in means])
    assert share[0.0][-10:].min() > 0.97
    assert share[1000.0].max() > 0.9  # it does come there
    assert share[1000.0][-10:].max() < 0.92


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": 1.0}, r"average must lie in \[0, 1\), got 1.0"),
        ({"average": -0.1}, r"average must lie in \[0, 1\), got -0.1"),
        ({"average": math.nan}, r"average must lie in \[0, 1\), got nan"),
        ({"average": 0.9, "keep_best": True}, "choose one of them"),
        *(
            ({name: value}, f"{name} must be 0 or above, got {value}")
            for name in ("entropy_bonus", "exploration_penalty", "weight_decay")
            for value in (-1e-9, math.nan)
        ),
    ],
    ids=str,
)
def test_values_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReinforceVariantConfig(**changes)


def test_one_trajectory_has_no_spread_to_normalise_by() -> None:
    with pytest.raises(ValueError, match=r"normalize takes the spread .* at least 2 environments, got 1"):
        ReinforceVariant(ReinforceVariantConfig(normalize=True)).learn(ToyVectorEnv(1), 5)

"""Algorithm 1 and its variants held against its formulas, and against a problem whose best mask is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import CSVOutputFormat, Logger

import mixrl.reinforce
import mixrl_env  # noqa: F401  # registers the ids
from mixrl import Reinforce, ReinforceConfig, ReinforceVariant, ReinforceVariantConfig, ValueNetwork
from mixrl_env.streams import torch_stream
from tests.toy import NUM_OPTIONS, ToyVectorEnv, best_mask


def network_at_start(seed: int, config: ReinforceConfig) -> ValueNetwork:
    return ValueNetwork(1 + NUM_OPTIONS, config.hidden_sizes, torch_stream(seed, "reinforce"))


def log_pi(network: ValueNetwork, state: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log pi(D^m | D^b) written out as below Eq. 3, with the log that Eq. 3 lacks."""
    h = torch.sigmoid(network(state))
    return torch.where(mask == 1, torch.log(h), torch.log(1 - h)).sum(-1)


def test_algorithm_1_line_by_line() -> None:
    """One mask a step: the agent's weights equal those of the printed pseudo code, run on the same masks and losses."""
    config, updates = ReinforceConfig(hidden_sizes=(8, 4)), 30
    envs = ToyVectorEnv(1)
    agent = Reinforce(config, seed=3).learn(envs, updates)
    assert agent.network is not None
    network, base, scale = network_at_start(3, config), 0.0, 2.0
    adam = torch.optim.Adam(network.parameters(), lr=0.001)
    for states, masks, rewards in envs.history:
        loss = -rewards[0] / scale  # the environment's reward is -C * Loss
        adam.zero_grad()
        (scale * (loss - base) * log_pi(network, torch.tensor(states[0]), torch.tensor(masks[0]))).backward()
        adam.step()
        base = 19 / 20 * base + 1 / 20 * loss
    for ours, theirs in zip(agent.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("m", [1, 3])
def test_a_variant_without_options_is_algorithm_1_to_the_bit(m: int) -> None:
    runs = []
    for agent in (Reinforce(seed=3), ReinforceVariant(ReinforceVariantConfig(), seed=3)):
        curve: list[dict[str, float]] = []
        envs = ToyVectorEnv(m)
        agent.learn(envs, 40 * m, lambda _, metrics, curve=curve: curve.append(metrics))
        assert agent.network is not None
        weights = torch.cat([p.detach().flatten() for p in agent.network.parameters()])
        masks = np.array([masks for _, masks, _ in envs.history])
        runs.append((weights, masks, agent.probabilities(envs.history[0][0]), agent.trainings, curve))
    (weights, masks, p, trainings, curve), (*others, more) = runs
    assert torch.equal(weights, others[0])
    np.testing.assert_array_equal(masks, others[1])
    np.testing.assert_array_equal(p, others[2])
    assert trainings == others[3] == 40 * m
    assert curve == [{name: update[name] for name in curve[0]} for update in more]  # variants log their convergence besides


def test_algorithm_1_is_a_page() -> None:
    source = Path(mixrl.reinforce.__file__).read_text()
    assert len(source.splitlines()) <= 100


@pytest.mark.parametrize(
    ("config", "m"),
    [
        (ReinforceVariantConfig(hidden_sizes=(8, 4)), 5),
        (ReinforceVariantConfig(hidden_sizes=(8, 4), baseline="leave_one_out"), 5),
    ],
    ids=["moving average", "leave one out"],
)
def test_gradient_of_one_update(config: ReinforceVariantConfig, m: int) -> None:
    """The gradient that the agent leaves behind is Eq. 1 with its baseline, computed from the masks it sampled."""
    envs = ToyVectorEnv(m)
    agent = ReinforceVariant(config, seed=1).learn(envs, m)
    assert agent.network is not None
    states, masks, rewards = envs.history[0]
    network = network_at_start(1, config)
    objective = torch.zeros(())
    for i in range(m):
        others = np.delete(rewards, i)
        advantage = rewards[i] - (others.mean() if config.baseline == "leave_one_out" else 0.0)  # Base starts at 0
        objective = objective + advantage * log_pi(network, torch.tensor(states[i]), torch.tensor(masks[i])) / m
    objective.backward()
    for ours, exact in zip(agent.network.parameters(), network.parameters(), strict=True):
        assert ours.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(-ours.grad, exact.grad, rtol=1e-4, atol=1e-6)


class OneState(ToyVectorEnv):
    """Every trajectory of every update sees the same rows."""

    def _draw(self) -> np.ndarray:
        x = np.tile(np.linspace(-1, 1, self.num_rows)[None, :, None], (self.num_envs, 1, 1))
        one_hot = np.tile(np.eye(NUM_OPTIONS)[None], (self.num_envs, 1, 1))
        self._states = np.concatenate([x, one_hot], axis=2).astype(np.float32)
        return self._states


def gradients_of_a_policy_at_rest(config: ReinforceVariantConfig, envs: OneState, updates: int) -> torch.Tensor:
    """The gradient of each update (updates, parameters). Adam's steps are too small for h to move."""
    config = replace(config, hidden_sizes=(8,), learning_rate=1e-12)
    agent, rows = ReinforceVariant(config, seed=0), []

    def keep(_: int, __: dict[str, float]) -> None:
        assert agent.network is not None
        rows.append(torch.cat([-p.grad.flatten() for p in agent.network.parameters() if p.grad is not None]))

    agent.learn(envs, envs.num_envs * updates, keep)
    assert agent.network is not None
    for now, start in zip(agent.network.parameters(), network_at_start(0, config).parameters(), strict=True):
        torch.testing.assert_close(now, start, rtol=0, atol=1e-8)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("config", "m", "updates"),
    [
        (ReinforceVariantConfig(), 20_000, 1),
        (ReinforceVariantConfig(baseline="leave_one_out"), 20_000, 1),
    ],
    ids=["moving average", "leave one out"],
)
def test_gradient_is_unbiased(config: ReinforceVariantConfig, m: int, updates: int) -> None:
    """Averaged over many masks it is the exact gradient of the expected reward, all 2^B masks enumerated."""
    envs = OneState(m, num_rows=3)
    sampled = gradients_of_a_policy_at_rest(config, envs, updates).mean(dim=0)
    state = envs.history[0][0][0]
    network = network_at_start(0, replace(config, hidden_sizes=(8,)))
    expected = torch.zeros(())
    for bits in product((0, 1), repeat=envs.num_rows):
        reward = (np.array(bits) == best_mask(state)).mean() - 1.0
        expected = expected + reward * log_pi(network, torch.tensor(state), torch.tensor(bits)).exp()
    expected.backward()
    exact = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert float((sampled - exact).norm() / exact.norm()) < 0.1
    assert float(exact.norm()) > 0.01


@pytest.mark.parametrize(
    ("config", "m", "trainings"),
    [
        (ReinforceVariantConfig(hidden_sizes=(64, 64), learning_rate=0.003), 1, 2000),
        (ReinforceVariantConfig(baseline="leave_one_out", hidden_sizes=(64, 64), learning_rate=0.003), 16, 16 * 400),
    ],
    ids=["algorithm 1", "leave-one-out"],
)
def test_finds_the_known_best_mask(config: ReinforceVariantConfig, m: int, trainings: int) -> None:
    agent = ReinforceVariant(config, seed=0).learn(ToyVectorEnv(m), trainings)
    states = np.concatenate(
        [np.tile(np.linspace(-1, 1, 42)[:, None], (3, 1)), np.repeat(np.eye(NUM_OPTIONS), 42, axis=0)], axis=1
    ).astype(np.float32)
    clear = np.abs(states[:, 0]) > 0.1  # at the border both answers earn the same
    right = (agent.probabilities(states) > 0.5) == best_mask(states)
    assert right[clear].mean() > 0.97


def test_same_seed_same_run_and_global_generators_untouched(tmp_path: Path) -> None:
    config = ReinforceVariantConfig(baseline="leave_one_out", normalize=True, entropy_bonus=0.1)
    weights, curves = [], []
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state()
    for run in ("a", "b"):
        torch.rand(3)
        logger = Logger(None, [CSVOutputFormat(str(tmp_path / f"{run}.csv"))])
        torch.set_rng_state(before)
        agent = ReinforceVariant(config, seed=7, logger=logger).learn(ToyVectorEnv(4), 40)
        logger.close()
        assert torch.equal(torch.get_rng_state(), before)
        assert agent.network is not None
        weights.append(torch.cat([p.detach().flatten() for p in agent.network.parameters()]))
        curves.append((tmp_path / f"{run}.csv").read_text())
    assert torch.equal(*weights)
    assert curves[0] == curves[1]
    assert len(curves[0].splitlines()) == 11
    for column in ("policy/p_mean", "policy/p_std", "policy/entropy", "reward/mean", "policy/grad_norm", "trainings"):
        assert column in curves[0].splitlines()[0]


def test_learns_on_a_plain_environment() -> None:
    """M = 1 is an ordinary gym.Env; the budget counts inner trainings, and the info reaches the metrics."""
    env = gym.make("MixRL-NO2-v0", step_budget=5, regressor={"hidden_sizes": [8]})
    seen: list[tuple[int, dict[str, float]]] = []
    Reinforce().learn(env, 3, lambda done, metrics: seen.append((done, metrics)))
    assert [done for done, _ in seen] == [1, 2, 3]
    for _, metrics in seen:
        assert metrics["reward/mean"] == pytest.approx(-2 * metrics["env/val_loss"])
        assert metrics["env/train_steps"] == 5

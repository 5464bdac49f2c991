"""What all agents have in common, on a problem whose best mask is known; what is their own has its own files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mixrl import (
    Agent,
    CrossEntropy,
    DataValuation,
    DataValuationConfig,
    MaskRegression,
    RandomSearch,
    ReinforceVariant,
    ReinforceVariantConfig,
    SB3Agent,
    SB3Config,
)
from tests.toy import FixedRowsEnv, best_mask

_REINFORCE = ReinforceVariantConfig(learning_rate=0.003, baseline="leave_one_out", hidden_sizes=(64, 64))
# Each with the mean probability of the right answer that it has reached after 2,048 trainings, and nobody at the start.
AGENTS: dict[str, tuple[Callable[[int], Agent], float]] = {
    "REINFORCE": (lambda seed: ReinforceVariant(_REINFORCE, seed), 0.95),
    "mask regression": (lambda seed: MaskRegression(seed=seed), 0.95),
    "cross-entropy": (lambda seed: CrossEntropy(seed=seed), 0.95),
    "Data Banzhaf": (lambda seed: DataValuation(seed=seed), 0.9),
    "AME": (lambda seed: DataValuation(DataValuationConfig("ame"), seed), 0.6),
    "random search": (lambda seed: RandomSearch(seed=seed), 0.6),
    "PPO": (lambda seed: SB3Agent(SB3Config("ppo"), seed), 0.9),
    "A2C": (lambda seed: SB3Agent(SB3Config("a2c"), seed), 0.9),
}
OURS = [name for name in AGENTS if name not in ("PPO", "A2C")]
every_agent = pytest.mark.parametrize("name", AGENTS)
M = 16
ROOT = Path(__file__).parent.parent


class Opposite(FixedRowsEnv):
    """The worst mask earns the most."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, *others = super().step(actions)
        return state, -rewards, *others


def learned(name: str, seed: int = 0, trainings: int = 256) -> tuple[Agent, FixedRowsEnv]:
    envs = FixedRowsEnv(M)
    return AGENTS[name][0](seed).learn(envs, trainings), envs


@pytest.mark.parametrize("name", OURS)
def test_finds_the_known_best_mask(name: str) -> None:
    for seed in (2, 3):
        agent, envs = learned(name, seed, 2048)
        rows = envs.every_row_and_option()
        p = agent.probabilities(rows)
        right = np.where(best_mask(rows), p, 1 - p)
        assert right.mean() > AGENTS[name][1]
        # It is the rewards that say so, not the agent's taste: the opposite rewards teach the opposite.
        p = AGENTS[name][0](seed).learn(Opposite(M), 2048).probabilities(rows)
        assert np.where(best_mask(rows), p, 1 - p).mean() < 1 - AGENTS[name][1]


@every_agent
def test_same_seed_same_run(name: str) -> None:
    (first, envs), (second, again), (_, other) = learned(name, 3), learned(name, 3), learned(name, 4)
    for a, b in zip(envs.history, again.history, strict=True):
        for ours, theirs in zip(a, b, strict=True):
            assert np.array_equal(ours, theirs)
    rows = envs.every_row_and_option()
    assert np.array_equal(first.probabilities(rows), second.probabilities(rows))
    assert any(not np.array_equal(ours, theirs) for ours, theirs in zip(envs.history[0], other.history[0], strict=True))


@every_agent
def test_global_generators_are_untouched(name: str) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, envs = learned(name)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.manual_seed(6)  # and what they hold makes no difference
    rows = envs.every_row_and_option()
    assert np.array_equal(first.probabilities(rows), learned(name)[0].probabilities(rows))


@every_agent
@pytest.mark.parametrize("budget", [256, 333])
def test_spends_no_more_than_its_budget(name: str, budget: int) -> None:
    agent, envs = learned(name, trainings=budget)
    spent = sum(len(rewards) for *_, rewards in envs.history)
    assert agent.trainings == spent  # type: ignore[attr-defined]
    assert budget - 64 < spent <= budget


@every_agent
def test_the_callback_follows_the_learning(name: str) -> None:
    envs, agent = FixedRowsEnv(M), AGENTS[name][0](0)
    seen: list[tuple[int, dict[str, float], np.ndarray]] = []
    rows = envs.every_row_and_option()
    agent.learn(envs, 256, lambda done, metrics: seen.append((done, metrics, agent.probabilities(rows))))
    trainings = [done for done, *_ in seen]
    assert trainings == sorted(set(trainings))
    assert trainings[-1] == 256
    assert len(trainings) >= 4
    for _, metrics, p in seen:
        assert {"reward/mean", "policy/p_mean", "env/val_rmse"} <= set(metrics)
        assert np.isfinite(list(metrics.values())).all()
        assert p.shape == rows.shape[:-1]
        assert ((p >= 0) & (p <= 1)).all()
    assert np.array_equal(seen[-1][2], agent.probabilities(rows))
    # Looking on changes nothing.
    assert np.array_equal(seen[-1][2], learned(name)[0].probabilities(rows))


@every_agent
def test_probabilities_for_any_shape(name: str) -> None:
    agent, envs = learned(name)
    rows = envs.every_row_and_option()  # (options, B, row size)
    p = agent.probabilities(rows)
    np.testing.assert_allclose(agent.probabilities(rows.reshape(-1, rows.shape[-1])), p.ravel(), rtol=1e-6)
    np.testing.assert_allclose(agent.probabilities(rows[:, None, 2]), p[:, None, 2], rtol=1e-6)
    assert float(agent.probabilities(rows[1, 2])) == pytest.approx(p[1, 2], rel=1e-6)


@every_agent
def test_probabilities_before_learning(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"call learn\(\) before"):
        AGENTS[name][0](0).probabilities(FixedRowsEnv(1).every_row_and_option())


@every_agent
def test_budget_below_the_least(name: str) -> None:
    with pytest.raises(ValueError, match="a budget of 2 trainings is below"):
        AGENTS[name][0](0).learn(FixedRowsEnv(M), 2)


class Longer(FixedRowsEnv):
    """Episodes that go on."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, ended, _, _ = super().step(actions)
        return state, rewards, ~ended, ~ended, {}


@pytest.mark.parametrize("name", OURS)
def test_longer_episodes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"episodes of one step.*SB3Agent"):
        AGENTS[name][0](0).learn(Longer(M), 256)


def test_everything_else_works_without_stable_baselines3() -> None:
    code = (
        "import sys\nfor name in ('stable_baselines3', 'tensorboard'):\n    sys.modules[name] = None\n"
        "import gymnasium as gym, mixrl, mixrl_env\n"
        "regressor = {'hidden_sizes': [4], 'max_steps': 5}\n"
        "envs = gym.make_vec('MixRL-NO2-v0', 2, 'vector_entry_point', step_budget=5, regressor=regressor)\n"
        "mixrl.Reinforce().learn(envs, 2)\nmixrl.MixRLSampler()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr

"""The two agents without gradients: cross-entropy, by hand, and random search, which keeps the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from mixrl import CrossEntropy, CrossEntropyConfig, RandomSearch, RandomSearchConfig
from mixrl.random_features import RandomFeatures
from mixrl_env.streams import stream
from tests.toy import FixedRowsEnv


@pytest.mark.parametrize("m", [4, 3])
def test_moves_as_by_hand(m: int) -> None:
    """P of every row and option after every population, from the masks and rewards alone, in a dictionary."""
    config = CrossEntropyConfig(population=8, elite=0.25, step=0.4, margin=0.1)
    envs, agent = FixedRowsEnv(m, num_rows=5), CrossEntropy(config, seed=1)
    rows = envs.every_row_and_option()
    seen: list[np.ndarray] = []
    agent.learn(envs, 60, lambda *_: seen.append(agent.probabilities(rows)))
    steps = 2 if m == 4 else 3  # of the vector, for a population of 8 or of 9
    p: dict[bytes, float] = {row.tobytes(): 0.5 for row in rows.reshape(-1, 4)}
    for update in range(0, len(envs.history) - steps + 1, steps):
        population = [
            one
            for states, masks, rewards in envs.history[update : update + steps]
            for one in zip(states, masks, rewards, strict=True)
        ]
        elite = sorted(population, key=lambda one: -one[2])[:2]
        for key in p:
            chosen = [bit for state, mask, _ in elite for row, bit in zip(state, mask, strict=True) if row.tobytes() == key]
            if chosen:
                p[key] = min(max(0.6 * p[key] + 0.4 * float(np.mean(chosen)), 0.1), 0.9)
        np.testing.assert_allclose(seen[update + steps - 1].ravel(), [p[row.tobytes()] for row in rows.reshape(-1, 4)])
    assert agent.trainings == len(envs.history) * m == 60 // (steps * m) * steps * m
    assert min(p.values()) == pytest.approx(0.1)


def test_rows_that_were_never_offered() -> None:
    agent = CrossEntropy(seed=0).learn(FixedRowsEnv(16), 128)
    rows = FixedRowsEnv(1).every_row_and_option()
    assert np.array_equal(agent.probabilities(rows + np.float32(0.5)), np.full(rows.shape[:-1], 0.5))
    assert (agent.probabilities(rows) != 0.5).any()


class Scripted(FixedRowsEnv):
    """Rewards from a list."""

    def __init__(self, num_envs: int, rewards: list[float]) -> None:
        super().__init__(num_envs)
        self.scripted = iter(rewards)

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, _, *ended, info = super().step(actions)
        return state, np.array([next(self.scripted) for _ in range(self.num_envs)]), *ended, info


@given(st.permutations(range(12)))
def test_random_search_keeps_the_policy_of_the_highest_reward(order: list[int]) -> None:
    """Its masks are drawn by policies that are linear in random features; the best one's probabilities are what is learned."""
    envs = Scripted(4, [float(value) for value in order])
    agent, metrics = RandomSearch(RandomSearchConfig(num_features=20), seed=3), []
    agent.learn(envs, 12, lambda _, own: metrics.append(own))
    highest = [max(order[: 4 * (update + 1)]) for update in range(3)]
    assert [own["search/highest_reward"] for own in metrics] == highest
    # The same draws again: the features from the first observation, then a step's policies and masks.
    rng = stream(3, "random search")
    features = RandomFeatures(envs.history[0][0], 20, rng)
    policies, masks = [], []
    for states, drawn, _ in envs.history:
        values = features(states)
        weights = rng.normal(size=(4, 21))
        weights /= (values @ weights[..., None]).std(axis=1)
        weights[:, -1] += rng.normal(size=4) - (values @ weights[..., None])[..., 0].mean(axis=1)
        policies += list(2.0 * weights)
        logits = 2.0 * (values @ weights[..., None])[..., 0]
        masks.append(rng.random(logits.shape) < expit(logits))
        assert np.array_equal(masks[-1], drawn)
    rows = envs.every_row_and_option()
    np.testing.assert_allclose(logit(agent.probabilities(rows)), features(rows) @ policies[int(np.argmax(order))], atol=1e-6)

"""Batched environments under SB3, against the way SB3 itself runs single ones."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiBinary
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import SB3VecEnv

CHEAP = {"split_seed": 0, "step_budget": 20, "regressor": {"hidden_sizes": [8], "dtype": "float64"}}


def make_single(**settings: Any) -> gym.Env[Any, Any]:
    return gym.make("MixRL-NO2-v0", **CHEAP | settings)


def make_batched(num_envs: int = 3) -> Any:
    return gym.make_vec("MixRL-NO2-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **CHEAP)


class Countdown(gym.Env[Any, Any]):
    """Episodes of several steps, terminated after an even number and truncated after an odd one; infos differ by step."""

    observation_space = Box(0, 100, (2, 1), np.float32)
    action_space = MultiBinary(2)

    def __init__(self, length: int) -> None:
        self.length, self.episode, self.left = length, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.start = 100 if options is None else options["start"]
        self.left, self.episode = self.length, self.episode + 1
        return self._observe(), {"episode_number": self.episode}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        over, even = self.left == 0, self.length % 2 == 0
        info: dict[str, Any] = {"left": self.left, "of": {"length": self.length}, "name": f"{self.length}-{self.left}"}
        if over:
            info["last"] = float(self.episode)
        return self._observe(), float(action.sum() + self.left), over and even, over and not even, info

    def _observe(self) -> Any:
        return np.array([[self.start - self.left], [self.length]], dtype=np.float32)


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values of any types; regressors trained together differ from single ones in the last bits."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_equals_the_vec_env_of_sb3_over_single_environments() -> None:
    ours, theirs = SB3VecEnv(make_batched()), DummyVecEnv([make_single] * 3)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    ours.seed(4)
    theirs.seed(4)
    observations, expected = ours.reset(), theirs.reset()
    rng, seen = np.random.default_rng(0), []
    for _ in range(4):
        assert observations.dtype == expected.dtype
        np.testing.assert_array_equal(observations, expected)
        seen.append(observations)
        masks = rng.integers(2, size=(3, 200)).astype(np.float32)  # as SB3's policies give them
        observations, *outcome = ours.step(masks)
        expected, *outcome_expected = theirs.step(masks)
        assert_same(outcome, outcome_expected)
        rewards, dones, infos = outcome
        assert (rewards.dtype, dones.dtype) == (np.float32, np.bool_)
        assert len(set(rewards)) == 3
        for i, info in enumerate(infos):
            np.testing.assert_array_equal(info["terminal_observation"], seen[-1][i])
            assert info["TimeLimit.truncated"] is False
            assert info["val_rmse"] == pytest.approx((-rewards[i] / 2) ** 0.5)  # C = 2
    assert not np.array_equal(seen[0], seen[1])


def test_episodes_of_several_steps_equal_those_of_sb3() -> None:
    """Some environments end while others go on: every info belongs to its own."""
    lengths = (1, 2, 3, 2)
    ours = SB3VecEnv(
        SyncVectorEnv([lambda n=n: Countdown(n) for n in lengths], autoreset_mode=AutoresetMode.SAME_STEP)  # type: ignore[misc]
    )
    theirs = DummyVecEnv([lambda n=n: Countdown(n) for n in lengths])  # type: ignore[misc]
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    assert ours.reset_infos == theirs.reset_infos == [{"episode_number": 1}] * 4
    ended = []
    for turn in range(7):
        masks = np.random.default_rng(turn).integers(2, size=(4, 2)).astype(np.int8)
        outcome, expected = ours.step(masks), theirs.step(masks)
        assert_same(outcome, expected)
        assert_same(ours.reset_infos, theirs.reset_infos)
        ended.append(outcome[2].tolist())
        for m, (done, info) in enumerate(zip(outcome[2], outcome[3], strict=True)):
            assert info["of"] == {"length": lengths[m]}
            assert ("last" in info) == ("terminal_observation" in info) == done
            assert info["TimeLimit.truncated"] == (done and lengths[m] % 2 == 1)
    assert ended[:3] == [[True, False, False, False], [True, True, False, True], [True, False, True, False]]
    assert [info["episode_number"] for info in ours.reset_infos] == [8, 4, 3, 4]


def test_seeds_and_options_are_used_once() -> None:
    env = SB3VecEnv(make_batched())
    env.seed(5)
    first, second = env.reset(), env.reset()
    single = make_single()
    for i in range(3):
        np.testing.assert_array_equal(first[i], single.reset(seed=5 + i)[0])
        np.testing.assert_array_equal(second[i], single.reset()[0])  # goes on with the generator
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)

    env = SB3VecEnv(Countdown(2))
    env.set_options({"start": 50})
    assert [env.reset()[0, 0, 0] for _ in range(2)] == [48, 98]

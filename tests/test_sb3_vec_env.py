"""Batched environments under SB3, against the way SB3 itself runs single ones."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiBinary
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import RowPolicy, SB3VecEnv
from tests.toy import ToyVectorEnv

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
    """Equal values, whatever their types; regressors trained together differ from single ones in the last bits."""
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


class Capture(KVWriter):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        self.rows.append(dict(key_values))

    def close(self) -> None:
        pass


def test_vec_monitor_tells_of_episodes() -> None:
    toy, capture = ToyVectorEnv(4), Capture()
    env = VecMonitor(SB3VecEnv(toy))
    env.seed(0)
    env.reset()
    _, rewards, _, infos = env.step(np.eye(4, 8, dtype=np.int8))
    assert [info["episode"]["r"] for info in infos] == pytest.approx(rewards.tolist(), abs=1e-6)
    assert [info["episode"]["l"] for info in infos] == [1] * 4
    model = PPO(RowPolicy, env, n_steps=2, batch_size=8, seed=0, device="cpu")
    model.set_logger(Logger(None, [capture]))
    toy.history.clear()
    model.learn(16)
    means = [np.mean([reward for *_, reward in toy.history[:steps]]) for steps in (2, 4)]
    assert [row["rollout/ep_rew_mean"] for row in capture.rows] == pytest.approx(means, abs=1e-5)
    assert [row["rollout/ep_len_mean"] for row in capture.rows] == [1, 1]
    assert evaluate_policy(model, env, n_eval_episodes=4, deterministic=True)[0] == pytest.approx(toy.history[-1][2].mean())


def test_another_autoreset_is_refused() -> None:
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        with pytest.raises(ValueError, match="SAME_STEP"):
            SB3VecEnv(SyncVectorEnv([lambda: Countdown(1)], autoreset_mode=mode))


def test_attributes_are_those_of_all_environments() -> None:
    envs = make_batched()
    env = SB3VecEnv(envs)
    assert env.get_attr("problem") == [envs.problem] * 3
    assert env.get_attr("problem", [0, 2]) == [envs.problem] * 2
    assert env.get_attr("problem", 1) == [envs.problem]
    assert env.render_mode is None
    env.set_attr("note", "new")
    assert envs.note == "new"
    with pytest.raises(ValueError, match="all 3 environments share note"):
        env.set_attr("note", "other", indices=[0])
    assert env.get_attr("note") == ["new"] * 3
    with pytest.raises(AttributeError, match="nonsense"):
        env.get_attr("nonsense")
    with pytest.raises(NotImplementedError, match=r"SB3VecEnv.envs.render\(\)"):
        env.env_method("render")
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert env.env_is_wrapped(Monitor, indices=[1]) == [False]


def test_a_single_environment_is_a_vector_of_one() -> None:
    ours, theirs = SB3VecEnv(make_single()), DummyVecEnv([make_single])
    assert ours.num_envs == 1
    ours.seed(1)
    theirs.seed(1)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for turn in range(2):
        masks = np.random.default_rng(turn).integers(2, size=(1, 200)).astype(np.float32)
        assert_same(ours.step(masks), theirs.step(masks))


class OneBuffer(ToyVectorEnv):
    """Gives out the same arrays again and again, as some vector environments do."""

    def __init__(self) -> None:
        super().__init__(2)
        self.observations = np.zeros(self.observation_space.shape or (), dtype=np.float32)
        self.rewards = np.zeros(2, dtype=np.float32)

    def _draw(self) -> np.ndarray:
        self.observations[:] = super()._draw()
        return self.observations

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, self.rewards[:], *rest = super().step(actions)
        return observations, self.rewards, *rest


def test_what_was_returned_does_not_change() -> None:
    envs = OneBuffer()
    env = SB3VecEnv(envs)
    env.seed(0)
    observations = [env.reset()]
    kept, rewards = [observations[0].copy()], []
    for mask in (0, 1, 0):
        stepped, reward, _, _ = env.step(np.full((2, 8), mask, dtype=np.int8))
        observations.append(stepped)
        kept.append(stepped.copy())
        rewards.append((reward, reward.copy()))
    np.testing.assert_array_equal(observations, kept)
    assert len({array.tobytes() for array in kept}) == 4
    assert all(np.array_equal(*pair) for pair in rewards)
    assert len({copy.tobytes() for _, copy in rewards}) > 1
    observations[-1][:] = 9  # nor does the environment see what is done to it
    assert envs.observations.max() <= 1

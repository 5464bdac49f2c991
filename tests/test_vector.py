"""The batched environment against single ones."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mixrl_env import MixRLEnv, MixRLVectorEnv

SHORT = {"max_steps": 50}  # a short inner training; the rest of the regressor stays the paper's
SMALL = {"hidden_sizes": (16,), "eval_every": 10, "patience": 2, "max_steps": 400, "learning_rate": 3e-3}


def make_vector(num_envs: int = 3, **settings: Any) -> MixRLVectorEnv:
    """The registered batched NO2 environment with a short inner training."""
    settings = {"split_seed": 0, "regressor": SHORT} | settings
    env = gym.make_vec("MixRL-NO2-v0", num_envs=num_envs, vectorization_mode="vector_entry_point", **settings)
    assert isinstance(env, MixRLVectorEnv)
    return env


def make_single(**settings: Any) -> MixRLEnv:
    """One environment with the same settings."""
    env = gym.make("MixRL-NO2-v0", **{"split_seed": 0, "regressor": SHORT} | settings).unwrapped
    assert isinstance(env, MixRLEnv)
    return env


def make_masks(seed: int, num_envs: int = 3) -> np.ndarray:
    """Masks that differ in how many rows they select; the first selects none."""
    share = np.linspace(0, 0.9, num_envs)[:, None]
    return (np.random.default_rng(seed).uniform(size=(num_envs, 200)) < share).astype(np.int8)


def assert_same_structure(first: Any, second: Any, path: str = "") -> None:
    """Equal types and keys, and arrays of equal shape and dtype, all the way down."""
    assert type(first) is type(second), path
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same_structure(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, tuple):
        assert len(first) == len(second), path
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same_structure(a, b, f"{path}/{index}")
    elif isinstance(first, np.ndarray):
        assert (first.shape, first.dtype) == (second.shape, second.dtype), path
        if first.dtype == object:
            assert_same_structure(tuple(first), tuple(second), path)


def test_reset_seeds_each_environment_with_its_own_seed() -> None:
    env = make_vector()
    observations, info = env.reset(seed=5)
    assert info == {}
    assert observations in env.observation_space
    expected = [make_single().reset(seed=seed)[0] for seed in (5, 6, 7)]
    assert np.array_equal(observations, np.stack(expected))
    assert not np.array_equal(observations[0], observations[1])
    by_list, _ = env.reset(seed=[7, None, 5])
    assert np.array_equal(by_list[0], observations[2])
    assert np.array_equal(by_list[2], observations[0])


@pytest.mark.parametrize("schedule", ["annealed", "constant"])
@pytest.mark.parametrize(
    ("regressor", "tolerance"),
    [(SHORT, 1e-5), (SMALL | {"dtype": "float64"}, 1e-9)],
    ids=["float32", "float64"],
)
def test_two_steps_equal_those_of_single_environments(regressor: dict[str, Any], tolerance: float, schedule: str) -> None:
    settings: dict[str, Any] = {"regressor": regressor, "schedule": schedule}
    env, singles = make_vector(**settings), [make_single(**settings) for _ in range(3)]
    observations, _ = env.reset(seed=5)
    offered = [single.reset(seed=5 + i)[0] for i, single in enumerate(singles)]
    train_steps = set()
    for turn in range(2):
        assert np.array_equal(observations, np.stack(offered))
        masks = make_masks(turn)
        observations, rewards, terminated, truncated, infos = env.step(masks)
        assert terminated.tolist() == [True] * 3
        assert truncated.tolist() == [False] * 3
        for i, single in enumerate(singles):
            final, reward, _, _, info = single.step(masks[i])
            assert np.array_equal(infos["final_obs"][i], final)
            assert rewards[i] == pytest.approx(reward, rel=tolerance)
            assert {f"_{key}" for key in info} | info.keys() == infos["final_info"].keys()
            for key, value in info.items():
                assert infos["final_info"][key][i] == pytest.approx(value, rel=tolerance), key
            train_steps.add(info["train_steps"])
            offered[i] = single.reset()[0]
    if regressor is not SHORT:
        # Trainings to the early stop stopped at different times; annealed ones take the steps that the pre-training implies.
        assert len(train_steps) > 1 if schedule == "constant" else train_steps == {env.problem.reward_regressor.max_steps}


def test_outputs_have_the_structure_of_sync_vector_env() -> None:
    env = make_vector(regressor={"max_steps": 5})
    sync = SyncVectorEnv([lambda: make_single(regressor={"max_steps": 5})] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    assert env.observation_space == sync.observation_space
    assert env.action_space == sync.action_space
    assert env.single_observation_space == sync.single_observation_space
    assert env.single_action_space == sync.single_action_space
    assert env.metadata["autoreset_mode"] == sync.metadata["autoreset_mode"]
    assert_same_structure(env.reset(seed=1), sync.reset(seed=1))
    for turn in range(2):
        ours, theirs = env.step(make_masks(turn)), sync.step(make_masks(turn))
        assert set(ours[4]) == {"final_obs", "_final_obs", "final_info", "_final_info"}
        assert_same_structure(ours, theirs)
        assert np.array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    sync.close()


def test_same_seed_is_bit_identical() -> None:
    runs = []
    for _ in range(2):
        env = make_vector()
        env.reset(seed=8)
        runs.append([env.step(make_masks(turn))[:2] for turn in range(2)])
    for (observations, rewards), (observations_again, rewards_again) in zip(*runs, strict=True):
        assert np.array_equal(observations, observations_again)
        assert np.array_equal(rewards, rewards_again)
    assert len({float(reward) for _, rewards in runs[0] for reward in rewards}) == 6


def test_reset_without_a_seed_goes_on_with_the_generators() -> None:
    env, single = make_vector(), make_single()
    first, _ = env.reset(seed=2)
    second, _ = env.reset()
    single.reset(seed=2)
    assert np.array_equal(second[0], single.reset()[0])
    assert not np.array_equal(first, second)


def test_step_needs_a_reset_first() -> None:
    with pytest.raises(ResetNeeded, match="call reset"):
        make_vector().step(make_masks(0))

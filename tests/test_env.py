"""One environment: what it offers, what a step costs, and what it refuses."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from mixrl_env import MixRLEnv, RegressionData, load_dataset

SHORT = {"max_steps": 50}  # a short inner training; the rest of the regressor stays the paper's
TINY = {"hidden_sizes": (8,), "max_steps": 30, "eval_every": 10, "device": "cpu"}
INFO_TYPES = {
    "val_loss": float,
    "val_rmse": float,
    "num_selected": int,
    "num_mixed": int,
    "train_steps": int,
    "diverged": bool,
}


def make_no2(**settings: Any) -> gym.Env[Any, Any]:
    """The registered NO2 environment with a short inner training, without Gymnasium's wrappers."""
    return gym.make("MixRL-NO2-v0", **{"split_seed": 0, "regressor": SHORT} | settings).unwrapped


def tiny_data() -> RegressionData:
    """12 training rows, 3 features, 2 targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    return RegressionData.from_table(x, x[:, :2] * 2 + 5, sizes=(12, 8, 0), split_seed=0)


def make_tiny(**settings: Any) -> MixRLEnv:
    """An environment on the tiny data."""
    return MixRLEnv(tiny_data(), **{"options": [("data", 1), ("label", 2), ("all", 0)], "regressor": TINY} | settings)


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        ("MixRL-NO2-v0", {"split_seed": 0, "regressor": SHORT}),
        ("MixRL-v0", {"data": tiny_data(), "regressor": TINY, "options": [("data", 1)], "batch_rows": 5}),
    ],
    ids=["no2", "tiny"],
)
def test_checkers_of_gymnasium_and_stable_baselines3_pass(env_id: str, settings: dict[str, Any]) -> None:
    env = gym.make(env_id, **settings).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
        sb3_check_env(env)
    assert ["unconventional shape" in str(warning.message) for warning in caught] == [True]


def test_observation_is_standardised_rows_and_one_hot_options() -> None:
    env = make_no2()
    observation, info = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (200, 40)
    assert observation.dtype == np.float32
    assert observation in env.observation_space
    assert env.action_space == gym.spaces.MultiBinary(200)
    assert info == {}
    data = load_dataset("no2", 0)
    for columns, values in ((slice(0, 7), data.x_train), (slice(7, 8), data.y_train)):
        scaled = (values - values.mean(axis=0)) / values.std(axis=0)
        np.testing.assert_allclose(observation[:, columns], scaled, rtol=1e-5, atol=1e-6)
    one_hot = observation[:, 8:]
    assert set(np.unique(one_hot)) == {0, 1}
    assert np.array_equal(one_hot.sum(axis=1), np.ones(200))


def test_batches_are_drawn_without_replacement() -> None:
    env, resets = make_tiny(batch_rows=5), 2000
    env.reset(seed=0)
    table = env.problem.x_train.astype(np.float32)
    counts = np.zeros(12)
    for _ in range(resets):
        observation, _ = env.reset()
        rows = [int(np.flatnonzero((table == row).all(axis=1)).item()) for row in observation[:, :3]]
        assert len(set(rows)) == 5
        counts[rows] += 1
    expected = resets * 5 / 12
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_step_gives_the_documented_tuple() -> None:
    env = make_no2()
    offered, _ = env.reset(seed=0)
    mask = (np.arange(200) % 2).astype(np.int8)
    observation, reward, terminated, truncated, info = env.step(mask)
    assert np.array_equal(observation, offered)
    assert type(reward) is float
    assert reward == -2 * info["val_loss"]  # C = 2 in the paper's NO2 settings
    assert terminated is True
    assert truncated is False
    assert {key: type(value) for key, value in info.items()} == INFO_TYPES
    assert info["val_rmse"] == math.sqrt(info["val_loss"])
    chosen = offered[mask == 1, 8:].argmax(axis=1)
    assert (info["num_selected"], info["num_mixed"]) == (100, (chosen % 16 + 1).sum())  # k = 1..16 in both spaces
    assert info["train_steps"] == 100  # half of the pre-training's steps, but at least 100
    assert info["diverged"] is False


def test_step_needs_a_reset_before_and_after() -> None:
    env = make_tiny()
    mask = np.zeros(12, dtype=np.int8)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(mask)
    env.reset(seed=0)
    env.step(mask)
    with pytest.raises(ResetNeeded, match="an episode ends after one step"):
        env.step(mask)


def test_diverged_training_earns_a_finite_penalty() -> None:
    env = make_no2(regressor={"learning_rate": 1e30, "max_steps": 50}, schedule="constant", render_mode="ansi")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.ones(200, dtype=np.int8))
    assert info["diverged"] is True
    assert info["val_loss"] == pytest.approx(10 * np.mean(np.square(load_dataset("no2", 0).y_train)))
    assert reward == -2 * info["val_loss"]
    assert math.isfinite(reward)
    assert terminated is True
    assert "diverged" in str(env.render())


@pytest.mark.parametrize("standardized", [False, True])
def test_finite_loss_beyond_the_bound_counts_as_diverged(standardized: bool) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    data = RegressionData.from_table(x, x[:, 0] * 1e-6, sizes=(12, 8, 0), split_seed=0)  # far below untrained outputs
    env = MixRLEnv(
        data,
        options=[("data", 1)],
        regressor=TINY | {"max_steps": 1},
        schedule="constant",
        standardize_labels=standardized,
    )
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(12, dtype=np.int8))
    bound = 10 * np.mean(np.square(data.y_train))
    assert env.problem.diverged_loss == pytest.approx(bound)  # in label units either way
    assert info["diverged"] is not standardized
    assert -reward == info["val_loss"]
    assert info["val_loss"] < bound if standardized else info["val_loss"] == pytest.approx(bound)


def test_registered_settings_are_json() -> None:
    spec = gym.make("MixRL-NO2-v0", split_seed=4).spec
    assert spec is not None
    kwargs = json.loads(spec.to_json())["kwargs"]
    assert kwargs == spec.kwargs  # also what went in: no tuple that would come back as a list
    assert kwargs["split_seed"] == 4
    again = gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json())).unwrapped
    assert isinstance(again, MixRLEnv)
    assert np.array_equal(again.problem.data.x_train, load_dataset("no2", 4).x_train)

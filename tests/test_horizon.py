"""Episodes of more than one step: each training goes on from the weights that the one before kept."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from mixrl_env import MixRLEnv, MixRLVectorEnv, RegressionData, RegressorConfig, fit_regressors
from mixrl_env.env import training_rng
from mixrl_env.streams import stream

# Restless enough that the lowest validation loss is seldom the last one.
TINY = {"hidden_sizes": (8,), "max_steps": 40, "eval_every": 5, "patience": 2, "learning_rate": 5e-2, "device": "cpu"}
NUM_ROWS = 10  # of the 12 training rows, so that batches differ in their rows, too
COPIES = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"]
)


def tiny_settings(**settings: Any) -> dict[str, Any]:
    """Settings of an environment on 12 training rows with 3 features and 2 targets."""
    x = np.random.default_rng(0).normal(size=(20, 3))
    data = RegressionData.from_table(x, x[:, :2] * 2 + 5, sizes=(12, 8, 0), split_seed=0)
    defaults = {"data": data, "options": [("data", 1), ("data", 2)], "batch_rows": NUM_ROWS, "regressor": TINY, "horizon": 3}
    return defaults | settings


def make_tiny(**settings: Any) -> MixRLEnv:
    """An environment on the tiny data."""
    return MixRLEnv(**tiny_settings(**settings))


def make_vector(num_envs: int = 3, **settings: Any) -> MixRLVectorEnv:
    """The batched environment on the tiny data."""
    return MixRLVectorEnv(num_envs, **tiny_settings(**settings))


def make_masks(*shape: int) -> np.ndarray:
    """Masks that select about half of the rows."""
    return np.random.default_rng(4).integers(2, size=(*shape, NUM_ROWS), dtype=np.int8)


def slow_training_set(env: MixRLEnv, offered: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch and its mixed rows at lambda 0.5, one pair after the other."""
    x, y = env.problem.x_train, env.problem.data.y_train
    batch = [np.flatnonzero((x.astype(np.float32) == own).all(axis=1)).item() for own in offered[:, :3]]
    x_rows, y_rows = [x[row] for row in batch], [y[row] for row in batch]
    for place in np.flatnonzero(mask).tolist():
        row, k = batch[place], int(offered[place, 5:].argmax()) + 1
        others = [j for j in range(len(x)) if j != row]
        for j in sorted(others, key=lambda j, r=row: math.dist(x[r], x[j]))[:k]:
            x_rows.append(0.5 * x[row] + 0.5 * x[j])
            y_rows.append(0.5 * y[row] + 0.5 * y[j])
    return np.array(x_rows), np.array(y_rows)


def assert_same(first: Any, second: Any, path: str = "") -> None:
    """Equal types, keys, shapes and dtypes all the way down; numbers up to the rounding of float64."""
    assert type(first) is type(second), path
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, tuple) or (isinstance(first, np.ndarray) and first.dtype == object):
        assert len(first) == len(second), path
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{path}/{index}")
    elif isinstance(first, np.ndarray):
        assert (first.shape, first.dtype) == (second.shape, second.dtype), path
        np.testing.assert_allclose(first, second, rtol=1e-7, err_msg=path)
    else:
        assert first == second, path


def test_checkers_of_gymnasium_and_stable_baselines3_pass() -> None:
    env = gym.make("MixRL-v0", **tiny_settings()).unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
        sb3_check_env(env)
    assert ["unconventional shape" in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("diverged_steps", [[], [0], [1], [0, 1], [2]])
def test_an_episode_equals_warm_starts_by_hand(diverged_steps: list[int], pretrained: bool) -> None:
    env = make_tiny(schedule="constant", pretrained=pretrained, pretrain_seed=6)
    problem, config = env.problem, RegressorConfig(**TINY)
    x_val, y_val, bound, labels = problem.x_val, problem.data.y_val, problem.diverged_loss, problem.labels
    start = None
    if pretrained:
        table = [(problem.x_train, problem.data.y_train)]
        start = [fit_regressors(table, x_val, y_val, config, [stream(6, "pre-training")], labels=labels).weights]
    offered, _ = env.reset(seed=1)
    kept_before_the_end = 0
    for step, mask in enumerate(make_masks(3)):
        rng = training_rng(copy.deepcopy(env.np_random))
        rows = slow_training_set(env, offered, mask)
        fitted = fit_regressors([rows], x_val, y_val, config, [copy.deepcopy(rng)], start, labels)
        if start is not None:
            scratch = fit_regressors([rows], x_val, y_val, config, [rng], labels=labels)
            assert fitted.val_loss[0] != scratch.val_loss[0]  # the start shows
        problem.diverged_loss = 1e-9 if step in diverged_steps else bound  # no loss is as small as that
        offered, reward, _, _, info = env.step(mask)
        assert info["train_steps"] == fitted.train_steps[0]
        assert info["diverged"] is (step in diverged_steps)
        assert -reward == info["val_loss"] == (1e-9 if info["diverged"] else fitted.val_loss[0])
        kept_before_the_end += fitted.train_steps[0] < TINY["max_steps"]
        if not info["diverged"]:
            start = [fitted.weights]
    assert kept_before_the_end > 0  # the weights of the lowest loss and the last ones were not the same


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_an_episode_offers_new_batches_and_ends_at_the_horizon(horizon: int) -> None:
    env = make_tiny(horizon=horizon)
    mask = make_masks(1)[0]
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(mask)
    for _ in range(2):
        offered = [env.reset(seed=3)[0]]
        for step in range(1, horizon + 1):
            observation, _, terminated, truncated, _ = env.step(mask)
            assert terminated is (step == horizon)
            assert truncated is False
            if not terminated:
                offered.append(observation)
        assert np.array_equal(observation, offered[-1])  # the end shows the finished batch
        assert len({batch.tobytes() for batch in offered}) == horizon
        with pytest.raises(ResetNeeded, match=f"an episode ends after {'one step' if horizon == 1 else f'{horizon} steps'}"):
            env.step(mask)


def test_horizon_one_is_the_default_to_the_bit() -> None:
    settings = tiny_settings()
    del settings["horizon"]
    single, short = MixRLEnv(**settings), MixRLEnv(**settings, horizon=1)
    twin, short_twin = MixRLVectorEnv(2, **settings), MixRLVectorEnv(2, **settings, horizon=1)
    assert single.horizon == twin.horizon == 1
    for mask in make_masks(2):
        assert np.array_equal(single.reset(seed=2)[0], short.reset(seed=2)[0])
        first, second = single.step(mask), short.step(mask)
        assert np.array_equal(first[0], second[0])
        assert first[1:] == second[1:]
        assert np.array_equal(twin.reset(seed=2)[0], short_twin.reset(seed=2)[0])
        pair, same = twin.step(np.stack([mask, mask])), short_twin.step(np.stack([mask, mask]))
        for one, other in zip(pair[:4], same[:4], strict=True):
            assert np.array_equal(one, other)
        assert_same(pair[4], same[4])


@pytest.mark.parametrize("some_diverge", [False, True])
def test_the_batched_environment_equals_single_ones(some_diverge: bool) -> None:
    settings: dict[str, Any] = {"regressor": TINY | {"dtype": "float64"}}
    env = make_vector(**settings)
    sync = SyncVectorEnv([lambda: make_tiny(**settings)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    masks = make_masks(6, 3)
    if some_diverge:
        env.reset(seed=5)
        bound = float(-np.median(env.step(masks[0])[1]))  # more than one loss of the first step, less than another
        for problem in (env.problem, *(single.unwrapped.problem for single in sync.envs)):
            problem.diverged_loss = bound
    assert_same(env.reset(seed=5), sync.reset(seed=5))
    diverged, terminated = [], []
    for actions in masks:
        ours, theirs = env.step(actions), sync.step(actions)
        assert_same(ours, theirs)
        terminated.append(ours[2].tolist())
        info = ours[4]["final_info"] if ours[2].all() else ours[4]
        assert {"val_loss", "val_rmse", "num_selected", "num_mixed", "train_steps", "diverged"} < info.keys()
        diverged.append(info["diverged"].tolist())
    assert terminated == [[False] * 3, [False] * 3, [True] * 3] * 2
    assert (len(set(diverged[0])) == 2) is some_diverge  # then some go on from kept weights beside others from scratch
    sync.close()

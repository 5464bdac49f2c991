"""The reward: equal to an independent computation, and a function of seed and mask alone."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from mixrl_env import MixRLEnv, RegressorConfig, fit_regressors

SHORT = {"max_steps": 50}  # a short inner training; the rest of the regressor stays the paper's
EVERY_THIRD = (np.arange(200) % 3 == 0).astype(np.int8)


def make_env(**settings: Any) -> MixRLEnv:
    """The NO2 environment with a short inner training."""
    env = gym.make("MixRL-NO2-v0", **{"split_seed": 0, "regressor": SHORT} | settings).unwrapped
    assert isinstance(env, MixRLEnv)
    return env


def first_step(env: MixRLEnv, seed: int = 11, mask: np.ndarray = EVERY_THIRD) -> tuple[float, dict[str, Any]]:
    """Reward and info of the first step after a seeded reset."""
    env.reset(seed=seed)
    _, reward, _, _, info = env.step(mask)
    return reward, info


def slow_training_set(env: MixRLEnv, offered: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch and its mixed rows at lambda 0.5, one pair after the other."""
    x, y = env.problem.x_train, env.problem.data.y_train
    labels = env.problem.data.standardize_y(y)
    seen = np.concatenate([x, labels], axis=1).astype(np.float32)
    batch = [np.flatnonzero((seen == own).all(axis=1)).item() for own in offered[:, :8]]  # item(): just one row fits
    x_rows, y_rows = [x[row] for row in batch], [y[row] for row in batch]
    for place in np.flatnonzero(mask).tolist():
        row, option = batch[place], int(offered[place, 8:].argmax())
        points, k = (x, option + 1) if option < 16 else (labels, option - 15)
        others = [j for j in range(len(x)) if j != row]
        for j in sorted(others, key=lambda j, p=points, r=row: (math.dist(p[r], p[j]), j))[:k]:
            x_rows.append(0.5 * x[row] + 0.5 * x[j])
            y_rows.append(0.5 * y[row] + 0.5 * y[j])
    return np.array(x_rows), np.array(y_rows)


@pytest.mark.parametrize("batch_rows", [None, 60])
@pytest.mark.parametrize("mask", [np.zeros(200, dtype=np.int8), EVERY_THIRD], ids=["empty", "third"])
def test_reward_equals_an_independent_computation(mask: np.ndarray, batch_rows: int | None) -> None:
    env, mask = make_env(batch_rows=batch_rows), mask[:batch_rows]
    offered, _ = env.reset(seed=5)
    rng = np.random.default_rng(copy.deepcopy(env.np_random).integers(2**63))  # the generator of this step's training
    _, reward, _, _, info = env.step(mask)
    x, y = slow_training_set(env, offered, mask)
    assert len(x) == len(mask) + info["num_mixed"]
    assert (info["num_mixed"] > 0) == mask.any()
    config = RegressorConfig(hidden_sizes=(512, 256), learning_rate=1e-4, batch_size=32, max_steps=50)
    fitted = fit_regressors([(x, y)], env.problem.x_val, env.problem.data.y_val, config, [rng])
    assert info["val_loss"] == fitted.val_loss[0]
    assert reward == -2 * fitted.val_loss[0]
    predictions = fitted.predict(env.problem.x_val)[0]
    assert info["val_loss"] == pytest.approx(np.mean(np.square(predictions - env.problem.data.y_val)), rel=1e-5)


def test_reward_depends_on_seed_and_mask_alone() -> None:
    env = make_env()
    np.random.seed(0)  # noqa: NPY002  the global generators are what must not matter
    torch.manual_seed(0)
    expected = first_step(env)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    np.random.normal(size=3)  # noqa: NPY002
    torch.rand(3)
    assert first_step(env) == expected  # the same environment again
    assert first_step(make_env()) == expected  # and a new one
    assert first_step(env, seed=12)[0] != expected[0]
    assert first_step(env, mask=1 - EVERY_THIRD)[0] != expected[0]
    assert first_step(make_env(split_seed=1))[0] != expected[0]


def test_global_generators_are_untouched() -> None:
    env = make_env()
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  the global generators are what must not change
    first_step(env)
    after = np.random.get_state()  # noqa: NPY002
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1][1], after[1])
    assert before[1][2:] == after[2:]


def test_length_of_the_training_does_not_shift_the_next_batch() -> None:
    batches = []
    for max_steps in (1, 50):
        env = make_env(regressor={"max_steps": max_steps})
        first_step(env)
        batches.append(env.reset()[0])
    assert np.array_equal(*batches)


SCRIPT = """
import json, sys
import gymnasium as gym, numpy as np, torch
np.random.seed(99)
torch.manual_seed(99)
assert "mixrl_env" not in sys.modules  # the prefix of the id alone finds the package
env = gym.make("mixrl_env:MixRL-NO2-v0", split_seed=0, regressor={"max_steps": 50})
env.reset(seed=11)
_, reward, _, _, info = env.step((np.arange(200) % 3 == 0).astype(np.int8))
print(json.dumps([reward, info]))
"""


def test_another_process_gives_the_same_reward() -> None:
    threads = f"import torch; torch.set_num_threads({torch.get_num_threads()})"
    done = subprocess.run([sys.executable, "-c", threads + SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reward, info = json.loads(done.stdout.splitlines()[-1])
    assert (reward, info) == first_step(make_env())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"])
def test_copies_go_on_with_the_same_rewards(copied: Callable[[MixRLEnv], MixRLEnv]) -> None:
    env = make_env()
    first_step(env)
    env.reset()
    twin = copied(env)  # in the middle of an episode
    for _ in range(2):
        observation, reward, _, _, info = env.step(EVERY_THIRD)
        own = twin.step(EVERY_THIRD)
        assert np.array_equal(own[0], observation)
        assert (own[1], own[4]) == (reward, info)
        assert np.array_equal(env.reset()[0], twin.reset()[0])


def test_step_budget_from_scratch_keeps_the_last_loss() -> None:
    restless = {"learning_rate": 1e-2, "eval_every": 1, "patience": 1, "max_steps": 500}
    _, info = first_step(make_env(step_budget=20, regressor=restless))
    assert info["train_steps"] == 20  # neither the regressor's patience nor its max_steps matters
    _, last = first_step(make_env(regressor=restless | {"max_steps": 20, "patience": None}))
    assert info == last
    _, stopped = first_step(make_env(regressor=restless))
    assert stopped["train_steps"] < 20  # here the patience would have mattered


def test_pretrained_with_a_step_budget() -> None:
    settings = {"pretrained": True, "step_budget": 20, "regressor": {"max_steps": 200}}
    env = make_env(**settings)
    reward, info = first_step(env)
    assert info["train_steps"] == 20
    assert first_step(env) == (reward, info)  # the pre-trained weights did not move with the first step
    assert first_step(make_env(**settings)) == (reward, info)
    assert first_step(make_env(**settings, pretrain_seed=1))[0] != reward
    _, scratch = first_step(make_env(step_budget=20))
    assert info["val_loss"] < 0.5 * scratch["val_loss"]  # 200 steps of pre-training show

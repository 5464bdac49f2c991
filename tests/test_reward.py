"""The reward: equal to an independent computation, and a function of seed and mask alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from mixrl_env import MixRLEnv, ProblemConfig, RegressionData, RegressorConfig, fit_regressors
from mixrl_env.data import LabelScale
from mixrl_env.env import make_problem, training_rng
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

NO2 = RegressorConfig(hidden_sizes=(512, 256), learning_rate=1e-4, batch_size=32)  # the paper's
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


def step_beside(
    env: MixRLEnv, mask: np.ndarray, seed: int = 5
) -> tuple[float, dict[str, Any], TrainingSet, np.random.Generator]:
    """Reward and info of the first step, its training set, and the generator of its training."""
    offered, _ = env.reset(seed=seed)
    rng = training_rng(copy.deepcopy(env.np_random))
    _, reward, _, _, info = env.step(mask)
    return reward, info, slow_training_set(env, offered, mask), rng


def fit(env: MixRLEnv, rows: TrainingSet, config: RegressorConfig, rng: np.random.Generator, start: Any = None) -> Any:
    """One regressor on standardised labels, by hand."""
    y = env.problem.data.y_train
    labels = LabelScale(y.mean(axis=0), y.std(axis=0))
    return fit_regressors([rows], env.problem.x_val, env.problem.data.y_val, config, [rng], start and [start], labels)


@pytest.mark.parametrize("batch_rows", [None, 60])
@pytest.mark.parametrize("mask", [np.zeros(200, dtype=np.int8), EVERY_THIRD], ids=["empty", "third"])
def test_a_constant_reward_equals_an_independent_computation(mask: np.ndarray, batch_rows: int | None) -> None:
    env, mask = make_env(schedule="constant", batch_rows=batch_rows), mask[:batch_rows]
    reward, info, rows, rng = step_beside(env, mask)
    assert len(rows[0]) == len(mask) + info["num_mixed"]
    assert (info["num_mixed"] > 0) == mask.any()
    fitted = fit(env, rows, replace(NO2, max_steps=50), rng)
    assert info["val_loss"] == fitted.val_loss[0]
    assert reward == -2 * fitted.val_loss[0]
    predictions = fitted.predict(env.problem.x_val)[0]
    assert info["val_loss"] == pytest.approx(np.mean(np.square(predictions - env.problem.data.y_val)), rel=1e-5)


def test_the_paper_s_reward_trains_from_scratch_to_the_early_stop() -> None:
    env = make_env(schedule="constant", regressor={})
    reward, info, rows, rng = step_beside(env, EVERY_THIRD)
    fitted = fit(env, rows, NO2, rng)
    assert fitted.kept_steps[0] + 1000 == fitted.train_steps[0] == info["train_steps"] < NO2.max_steps
    assert reward == -2 * fitted.val_loss[0]
    assert env.problem.pretrained_weights is None


def test_the_default_reward_trains_on_from_half_way_while_its_rate_falls() -> None:
    env = make_env(regressor={})
    problem = env.problem
    table = (problem.x_train, problem.data.y_train)
    whole = fit(env, table, NO2, stream(0, "pre-training"))
    half = int(whole.kept_steps[0]) // 2
    assert 100 < half < 1000
    on_the_way = fit(env, table, replace(NO2, max_steps=half, patience=None), stream(0, "pre-training")).weights
    assert problem.pretrained_weights is not None
    assert all(torch.equal(own, other) for own, other in zip(problem.pretrained_weights, on_the_way, strict=True))
    reward, info, rows, rng = step_beside(env, EVERY_THIRD)
    fitted = fit(env, rows, replace(NO2, schedule="annealed", max_steps=half, patience=None), rng, on_the_way)
    assert info["train_steps"] == half
    assert reward == -2 * fitted.val_loss[0]
    assert reward != -2 * fit(env, rows, replace(NO2, max_steps=half, patience=None), rng, on_the_way).val_loss[0]


@pytest.mark.parametrize("max_steps", [30, 800, 4000])
def test_the_default_reward_takes_half_of_the_pre_training_s_steps_within_limits(max_steps: int) -> None:
    regressor = RegressorConfig(hidden_sizes=(4,), learning_rate=1e-5, max_steps=max_steps, device="cpu")  # slow: never stops
    problem = make_problem("auto", regressor=regressor)
    assert problem.pretraining.kept_steps.tolist() == [max_steps]
    steps = {30: 100, 800: 400, 4000: 1000}[max_steps]
    assert problem.reward_regressor == replace(regressor, schedule="annealed", max_steps=steps, patience=None)


def test_pretrained_is_a_share_of_the_steps() -> None:
    def start(share: float | bool | None, **settings: Any) -> np.ndarray | None:
        regressor = RegressorConfig(hidden_sizes=(4,), learning_rate=1e-5, max_steps=100, device="cpu")
        weights = make_problem("auto", regressor=regressor, pretrained=share, **settings).pretrained_weights
        return None if weights is None else torch.cat([weight.flatten() for weight in weights]).numpy()

    end, half = start(1.0), start(0.5)
    assert end is not None
    assert half is not None
    for share, same in ((True, end), (None, half)):
        np.testing.assert_array_equal(start(share), same)
    assert (np.abs(end - half).max(), np.abs(end - start(0.25)).max()) == pytest.approx((50e-5, 75e-5), rel=0.1)  # Adam's steps
    for share in (0, 0.0, False):
        assert start(share, step_budget=20) is None
    assert start(None, schedule="constant") is None


def test_an_annealed_reward_is_quieter_than_a_constant_one() -> None:
    regressor = {"hidden_sizes": (64, 64), "learning_rate": 0.003}
    problem = make_problem("half_wiggly", regressor=regressor)
    steps = problem.reward_regressor.max_steps
    loud = make_problem("half_wiggly", regressor=regressor, schedule="constant", pretrained=0.5, step_budget=steps)
    rng = np.random.default_rng(0)
    batch, mask = problem.sample_batch(rng), rng.random(problem.num_rows) < 0.5
    variances = []
    for own in (problem, loud):
        outcomes, _ = own.evaluate([batch] * 12, [mask] * 12, [np.random.default_rng([1, again]) for again in range(12)])
        assert {outcome.train_steps for outcome in outcomes} == {steps}
        variances.append(np.var([outcome.val_loss for outcome in outcomes]))
    assert 0 < variances[0] < variances[1] / 10


def test_what_makes_no_sensible_reward_is_told() -> None:
    with pytest.raises(ValueError, match="annealed rewards from scratch need a step_budget, such as 2000, or take pretrained"):
        ProblemConfig(pretrained=0)
    with pytest.warns(UserWarning, match="rewards after 20 steps from scratch at a constant rate pay for small selections"):
        ProblemConfig(schedule="constant", step_budget=20)
    for settings in ({"step_budget": 20}, {"pretrained": 0, "step_budget": 20}, {"schedule": "constant"}):
        ProblemConfig.from_settings(settings)  # no warning, which would be an error here


def in_units(data: RegressionData, scale: float, shift: float) -> RegressionData:
    return RegressionData(data.x_train, data.y_train * scale + shift, data.x_val, data.y_val * scale + shift)


@pytest.mark.parametrize("schedule", ["annealed", "constant"])
def test_rewards_do_not_depend_on_the_unit_of_the_labels(schedule: str) -> None:
    settings: dict[str, Any] = {
        "regressor": {"hidden_sizes": (16,), "max_steps": 200, "dtype": "float64"},
        "schedule": schedule,
    }
    plain = make_env(**settings)
    data = in_units(plain.problem.data, 1000, 5)
    other = make_env(data=data, reward_scale=2e-6, **settings)
    (reward, info), (same, in_thousandths) = first_step(plain), first_step(other)
    assert same == pytest.approx(reward, rel=1e-6)
    assert in_thousandths["val_rmse"] == pytest.approx(1000 * info["val_rmse"], rel=1e-6)
    assert in_thousandths["train_steps"] == info["train_steps"]
    raw = first_step(make_env(data=data, reward_scale=2e-6, standardize_labels=False, **settings))[0]
    assert abs(raw / reward - 1) > 0.1


def test_step_budget_from_scratch_keeps_the_last_loss() -> None:
    restless = {"learning_rate": 1e-2, "eval_every": 1, "patience": 1, "max_steps": 500}
    with pytest.warns(UserWarning, match="pay for small selections"):
        env = make_env(schedule="constant", step_budget=20, regressor=restless)
    _, info = first_step(env)
    assert info["train_steps"] == 20  # neither the regressor's patience nor its max_steps matters
    _, last = first_step(make_env(schedule="constant", regressor=restless | {"max_steps": 20, "patience": None}))
    assert info == last
    _, stopped = first_step(make_env(schedule="constant", regressor=restless))
    assert stopped["train_steps"] < 20  # here the patience would have mattered

"""Copies, pickled or deep-copied, go on exactly like the original and leave it alone; closing releases nothing twice."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLRegressor, MixRLSampler
from mixrl_env import MixRLEnv, MixRLVectorEnv, RegressionData
from tests.test_agents import AGENTS, M, Opposite, every_agent
from tests.toy import FixedRowsEnv

Copy = Callable[[Any], Any]


def pickled(original: Any) -> Any:
    return pickle.loads(pickle.dumps(original))


COPIES = pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
NUM_ROWS = 12


def settings() -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(20, 3))
    data = RegressionData.from_table(x, x[:, :2] * 2 + 5, sizes=(NUM_ROWS, 8, 0), split_seed=0)
    regressor = {"hidden_sizes": (8,), "max_steps": 20, "device": "cpu"}
    return {"data": data, "options": [("data", 1), ("label", 2)], "regressor": regressor, "step_budget": 10}


ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "MixRLEnv": lambda: MixRLEnv(**settings(), horizon=2),
    "gym.make": lambda: gym.make("MixRL-v0", **settings(), horizon=2),
    "MixRLVectorEnv": lambda: MixRLVectorEnv(3, **settings(), horizon=2),
}
every_environment = pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)


def go_on(env: Any, select: int, steps: int = 4) -> list[Any]:
    """Observations and rewards of episodes of two steps that were begun, all rows selected or none."""
    shape = env.action_space.shape
    seen: list[Any] = []
    for _ in range(steps):
        observation, reward, terminated, _, _ = env.step(np.full(shape, select, dtype=np.int8))
        seen += [observation, reward]
        if isinstance(terminated, bool) and terminated:  # vectors begin a new one by themselves
            seen.append(env.reset()[0])
    return [*seen, env.action_space.sample()]


def assert_same(first: list[Any], second: list[Any]) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# Environments


@COPIES
@every_environment
def test_a_copy_goes_on_like_the_original_and_leaves_it_alone(make: Callable[[], Any], copied: Copy) -> None:
    env, never_copied = make(), make()
    for each in (env, never_copied):
        each.reset(seed=1)
        each.action_space.seed(2)
        go_on(each, 1, steps=1)
    twin, stranger = copied(env), copied(env)
    go_on(stranger, 0)
    stranger.unwrapped.problem.x_train[:] = 0  # data are its own, too
    stranger.close()
    expected = go_on(never_copied, 1)
    assert_same(go_on(env, 1), expected)
    assert_same(go_on(twin, 1), expected)


# Agents


def assert_agent_is_copied(agent: Any, copied: Copy, rows: np.ndarray, learn: Callable[[Any], Any]) -> None:
    expected = agent.probabilities(rows)
    twin = copied(agent)
    np.testing.assert_array_equal(twin.probabilities(rows), expected)
    assert twin.trainings == agent.trainings
    twin.seed += 1
    assert not np.array_equal(learn(twin).probabilities(rows), expected)
    np.testing.assert_array_equal(agent.probabilities(rows), expected)


@COPIES
@every_agent
def test_agents_that_learned_are_copied(name: str, copied: Copy) -> None:
    unlearned = AGENTS[name][0](0)
    rows = FixedRowsEnv(M).every_row_and_option()
    with pytest.raises(RuntimeError, match="call learn"):
        copied(unlearned).probabilities(rows)
    agent = copied(unlearned).learn(FixedRowsEnv(M), 256)
    assert_agent_is_copied(agent, copied, rows, lambda twin: twin.learn(Opposite(M), 256))


# Estimators


def table() -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(1)
    x = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"]).assign(colour=["red", "blue"] * 20)
    return x, x["a"] + (x["colour"] == "red") + 0.1 * rng.normal(size=40)


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("estimator", [None, DecisionTreeRegressor(random_state=0)], ids=["networks", "tree"])
@pytest.mark.parametrize("kind", [MixRLRegressor, MixRLSampler])
def test_estimators_are_copied_fitted_or_not(kind: Any, estimator: Any) -> None:
    x, y = table()
    unfitted = kind(estimator, cv=2, categorical="one_hot", random_state=0)
    again = pickled(copy.deepcopy(unfitted)).fit(x, y)
    fitted = unfitted.fit(x, y)
    for model in (copy.deepcopy(fitted), pickled(fitted), again):
        pd.testing.assert_frame_equal(model.report_, fitted.report_)
        if kind is MixRLRegressor:
            np.testing.assert_array_equal(model.predict(x), fitted.predict(x))
        else:
            pd.testing.assert_frame_equal(model.plan_, fitted.plan_)

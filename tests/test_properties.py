"""Any shapes, types, scales, duplicates and ties: finite rewards, and nothing outside is changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLRegressor, MixRLSampler
from mixrl_env import MixRLEnv, MixRLVectorEnv, RegressionData

quick = settings(deadline=None, derandomize=True, max_examples=40)
fewer = settings(quick, max_examples=25)  # each example fits many models
REGRESSOR = {"hidden_sizes": (4,), "batch_size": 4, "max_steps": 6, "eval_every": 3, "patience": 1, "device": "cpu"}
TRAININGS = [("constant", False, None), ("constant", True, 4), ("constant", 0.5, None), ("annealed", False, 4)]
TRAININGS += [("annealed", None, None), ("annealed", True, None), ("annealed", 0.2, 4)]
EXPONENTS = st.integers(-12, 12)
ENDS = st.sampled_from([-12, 0, 12])


class Table(NamedTuple):
    """Rows of a task as somebody gives them: training and validation rows."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values, laid out otherwise in memory."""
    if layout == "Fortran":
        return np.asfortranarray(array)
    if layout == "apart":
        apart = np.zeros((2 * len(array), *array.shape[1:]), dtype=array.dtype)
        apart[::2] = array
        return apart[::2]
    if layout == "backwards":
        return np.ascontiguousarray(array[::-1])[::-1]
    array.setflags(write=layout != "read-only")
    return array


@st.composite
def arrays(draw: st.DrawFn, rows: int, columns: int, exponents: st.SearchStrategy[int], kind: str) -> np.ndarray:
    """Values of one kind around a power of ten, some rows equal, some columns constant, some values tied."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 3, 0]))  # different values; 0: as many as there are places
    values = rng.integers(levels, size=(rows, columns)) + 0.0 if levels else rng.normal(size=(rows, columns))
    values = values[rng.integers(rows, size=rows)] if draw(st.booleans()) else values  # duplicates
    if kind == "bool":
        return values > 0
    if kind == "int64":
        return np.round(values * 10.0 ** abs(draw(exponents))).astype(np.int64)
    offset = draw(st.sampled_from([0.0, 1.0, -100.0]))
    return ((values + offset) * 10.0 ** draw(exponents)).astype(kind)


@st.composite
def tables(draw: st.DrawFn, fewest: int = 2, exponents: st.SearchStrategy[int] = EXPONENTS) -> Table:
    n, n_val, d, e = (draw(st.integers(low, high)) for low, high in ((fewest, 8), (1, 4), (1, 3), (1, 2)))
    kinds, layouts = ["float64", "float32", "int64", "bool"], ["plain", "Fortran", "apart", "backwards", "read-only"]
    kind_x, kind_y, layout = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds)), draw(st.sampled_from(layouts))
    x, x_val = np.split(draw(arrays(n + n_val, d, exponents, kind_x)), [n])
    y, y_val = np.split(draw(arrays(n + n_val, e, exponents, kind_y)), [n])
    parts = [laid_out(array, layout) for array in (x, y, x_val, y_val)]
    if e == 1 and draw(st.booleans()):
        parts[1], parts[3] = parts[1][:, 0], parts[3][:, 0]  # flat labels
    return Table(*parts)


@contextmanager
def nothing_changes(table: Table) -> Iterator[None]:
    """Arrays keep their bits, and the global generators their states."""

    def state() -> tuple[Any, ...]:
        numpy = np.random.get_state()  # noqa: NPY002
        bits = [(array.tobytes(), array.dtype, array.shape, array.strides, array.flags.writeable) for array in table]
        return bits, random.getstate(), numpy[1].tobytes(), numpy[2:], torch.random.get_rng_state().numpy().tobytes()

    before = state()
    yield
    assert state() == before


def check_step(envs: Any, observation: np.ndarray, reward: Any, info: dict[str, Any]) -> None:
    assert observation in envs.observation_space
    assert np.isfinite(observation).all()
    assert np.isfinite(reward).all()
    assert np.isfinite(np.asarray(info["val_loss"], dtype=np.float64)).all()
    assert np.isfinite(np.asarray(info["val_rmse"], dtype=np.float64)).all()


@st.composite
def env_settings(draw: st.DrawFn, n: int) -> dict[str, Any]:
    """Options with k at its limit n - 1, and other settings that change a reward."""
    every = [("data", n - 1), ("label", n - 1), ("all", 0), *([("data", 1), ("label", 1)] if n > 2 else [])]
    lam = np.random.default_rng(draw(st.integers(0, 99))).random((n, n))
    schedule, pretrained, step_budget = draw(st.sampled_from(TRAININGS))
    return {
        "options": draw(st.lists(st.sampled_from(every), min_size=1, unique=True)),
        "observe": draw(st.sampled_from([("x", "y", "option"), ("x", "y", "option", "distances"), ("option",)])),
        "lam": draw(st.sampled_from([0.0, 0.5, 1.0, ("beta", 0.2), lam])),
        "batch_rows": draw(st.sampled_from([None, 1, n])),
        "standardize_labels": draw(st.booleans()),
        "schedule": schedule,
        "pretrained": pretrained,
        "step_budget": step_budget,
        "regressor": REGRESSOR | {"layer_norm": draw(st.booleans()), "dtype": draw(st.sampled_from(["float32", "float64"]))},
    }


@quick
@given(data=st.data(), table=tables(), horizon=st.integers(1, 2))
def test_rewards_are_finite_and_nothing_outside_changes(data: st.DataObject, table: Table, horizon: int) -> None:
    chosen = data.draw(env_settings(len(table.x)))
    with nothing_changes(table):
        env = MixRLEnv(RegressionData(*table), horizon=horizon, **chosen)
        observation, _ = env.reset(seed=0)
        assert observation in env.observation_space
        for _ in range(horizon):
            mask = np.array(data.draw(st.lists(st.booleans(), min_size=env.problem.num_rows, max_size=env.problem.num_rows)))
            kept = mask.copy()
            observation, reward, _, _, info = env.step(mask)
            check_step(env, observation, reward, info)
            assert np.array_equal(mask, kept)


@quick
@given(data=st.data(), table=tables(exponents=ENDS), count=st.integers(1, 3))
def test_so_are_those_of_many_environments_and_the_same_as_of_one(data: st.DataObject, table: Table, count: int) -> None:
    chosen = data.draw(env_settings(len(table.x)))
    with nothing_changes(table):
        envs = MixRLVectorEnv(count, data=RegressionData(*table), **chosen)
        envs.reset(seed=5)
        masks = np.ones((count, envs.problem.num_rows), dtype=np.int8)
        observation, rewards, _, _, info = envs.step(masks)
        check_step(envs, observation, rewards, info["final_info"])
        one = MixRLEnv(RegressionData(*table), **chosen)
        one.reset(seed=5)
        assert one.step(masks[0])[1] == pytest.approx(rewards[0], rel=1e-4)


@pytest.mark.usefixtures("small_networks")
@fewer
@given(table=tables(fewest=4), tree=st.booleans(), cv=st.sampled_from([2, 3, 9]))
def test_a_sampler_keeps_the_rows_and_adds_finite_ones(table: Table, tree: bool, cv: int) -> None:
    assume((table.y != table.y[0]).any() and len(np.unique(np.column_stack([table.x, table.y]), axis=0)) > 2)
    model = DecisionTreeRegressor(random_state=0) if tree else LinearRegression()
    with nothing_changes(table):
        x, y = MixRLSampler(model, cv=cv, random_state=0).fit_resample(table.x, table.y)
        n = len(table.x)
        np.testing.assert_array_equal(x[:n], table.x.astype(np.float64))
        np.testing.assert_array_equal(y[:n], table.y.astype(np.float64))
        assert len(x) == len(y)
        assert x.dtype == y.dtype == np.float64
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()
        assert y.shape[1:] == table.y.shape[1:]


@pytest.mark.usefixtures("small_networks")
@fewer
@given(table=tables(fewest=4), given_rows=st.booleans())
def test_a_regressor_predicts_finite_labels(table: Table, given_rows: bool) -> None:
    assume((table.y != table.y[0]).any() and len(np.unique(np.column_stack([table.x, table.y]), axis=0)) > 2)
    judged_on = {"X_val": table.x_val, "y_val": table.y_val} if given_rows else {}
    with nothing_changes(table):
        model = MixRLRegressor(DecisionTreeRegressor(random_state=0), cv=2, random_state=0)
        predicted = model.fit(table.x, table.y, **judged_on).predict(table.x_val)
        assert predicted.shape == table.y_val.shape
        assert np.isfinite(predicted).all()
        assert np.isfinite(model.report_["rmse"]).all()

"""The search for a plan: the choice by held-out errors against loops, folds, the pairs of plans, and the time budget."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLRegressor, MixRLSampler
from mixrl.estimators import search
from mixrl.estimators.folds import deal, in_parts
from mixrl.estimators.models import Clones, Networks
from mixrl.estimators.rows import Rows
from mixrl.estimators.search import POLICY, Planner, judge
from mixrl_env.plans import NO_MIXING
from tests.test_estimators import pairs_of

pytestmark = pytest.mark.usefixtures("small_networks")
TREE = DecisionTreeRegressor(random_state=0)
PLANS = (NO_MIXING, "a", "b", "c")


def rows_of(x: np.ndarray, y: np.ndarray, groups: Any = None) -> Rows:
    kinds, whole = np.zeros(len(x), dtype=np.int64), np.zeros(x.shape[1] + 1, dtype=bool)
    return Rows.ordered(x, y[:, None], None, groups, kinds, whole)


# The choice


def errors_of(seed: int, rows: int = 30) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Squared errors of plans that gain a little or nothing, blocks, groups within blocks, and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=rows)
    errors = {name: (common + 0.4 * rng.normal(size=rows) * rng.uniform()) ** 2 * rng.uniform(0.8, 1.1) for name in PLANS}
    weights = rng.uniform(size=rows) * (rng.uniform(size=rows) < 0.8)
    return errors, np.arange(rows) * 3 // rows, np.arange(rows) * 12 // rows, weights


def gain_by_hand(before: list[float], after: list[float], groups: list[int], weights: list[float]) -> tuple[float, float]:
    """Share of the RMSE that is gained; and by the derivative of the ratio of two sums, what a group moves it."""
    total_before = sum(w * e for w, e in zip(weights, before, strict=True))
    total_after = sum(w * e for w, e in zip(weights, after, strict=True))
    ratio, squares = (total_after / total_before) ** 0.5, 0.0
    for group in (every := set(groups)):
        own = [row for row, one in enumerate(groups) if one == group]
        moved = sum(weights[row] * (after[row] / total_after - before[row] / total_before) for row in own)
        squares += (ratio / 2 * moved) ** 2
    return 1 - ratio, (squares * len(every) / (len(every) - 1)) ** 0.5


def expected(gain: float, error: float) -> tuple[float, float]:
    """On new rows: a part of it arrives, with two independent doubts."""
    return search._KEPT * gain, ((search._KEPT * error) ** 2 + search._BETWEEN**2) ** 0.5


def best_by_hand(errors: dict[str, np.ndarray], rows: list[int], groups: np.ndarray, weights: np.ndarray) -> str:
    best, most = NO_MIXING, 0.0
    for name in PLANS[1:]:
        parts = (values[rows].tolist() for values in (errors[NO_MIXING], errors[name], groups, weights))
        gain, error = expected(*gain_by_hand(*parts))
        if gain - search._CERTAIN * error > most:
            best, most = name, gain - search._CERTAIN * error
    return best


@pytest.mark.parametrize(("seed", "weighted"), [*itertools.product(range(6), [True, False])])
def test_judge_by_hand(seed: int, weighted: bool) -> None:
    """Each block by what the others choose; rows without weight are as if they were not there."""
    errors, blocks, groups, weights = errors_of(seed)
    weights = weights if weighted else np.ones(30)
    table, chosen, gain = judge(errors, blocks, groups, weights if weighted else None)
    rows = [row for row in range(30) if weights[row] > 0]
    assert chosen == best_by_hand(errors, rows, groups, weights)
    nested = []
    for row in rows:
        others = [other for other in rows if blocks[other] != blocks[row]]
        nested.append(float(errors[best_by_hand(errors, others, groups, weights)][row]))
    own = [values[rows].tolist() for values in (errors[NO_MIXING], groups, weights)]
    mean, error = 0.0, 0.0
    if chosen != NO_MIXING:
        had, doubt = gain_by_hand(own[0], nested, *own[1:])
        mean, error = expected(had, doubt)
        error = (error**2 + (search._VARIES * had) ** 2) ** 0.5  # the share that arrives differs between tables
    assert gain == pytest.approx((mean, mean - search._COVER * error, mean + search._COVER * error))
    assert list(table.loc[table["chosen"], "plan"]) == [chosen]
    for name, one in table.set_index("plan").iterrows():
        squared = errors[str(name)][rows]
        assert one["rmse"] == pytest.approx(np.average(squared, weights=own[2]) ** 0.5)
        assert (one["gain"], one["standard_error"]) == pytest.approx(gain_by_hand(own[0], squared.tolist(), *own[1:]))
    hidden = {name: np.where(weights > 0, error, np.inf) for name, error in errors.items()}
    pd.testing.assert_frame_equal(judge(hidden, blocks, groups, weights)[0], table)


def test_both_answers_are_tested_by_hand() -> None:
    assert {judge(*errors_of(seed))[1] == NO_MIXING for seed in range(6)} == {True, False}


@pytest.mark.parametrize("weighted", [True, False])
def test_standard_error_is_that_of_a_jackknife(weighted: bool) -> None:
    errors, blocks, _, weights = errors_of(3, 600)
    weights, groups = weights + 0.1 if weighted else np.ones(600), np.arange(600) // 3
    table = judge(errors, blocks, groups, weights)[0].set_index("plan")
    for name in PLANS[1:]:
        left_out = []
        for group in range(200):
            kept = groups != group
            ratio = weights[kept] @ errors[name][kept] / (weights[kept] @ errors[NO_MIXING][kept])
            left_out.append(1 - ratio**0.5)
        jackknife = (199 / 200 * np.square(np.array(left_out) - np.mean(left_out)).sum()) ** 0.5
        assert table.loc[name, "standard_error"] == pytest.approx(jackknife, rel=0.1)


@pytest.mark.filterwarnings("error")
def test_predictions_that_are_not_finite() -> None:
    errors, blocks, groups, weights = errors_of(0)
    errors["a"], errors["b"] = errors[NO_MIXING] / 100, np.append(errors[NO_MIXING][:-1] / 1000, np.nan)
    weights[-1] = 1
    assert judge(errors, blocks, groups, weights)[1] == "a"
    infinite = np.append(errors["c"][:-1], np.inf)
    assert judge({NO_MIXING: infinite, "b": infinite, "c": errors["c"]}, blocks, groups, weights)[1] == "c"
    with pytest.raises(ValueError, match="not finite with any plan"):
        judge({NO_MIXING: infinite, "b": infinite}, blocks, groups, weights)


@pytest.mark.parametrize("errors", [np.ones(9), np.zeros(9), np.r_[np.zeros(8), 1.0]])
def test_what_gains_nothing_is_not_mixed(errors: np.ndarray) -> None:
    for blocks, groups in ((np.arange(9) // 3, np.arange(9)), (np.arange(9) // 3, np.zeros(9, dtype=int))):
        _, chosen, gain = judge({NO_MIXING: errors, "a": errors * (1 - 1e-12)}, blocks, groups, None)
        assert (chosen, gain) == (NO_MIXING, (0.0, 0.0, 0.0))


# Folds


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=6, max_size=30),
    numbers=st.lists(st.integers(0, 9), min_size=30, max_size=30),
    count=st.integers(2, 9),
    grouped=st.booleans(),
)
def test_groups_and_duplicates_are_on_one_side_of_every_fold(
    values: list[tuple[int, int]], numbers: list[int], count: int, grouped: bool
) -> None:
    x, y, groups = np.array(values, dtype=float)[:, :1], np.array(values, dtype=float)[:, 1], np.array(numbers[: len(values)])
    rows = rows_of(x, y, groups if grouped else None)
    together = [
        (i, j)
        for i, j in itertools.combinations(range(len(values)), 2)
        if values[rows.order[i]] == values[rows.order[j]] or (grouped and groups[rows.order[i]] == groups[rows.order[j]])
    ]
    assert all(rows.groups[i] == rows.groups[j] for i, j in together)
    if (different := len(set(rows.groups))) < 3:
        with pytest.raises(ValueError, match=f"found {different} different rows or groups"):
            deal(rows, count, 0)
        return
    for cv in (count, LeaveOneGroupOut()):
        folds = deal(rows, cv, 0)
        assert len(folds) == (min(count, different) if cv == count else different)
        assert sorted(np.concatenate([fold.held for fold in folds])) == list(range(len(values)))
        for seen, held in folds:
            assert sorted([*seen, *held]) == list(range(len(values)))
            assert not [pair for pair in together if len(set(pair) & {*held}) == 1]
    sizes = [len(part) for part in in_parts(rows.groups, np.arange(len(rows)), 2, np.random.default_rng(0))]
    assert max(sizes) - min(sizes) <= np.bincount(rows.groups).max()


# Plans


@pytest.mark.parametrize("count", [30, 70])
def test_pairs_of_every_plan_by_loops(count: int) -> None:
    """Of a part of the rows, the others left out; kinds are not mixed with each other."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 3)), rng.normal(size=90)
    kinds, whole = rng.integers(0, 2, 90), np.zeros(4, dtype=bool)
    rows = Rows.ordered(x, y[:, None], None, None, kinds, whole)
    own = np.sort(rng.choice(90, count, replace=False))
    planner = Planner(rows, own)
    names = planner.names()
    assert names[0] == NO_MIXING
    assert POLICY in names
    for name in names:
        plan = planner.table(planner.plan(name))
        assert set(plan["row"]) <= set(own)
        place = {row: number for number, row in enumerate(own)}
        expected = pairs_of(rows.x[own], rows.y[own], plan.assign(row=[place[row] for row in plan["row"]]))
        expected = [(own[i], own[j]) for i, j in expected if rows.kinds[own[i]] == rows.kinds[own[j]]]
        assert planner.pairs(planner.plan(name)).tolist() == [list(pair) for pair in expected]
        space, _, k = name.partition(", k = ")
        if k:
            assert set(zip(plan["space"], plan["k"], strict=True)) == {
                (one, int(k)) for one in ("data", "label") if space in (one, "both")
            }
            assert len(plan) == count * (2 if space == "both" else 1)


def test_models_of_several_plans_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    rows, own = rows_of(x, x @ [1.0, 2.0]), np.arange(30)
    planner = Planner(rows, own)
    plans = [planner.pairs(planner.plan(name)) for name in (NO_MIXING, "both, k = 4")]
    for models in (Networks(0, 2), Clones(Ridge(), 0, np.asarray, None)):
        together = models.fit(rows, own, plans, 0)
        for model, plan in zip(together, plans, strict=True):
            (alone,) = models.fit(rows, own, [plan], 0)
            np.testing.assert_allclose(model(rows.x), alone(rows.x), rtol=1e-4, atol=1e-4)
        i, j = plans[1].T
        mixed = [np.concatenate([values[own], (values[i] + values[j]) / 2]) for values in (rows.x, rows.y[:, 0])]
    np.testing.assert_allclose(together[1](rows.x)[:, 0], Ridge().fit(*mixed).predict(rows.x))


# Tables


def periodic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact labels that jump: between rows lies something else."""
    x = np.random.default_rng(seed).uniform(0, 1, (100, 1))
    return x, np.sign(np.sin(12 * np.pi * x[:, 0]))


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A plane with noise: mixing averages it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(100, 4))
    return x, x @ [1, -1, 0.5, 2] + rng.normal(size=100)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_mixes_where_that_helps_only(seed: int) -> None:
    model = MixRLRegressor(TREE, cv=3, random_state=seed)
    assert (model.fit(*periodic(seed)).chosen_, model.gain_, len(model.parents_)) == (NO_MIXING, (0, 0, 0), 0)
    assert model.fit(*noisy(seed)).chosen_ != NO_MIXING
    assert model.gain_.high > 0
    x, y = noisy(seed + 10)  # the promise is kept on new rows
    without = TREE.fit(*noisy(seed)).predict(x)
    assert np.square(model.predict(x) - y).mean() < np.square(without - y).mean()


def test_held_out_rows_are_predicted_by_models_that_have_not_seen_them() -> None:
    x, y = noisy(0)
    groups = np.random.default_rng(0).permutation(np.arange(100) % 4)
    held = MixRLSampler(TREE, cv=LeaveOneGroupOut(), random_state=0).fit(x, y, groups=groups).held_out_
    for group in range(4):
        seen = np.flatnonzero(groups != group)
        seen = seen[np.lexsort(x[seen].T)]  # as the estimators sort rows
        expected = TREE.fit(x[seen], y[seen]).predict(x[groups == group])
        np.testing.assert_array_equal(held[NO_MIXING][groups == group, 0], expected)
    assert held["row"].tolist() == list(range(100))


# The time budget


def timed(seconds: float | None, estimator: object) -> tuple[list[str], set[str], pd.DataFrame]:
    words: list[str] = []
    model = MixRLSampler(estimator, cv=3, time_budget=seconds, random_state=0, verbose=lambda _, said: words.append(said)).fit(
        *noisy(0)
    )
    return list(model.report_["plan"]), {said for said in words if "fold" in said}, model.report_


@pytest.mark.parametrize("estimator", [None, LinearRegression()], ids=["networks", "plane"])
def test_less_time_is_fewer_plans_in_fewer_folds(estimator: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()  # every look at the clock is a second later
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    least, some, enough, endless = (timed(seconds, estimator) for seconds in (0.01, 15, 10_000, None))
    assert len(least[0]) == 2  # at least one comparison
    assert len(least[0]) < len(some[0]) < len(enough[0])
    assert least[0] == enough[0][:2]
    assert (len(least[1]), len(enough[1])) == (1, 3)
    assert least[1] <= some[1] <= enough[1]
    assert enough[0] == endless[0]
    if estimator is not None:
        pd.testing.assert_frame_equal(enough[2], endless[2])

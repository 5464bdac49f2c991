"""From probabilities to the augmented training set, one row and one pair at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixrl_env import FittedRegressors, MixingProblem, ProblemConfig, RegressionData, RegressorConfig
from mixrl_env.plans import (
    apply_plan,
    best_options,
    candidate_plans,
    choose_plan,
    options_above,
    sample_options,
    threshold_candidates,
)

OPTIONS = (("data", 1), ("label", 2), ("data", 3), ("all", 0), ("label", 1))
REGRESSOR = RegressorConfig(
    hidden_sizes=(16, 16), learning_rate=1e-2, batch_size=8, eval_every=20, patience=5, max_steps=600, device="cpu"
)


def make_problem(**changes: Any) -> MixingProblem:
    """12 training rows, 2 features, 2 targets."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    data = RegressionData.from_table(x, y, sizes=(12, 8, 0), split_seed=0)
    return MixingProblem(data, ProblemConfig.from_settings({"options": OPTIONS, "regressor": REGRESSOR} | changes))


PROBLEM = make_problem()


def make_plan(*rows: tuple[int, str, int]) -> pd.DataFrame:
    """A plan from (row, space, k)."""
    return pd.DataFrame(
        {"row": [row for row, _, _ in rows], "space": [space for _, space, _ in rows], "k": [k for _, _, k in rows]}
    )


def slow_mixed_rows(problem: MixingProblem, plan: pd.DataFrame) -> list[tuple[float, ...]]:
    """Mixed features and labels of a plan at lambda 0.5, each row once, in the order of its first appearance."""
    x, y = problem.x_train, problem.data.y_train
    labels = problem.data.standardize_y(y)
    mixed: dict[tuple[float, ...], None] = {}
    for row, space, k in zip(plan["row"].tolist(), plan["space"].tolist(), plan["k"].tolist(), strict=True):
        neighbors = [j for j in range(len(x)) if j != row]
        if space != "all":
            points = x if space == "data" else labels
            neighbors = sorted(neighbors, key=lambda j, p=points, r=row: (math.dist(p[r], p[j]), j))[:k]
        for j in neighbors:
            mixed[(*(0.5 * x[row] + 0.5 * x[j]).tolist(), *(0.5 * y[row] + 0.5 * y[j]).tolist())] = None
    return list(mixed)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 4))
def test_best_options_against_a_loop(seed: int, levels: int) -> None:
    # Few levels: ties abound, and the option that is listed first must win them.
    probabilities = np.random.default_rng(seed).integers(0, levels, size=(12, len(OPTIONS))) / 4
    expected = []
    for row in range(12):
        for space in ("data", "label", "all"):
            members = [index for index, option in enumerate(OPTIONS) if option[0] == space]
            best = max(members, key=lambda index, r=row: (probabilities[r, index], -index))
            expected.append((row, space, OPTIONS[best][1], probabilities[row, best]))
    plan = best_options(PROBLEM, probabilities)
    assert list(plan.columns) == ["row", "space", "k", "probability"]
    assert list(plan.itertuples(index=False, name=None)) == expected  # ordered by row, one option a row and space


@settings(deadline=None, derandomize=True, max_examples=100)
@given(entries=st.lists(st.tuples(st.integers(0, 11), st.sampled_from(OPTIONS)), min_size=1, max_size=30))
def test_apply_plan_mixes_exactly_the_neighbours_of_a_plan(entries: list[tuple[int, tuple[str, int]]]) -> None:
    plan = make_plan(*((row, *option) for row, option in entries))
    x, y = apply_plan(PROBLEM, plan, np.random.default_rng(0))
    assert np.array_equal(x[:12], PROBLEM.x_train)  # the training rows come first
    assert np.array_equal(y[:12], PROBLEM.data.y_train)
    assert list(map(tuple, np.concatenate([x, y], axis=1)[12:].tolist())) == slow_mixed_rows(PROBLEM, plan)


def test_apply_plan_drops_mixed_rows_that_occur_twice() -> None:
    everything = make_plan(*((row, "all", 0) for row in range(12)))
    x, y = apply_plan(PROBLEM, everything, np.random.default_rng(0))
    assert len(x) == len(y) == 12 + 12 * 11 / 2  # at lambda 0.5 the pairs (i, j) and (j, i) coincide
    x, _ = apply_plan(make_problem(lam=0.25), everything, np.random.default_rng(0))
    assert len(x) == 12 + 12 * 11  # at another lambda they do not


def test_apply_plan_draws_beta_ratios_from_its_generator() -> None:
    problem, plan = make_problem(lam=("beta", 0.5)), make_plan((0, "data", 3), (1, "all", 0))
    first, again, other = (apply_plan(problem, plan, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert len(first) == len(other) == 12 + 14
    assert not np.any(first[12:] == other[12:])


@pytest.mark.parametrize("count", [1, 4, 10])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_thresholds_go_from_everything_to_nothing(levels: int, count: int) -> None:
    probabilities = pd.Series(np.random.default_rng(0).permutation(50) % levels / levels)
    thresholds = threshold_candidates(probabilities, count)
    kept = [int((probabilities >= threshold).sum()) for threshold in thresholds]
    assert kept[0] == 50
    assert kept[-1] == 0
    assert thresholds == sorted(set(thresholds))  # none twice
    assert kept == sorted(set(kept), reverse=True)  # and none that keeps what another keeps
    assert len(thresholds) == min(count, levels) + 1
    assert thresholds[-1] > 1  # beyond every probability, 1.0 included
    if levels == 1000:  # no ties: every share is met to a row
        np.testing.assert_allclose(kept[:-1], 50 * (1 - np.arange(count) / count), atol=1)


def test_candidate_plans_by_name() -> None:
    """Each against the rows that its name promises; the seed of the drawn plans is the caller's."""
    problem = make_problem(options=[("data", 1), ("label", 1), ("data", 4), ("label", 4), ("data", 2)])
    p = np.random.default_rng(0).uniform(size=(12, 5))
    best, rng = best_options(problem, p), np.random.default_rng(1)

    def draw(probabilities: np.ndarray) -> list[pd.DataFrame]:
        return [sample_options(problem, probabilities, rng) for _ in range(2)]

    plans = candidate_plans(problem, p, {"all": 0.0, "T = 0.9": 0.9}, draw, every_pair=True)
    alike = [f"{spaces}, k alike" for spaces in ("data distance", "label distance", "both distances")]
    assert list(plans) == ["no mixing", "every pair", "k = 1", "k = 4", *alike, "all", "T = 0.9"]  # k = 2 lacks labels
    assert [len(plans[name]) for name in plans] == [1, 1, 1, 1, 2, 2, 2, 2, 2]
    everything = make_plan(*((row, "all", 0) for row in range(12)))
    (every_pair,), (four,) = plans["every pair"], plans["k = 4"]
    assert len(plans["no mixing"][0]) == 0
    pd.testing.assert_frame_equal(every_pair[["row", "space", "k"]], everything)
    pd.testing.assert_frame_equal(four, best.assign(k=4))
    rng = np.random.default_rng(1)
    for drawn, name in zip((draw(np.full((12, 5), 0.5)), draw(p)), (alike[2], "all"), strict=True):
        for one, other in zip(drawn, plans[name], strict=True):
            pd.testing.assert_frame_equal(one, other)
    assert all((plan["space"] == "data").all() and len(plan) == 12 for plan in plans[alike[0]])
    assert all(len(plan) == (best["probability"] >= 0.9).sum() for plan in plans["T = 0.9"])
    short = candidate_plans(problem, p, {"T = 0.9": 0.9}, None, every_pair=False)
    assert list(short) == ["no mixing", "k = 1", "k = 4", "T = 0.9"]
    pd.testing.assert_frame_equal(short["T = 0.9"][0], best[best["probability"] >= 0.9])


def test_choose_plan_takes_the_lowest_mean_validation_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, FittedRegressors]] = []
    plans = [make_plan((0, "all", 0)), make_plan(*((row, "data", 3) for row in range(12))), make_plan(), make_plan()]
    problem = make_problem(step_budget=5)  # a budget of the rewards is not one of the choice
    fit = problem.fit

    def watched(jobs: Any, rngs: Any) -> FittedRegressors:
        calls.append((jobs, fit(jobs, rngs)))
        return calls[-1][1]

    monkeypatch.setattr(problem, "fit", watched)
    choice = choose_plan(problem, [[plan] for plan in plans], repeats=3, seed=4)

    [(jobs, fitted)] = calls  # all trainings at once, and from scratch
    assert fitted.config == REGRESSOR
    assert fitted.labels is problem.labels
    expected = [np.concatenate([problem.x_train, problem.data.y_train], axis=1).tolist()] * 4
    expected = [rows + list(map(list, slow_mixed_rows(problem, plan))) for rows, plan in zip(expected, plans, strict=True)]
    assert [np.concatenate(job, axis=1).tolist() for job in jobs] == [rows for rows in expected for _ in range(3)]
    mean_loss = [fitted.val_loss[3 * plan : 3 * plan + 3].mean() for plan in range(4)]
    assert len(set(mean_loss[:3])) == 3
    assert choice.kept == [np.argmin(mean_loss)]
    assert np.concatenate(choice.sets[0], axis=1).tolist() == expected[choice.kept[0]]
    assert choice.num_rows == [len(rows) for rows in expected]
    assert choice.trainings == 12
    np.testing.assert_allclose(choice.val_rmse, np.sqrt(fitted.val_loss).reshape(4, 3))
    # Repeat r has its own random numbers, the same for every plan: equal plans get equal losses.
    np.testing.assert_allclose(choice.val_rmse[2], choice.val_rmse[3], rtol=1e-4)
    assert len(set(choice.val_rmse[2])) == 3


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([[1.0, 10.0], [4.0, 4.0]], 1),  # neither the single lowest loss nor the last repeat decides
        ([[4.0, 4.0], [10.0, 1.0]], 0),
        ([[3.0, 1.0], [1.0, 3.0]], 0),  # of equal plans the first
        ([[np.inf, 1.0], [4.0, 4.0]], 1),
        ([[np.nan, 1.0], [4.0, 4.0]], 1),  # without patience the loss of a diverged training is not a number
    ],
)
def test_choose_plan_compares_means(monkeypatch: pytest.MonkeyPatch, losses: list[list[float]], best: int) -> None:
    problem = make_problem()
    fit = problem.fit

    def with_losses(*arguments: Any) -> FittedRegressors:
        return replace(fit(*arguments), val_loss=np.ravel(losses), diverged=~np.isfinite(np.ravel(losses)))

    monkeypatch.setattr(problem, "fit", with_losses)
    choice = choose_plan(problem, [[make_plan((0, "data", 1))], [make_plan((0, "all", 0))]], repeats=2, seed=0)
    assert choice.kept == [best]
    assert len(choice.sets[0][0]) == choice.num_rows[best] == (13, 23)[best]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 5))
def test_options_above_a_threshold_are_the_best_options_without_the_rest(seed: int, levels: int) -> None:
    scores = np.random.default_rng(seed).integers(0, levels + 1, size=(12, len(OPTIONS))) / levels
    plan = best_options(PROBLEM, scores)
    kept = plan[plan["probability"] > 0.5]
    expected = {
        (row, PROBLEM.options.index((space, k))) for row, space, k in zip(kept["row"], kept["space"], kept["k"], strict=True)
    }
    found = options_above(PROBLEM, scores, 0.5)
    assert {*zip(found.rows.tolist(), found.options.tolist(), strict=True)} == expected
    assert len(found.rows) == len(kept)

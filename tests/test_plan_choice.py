"""Plans drawn from a policy, and the choice among candidates that the validation rows can hardly tell apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mixrl_env import FittedRegressors, MixingProblem, ProblemConfig, RegressionData
from mixrl_env.plans import Rule, apply_plan, best_options, choose, choose_plan, sample_options
from tests.test_plans import OPTIONS, PROBLEM, make_plan


def draw(probabilities: np.ndarray, seed: int = 0, problem: MixingProblem = PROBLEM) -> pd.DataFrame:
    return sample_options(problem, probabilities, np.random.default_rng(seed))


def many_rows(options: list[tuple[str, int]], n: int = 4000) -> MixingProblem:
    """As many draws as rows."""
    x = np.random.default_rng(0).normal(size=(n, 1))
    data = RegressionData(x, x, x[:1], x[:1])
    return MixingProblem(data, ProblemConfig.from_settings({"options": options}))


@pytest.fixture(scope="module")
def crowd() -> MixingProblem:
    return many_rows([("data", 1), ("label", 3), ("data", 2), ("data", 4), ("label", 1)])


def chances_given_exactly_one(p: list[float]) -> list[float]:
    """All outcomes of independent coins, one an option, of which those with a single success are kept."""
    chances = [0.0] * len(p)
    for coins in product((0, 1), repeat=len(p)):
        if sum(coins) == 1:
            chances[coins.index(1)] = float(np.prod([q if coin else 1 - q for q, coin in zip(p, coins, strict=True)]))
    return [chance / sum(chances) for chance in chances]


@pytest.mark.parametrize(
    "p", [(0.2, 0.5, 0.7), (0.5, 0.5, 0.5), (0.9, 0.99, 0.6), (0.01, 0.03, 0.02), (0.0, 0.3, 0.8)], ids=str
)
def test_options_are_drawn_as_often_as_the_policy_selects_just_that_one(p: tuple[float, ...], crowd: MixingProblem) -> None:
    labels = (0.9, 0.3)  # of the other space, which must not matter
    plan = draw(np.tile([p[0], labels[0], p[1], p[2], labels[1]], (4000, 1)), problem=crowd)
    for space, ks, of_space in (("data", (1, 2, 4), p), ("label", (3, 1), labels)):
        counts = Counter(plan.loc[plan["space"] == space, "k"])
        chances = chances_given_exactly_one(list(of_space))
        for k, chance in zip(ks, chances, strict=True):
            error = (4000 * chance * (1 - chance)) ** 0.5
            assert abs(counts[k] - 4000 * chance) <= 4 * error
        assert sum(counts.values()) == 4000


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 5))
def test_sampled_plans_look_like_those_of_the_best_options(seed: int, levels: int) -> None:
    """One option a row and space; the probability is the best option's, so that a threshold keeps the same rows."""
    probabilities = np.random.default_rng(seed).integers(0, levels + 1, size=(12, len(OPTIONS))) / levels
    plan, best = draw(probabilities, seed), best_options(PROBLEM, probabilities)
    assert list(plan.columns) == ["row", "space", "k", "probability"]
    pd.testing.assert_frame_equal(plan.drop(columns="k"), best.drop(columns="k"))
    assert plan["k"].dtype == best["k"].dtype
    assert set(zip(plan["space"], plan["k"], strict=True)) <= set(OPTIONS)
    x, _ = apply_plan(PROBLEM, plan, np.random.default_rng(0))
    assert len(x) > 12


def slow_within(errors: list[list[float]]) -> list[int]:
    """The definition in whole numbers: nothing is rounded."""
    finite = [candidate for candidate, row in enumerate(errors) if all(np.isfinite(row))]
    if not finite:
        return [0]
    best = min(finite, key=lambda candidate: (sum(errors[candidate]), candidate))
    within = []
    for candidate in finite:
        d = [int(ours - theirs) for ours, theirs in zip(errors[candidate], errors[best], strict=True)]
        n, total, squares = len(d), sum(d), sum(one * one for one in d)
        # mean <= standard error, squared: total^2 / n^2 <= (squares - total^2 / n) / (n - 1) / n
        if total * total * (n - 1) <= n * squares - total * total:
            within.append(candidate)
    return within


@st.composite
def tables_of_errors(draw_one: st.DrawFn) -> list[list[float]]:
    n = draw_one(st.integers(2, 7))
    row = st.one_of(
        st.lists(st.integers(0, 6), min_size=n, max_size=n),
        st.just([np.inf] * n),
        st.lists(st.sampled_from([0, 3, np.inf]), min_size=n, max_size=n),
    )
    return draw_one(st.lists(row, min_size=1, max_size=6))


def near_the_border(errors: list[list[float]]) -> bool:
    """Whether rounding may decide: some candidate's mean is just one standard error above the best."""
    table = np.array(errors, dtype=float)
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        return False
    d = table - table[table.mean(axis=1).argmin()]
    mean, error = d.mean(axis=1), d.std(axis=1, ddof=1) / d.shape[1] ** 0.5
    return bool((np.isclose(mean, error, rtol=1e-9, atol=0) & (mean > 0)).any())


@settings(deadline=None, derandomize=True, max_examples=250)
@given(tables_of_errors())
def test_within_one_standard_error_against_a_loop(errors: list[list[float]]) -> None:
    assume(not near_the_border(errors))
    assert sorted(choose(np.array(errors, dtype=float), "average")) == slow_within(errors)


def with_predictions(
    monkeypatch: pytest.MonkeyPatch, problem: MixingProblem, offsets: list[Any], val_loss: list[float] | None = None
) -> None:
    """Regressors whose predictions are off by given amounts on the validation rows."""

    class Fixed(FittedRegressors):
        def predict(self, x: np.ndarray) -> np.ndarray:
            assert np.array_equal(x, problem.x_val)
            return problem.data.y_val + np.array(offsets, dtype=float)

    def fitted(sets: Any, rngs: Any) -> FittedRegressors:
        real = MixingProblem.fit(problem, sets, rngs, replace(problem.config.regressor, max_steps=1))
        loss = np.square(np.array(offsets, dtype=float)).mean(axis=(1, 2)) if val_loss is None else np.array(val_loss)
        return Fixed(**vars(real) | {"val_loss": loss, "diverged": ~np.isfinite(loss)})

    monkeypatch.setattr(problem, "fit", fitted)


def row_offsets(*by_row: float) -> np.ndarray:
    """The same offset for both targets of each of the 8 validation rows."""
    return np.tile(np.array(by_row)[:, None], (1, 2))


SOME = [[make_plan()], [make_plan((0, "data", 1))]]
RULES: tuple[Rule, ...] = ("lowest", "average")


def kept_by(rule: Rule, candidates: list[list[pd.DataFrame]], repeats: int) -> list[int]:
    return choose_plan(PROBLEM, candidates, repeats, 0, rule).kept


def test_the_standard_error_is_of_the_mean_prediction_of_the_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two regressors that err to either side are perfect together, and beat two that err a little to the same side."""
    either_side = [row_offsets(*[3.0] * 8), row_offsets(*[-3.0] * 8)]
    one_side = [row_offsets(*[1.0] * 8)] * 2
    with_predictions(monkeypatch, PROBLEM, one_side + either_side)
    assert [kept_by(rule, SOME, 2) for rule in RULES] == [[0], [1]]


def test_few_rows_that_make_the_difference_leave_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    simple = row_offsets(1, 1, 1, 1, 1, 1, 0, 3)  # squares worse by 7/8 on average, its standard error is 1.03
    better = row_offsets(1, 1, 1, 1, 1, 1, 1, 1)
    with_predictions(monkeypatch, PROBLEM, [simple, better])
    assert [kept_by(rule, SOME, 1) for rule in RULES] == [[1], [1, 0]]  # the best first
    with_predictions(monkeypatch, PROBLEM, [better, simple])
    assert [kept_by(rule, SOME, 1) for rule in RULES] == [[0], [0, 1]]
    with_predictions(monkeypatch, PROBLEM, [row_offsets(*[3.0] * 8), better])
    assert [kept_by(rule, SOME, 1) for rule in RULES] == [[1], [1]]


def test_diverged_candidates_are_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = row_offsets(*[0.0] * 8), row_offsets(*[5.0] * 8)
    with_predictions(monkeypatch, PROBLEM, [good, good, bad, bad], val_loss=[1.0, np.nan, 25.0, 25.0])
    assert [kept_by(rule, SOME, 2) for rule in RULES] == [[1], [1]]
    with_predictions(monkeypatch, PROBLEM, [good, good * np.nan, bad, bad], val_loss=[1.0, np.inf, 25.0, 25.0])
    assert [kept_by(rule, SOME, 2) for rule in RULES] == [[1], [1]]
    with_predictions(monkeypatch, PROBLEM, [good] * 4, val_loss=[np.inf] * 4)
    assert [kept_by(rule, SOME, 2) for rule in RULES] == [[0], [0]]


def test_a_single_validation_row_has_no_standard_error() -> None:
    """Then the lowest loss wins under every rule."""
    data = PROBLEM.data
    alone = RegressionData(data.x_train, data.y_train, data.x_val[:1], data.y_val[:1])
    problem = MixingProblem(alone, PROBLEM.config)
    candidates = [[make_plan((row, "all", 0))] for row in range(3)]
    for rule in RULES:
        choice = choose_plan(problem, candidates, 1, 0, rule)
        assert choice.kept == [int(choice.val_rmse.mean(axis=1).argmin())]


def test_repeats_go_round_the_plans_of_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[list[int]] = []

    def watched(sets: Any, rngs: Any) -> FittedRegressors:
        jobs.append([len(x) - 12 for x, _ in sets])
        return MixingProblem.fit(PROBLEM, sets, rngs)

    monkeypatch.setattr(PROBLEM, "fit", watched)
    one, two, three = make_plan((0, "data", 1)), make_plan((0, "label", 2)), make_plan((0, "data", 3))
    choice = choose_plan(PROBLEM, [[one, two, three], [make_plan()], [three, one]], repeats=5, seed=0)
    assert jobs == [[1, 2, 3, 1, 2, *[0] * 5, 3, 1, 3, 1, 3]]
    assert choice.num_rows == [12 + 2, 12, 12 + 2]
    assert choice.trainings == 15
    assert [len(x) - 12 for x, _ in choice.sets] == [[1, 2, 3], [0], [3, 1]][choice.kept[0]]
    assert choice.val_rmse.shape == (3, 5)


def test_plans_of_all_kept_candidates_are_dealt_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few regressors are trained on them, every candidate has its share; those with fewer plans begin anew."""
    small, bad = row_offsets(1, 2, 3, 4, 5, 6, 7, 8), row_offsets(*[20.0] * 8)
    better = row_offsets(1, 2, 3, 4, 5, 6, 8, 6)
    with_predictions(monkeypatch, PROBLEM, [small, bad, better, small])
    one, two, three = make_plan((0, "data", 1)), make_plan((0, "label", 2)), make_plan((0, "data", 3))
    candidates = [[make_plan()], [make_plan((0, "all", 0))], [one, two, three], [three, two]]
    choice = choose_plan(PROBLEM, candidates, 1, 0, "average")
    assert choice.kept == [2, 0, 3]
    assert [len(x) - 12 for x, _ in choice.sets] == [1, 0, 3, 2, 0, 2, 3, 0, 3]
    for x, y in choice.sets:
        assert np.array_equal(x[:12], PROBLEM.x_train)
        assert len(x) == len(y)


def test_plans_of_a_candidate_draw_their_own_ratios() -> None:
    """The same plan twice is two training sets where lambda is drawn; the first is what a single plan would be."""
    problem = MixingProblem(PROBLEM.data, replace(PROBLEM.config, lam=("beta", 0.5)))
    plan = make_plan((0, "data", 3), (1, "all", 0))
    [single] = choose_plan(problem, [[plan]], 1, 3).sets
    first, second = choose_plan(problem, [[plan, plan]], 1, 3).sets
    assert np.array_equal(single[0], first[0])
    assert len(first[0]) == len(second[0]) == 12 + 14
    assert not np.any(first[0][12:] == second[0][12:])

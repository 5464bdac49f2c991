"""What the search chooses, on errors made up and on tables where mixing hurts or helps; folds; and the time budget."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLRegressor, MixRLSampler
from mixrl.estimators import search
from mixrl.estimators.models import deal, fit_networks
from mixrl.estimators.search import LEARNED, LEARNED_HALF, compare, default_config
from mixrl_env import RegressionData
from mixrl_env.plans import BOTH_ALIKE as BOTH
from mixrl_env.plans import EVERY_PAIR, NO_MIXING
from mixrl_env.streams import stream


def chosen_of(errors: dict[str, list[float]]) -> set[str]:
    table = compare({way: np.array(error) for way, error in errors.items()})
    return set(table.loc[table["chosen"], "way"])


# The choice


def test_compare_by_hand() -> None:
    errors = {NO_MIXING: [2.0, 2, 2, 2], "a": [1.0, 1, 1, 3], "b": [1.0, 1, 1, 1.5], "c": [1.5, 1.5, 1.5, 1.5]}
    table = compare({way: np.array(error) for way, error in errors.items()}).set_index("way")
    assert table["rmse"].tolist() == pytest.approx([2**0.5, 1.5**0.5, 1.125**0.5, 1.5**0.5])
    assert table["gain"].tolist() == pytest.approx([0, 0.5, 0.875, 0.5])
    assert table["standard_error"].tolist() == pytest.approx([0, 0.5, 0.125, 0])  # of (1, 1, 1, -1), (1, 1, 1, .5)
    # a gains just its standard error, too little; b is the best; c is worse than b by 0.375 with a standard error of 0.125.
    assert table["chosen"].tolist() == [False, False, True, False]


def test_a_gain_by_rounding_is_none() -> None:
    """Least squares on collinear rows give the same plane for any mixed rows, but for its last digits."""
    error = [650.0, 640.0, 660.0, 655.0]
    assert chosen_of({NO_MIXING: error, "a": [one * (1 - 1e-15) for one in error]}) == {NO_MIXING}


def test_what_cannot_be_told_from_the_best_is_taken_too() -> None:
    errors = {NO_MIXING: [5.0, 5, 5, 5], "best": [1.0, 2, 1, 2], "as good": [2.0, 1, 2, 1.2], "worse": [2.0, 3, 2, 3]}
    assert chosen_of(errors) == {"best", "as good"}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({NO_MIXING: [1.0, 1], "a": [np.nan, 0], "b": [np.inf, 0]}, {NO_MIXING}),
        ({NO_MIXING: [1.0, 1], "a": [np.nan, 0], "b": [0.0, 0.1]}, {"b"}),
        ({NO_MIXING: [1.0, np.nan], "a": [3.0, 3], "b": [9.0, 9]}, {"a"}),  # if no mixing diverges, it has no say
        ({NO_MIXING: [1.0, 1], "a": [1e308, 1e308]}, {NO_MIXING}),
        ({NO_MIXING: [1.0], "a": [0.0]}, {NO_MIXING}),  # of one row there is no standard error
        ({NO_MIXING: [1.0, 1], "a": [1.0, 1]}, {NO_MIXING}),
    ],
)
def test_what_diverged_or_cannot_be_told_is_not_chosen(errors: dict[str, list[float]], expected: set[str]) -> None:
    assert chosen_of(errors) == expected


@settings(max_examples=60, deadline=None)
@drawn(st.data(), st.integers(2, 8), st.integers(1, 5))
def test_what_is_chosen_gains_more_than_its_standard_error(data: st.DataObject, rows: int, ways: int) -> None:
    one = st.lists(st.floats(0, 10), min_size=rows, max_size=rows)
    errors = {name: data.draw(one) for name in (NO_MIXING, *map(str, range(ways)))}
    chosen, gains, rounding = chosen_of(errors), {}, 1e-9 * np.mean(errors[NO_MIXING])
    for name, error in errors.items():
        gain = np.array(errors[NO_MIXING]) - error
        gains[name] = (float(gain.mean()), float(gain.std(ddof=1) / rows**0.5 + rounding))
    if chosen == {NO_MIXING}:
        assert all(gain <= error for gain, error in gains.values())
    else:
        assert NO_MIXING not in chosen
        assert all(gain > error for gain, error in map(gains.get, chosen))
        helping = [name for name, (gain, error) in gains.items() if gain > error]
        lowest = min(np.mean(errors[name]) for name in helping)
        assert any(np.mean(errors[name]) == lowest for name in chosen)


# Tables


def periodic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact labels that jump: between rows lies something else."""
    x = np.random.default_rng(seed).uniform(0, 1, (120, 1))
    return x, np.sign(np.sin(12 * np.pi * x[:, 0]))


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A plane with noise: mixing averages it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(120, 4))
    return x, x @ [1, -1, 0.5, 2] + rng.normal(size=120)


@pytest.mark.parametrize(
    ("estimator", "seed"), [(None, 0), (DecisionTreeRegressor(random_state=0), 0), (DecisionTreeRegressor(random_state=0), 1)]
)
def test_it_mixes_where_that_helps_only(estimator: object, seed: int) -> None:
    model = MixRLRegressor(estimator, folds=2, trainings=16, random_state=seed)
    assert model.fit(*periodic(seed)).chosen_ == (NO_MIXING,)
    assert (model.report_["gain"] <= model.report_["standard_error"]).all()
    if estimator is not None:
        assert len(model.plan_) == 0
    report = model.fit(*noisy(seed)).report_
    assert NO_MIXING not in model.chosen_
    assert set(report["way"]) >= {NO_MIXING, LEARNED, LEARNED_HALF, EVERY_PAIR, "k = 1", "k = 8", BOTH}
    assert set(report.loc[report["chosen"], "way"]) == set(model.chosen_)
    best = report.set_index("way")["rmse"][list(model.chosen_)]
    assert best.is_monotonic_increasing


@pytest.mark.parametrize("standardize", [True, False])
def test_not_to_mix_is_no_augmentation(standardize: bool) -> None:
    """Labels are standardised on the table, and then on the training rows of a fold; or not at all."""
    x, y = periodic(0)
    model = MixRLRegressor(folds=2, trainings=0, standardize_labels=standardize, random_state=0).fit(x, 3 * y + 2)
    assert model.chosen_ == (NO_MIXING,)
    y = 3 * y + 2
    seed, (mean, spread) = model._seed, (y.mean(), y.std()) if standardize else (0.0, 1.0)
    raw, parts = replace(default_config(60), standardize_labels=False), []
    for number, fold in enumerate(deal(x, ((y - mean) / spread)[:, None], 2, stream(seed, "folds"))):
        data = fold.data
        own, own_spread = (data.y_train.mean(), data.y_train.std()) if standardize else (0.0, 1.0)
        seen = RegressionData(data.x_train, (data.y_train - own) / own_spread, data.x_val, (data.y_val - own) / own_spread)
        sets, rngs = [(seen.standardize_x(seen.x_train), seen.y_train)], [stream(seed, "models in a fold", number)]
        (network,) = fit_networks(raw)(replace(fold, data=seen), sets, rngs)
        parts.append((network(x)[:, 0] * own_spread + own) * spread + mean)
    np.testing.assert_allclose(model.predict(x), np.mean(parts, axis=0), rtol=1e-4, atol=1e-4)


# Folds


@settings(max_examples=40, deadline=None)
@drawn(st.integers(4, 40), st.integers(2, 38), st.integers(0, 99))
def test_every_row_is_held_out_once(rows: int, count: int, seed: int) -> None:
    count = min(count, rows - 2)
    x, y = np.arange(rows, dtype=float)[:, None] ** 2, np.arange(rows, dtype=float)[:, None]
    folds = deal(x, y, count, np.random.default_rng(seed))
    assert len(folds) == count
    assert sorted(np.concatenate([fold.held for fold in folds])) == list(range(rows))
    for fold in folds:
        assert sorted([*fold.train, *fold.held]) == list(range(rows))
        assert len(fold.held) in (rows // count, rows // count + 1)
        np.testing.assert_array_equal(fold.data.y_train, y[fold.train])
        np.testing.assert_array_equal(fold.data.x_train, x[fold.train])
        np.testing.assert_array_equal(fold.data.x_val, x[fold.held])
        np.testing.assert_array_equal(fold.data.y_val, y[fold.held])


# The time budget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at it is a second later."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


def timed(seconds: float | None, estimator: object) -> tuple[int, list[str], set[str], pd.DataFrame]:
    words: list[str] = []
    x, y = noisy(0)
    model = MixRLSampler(
        estimator, folds=3, trainings=480, time_budget=seconds, random_state=0, verbose=lambda _, said: words.append(said)
    ).fit(x, y)
    folds = {said.split(" in ")[1] for said in words if "fold" in said}
    return model.trainings_, list(model.report_["way"]), folds, model.report_


@pytest.mark.usefixtures("clock", "small_networks")
@pytest.mark.parametrize("estimator", [None, LinearRegression()], ids=["networks", "plane"])
def test_less_time_is_less_learned_and_fewer_ways_in_fewer_folds(estimator: object) -> None:
    least, some, enough = (timed(seconds, estimator) for seconds in (0.01, 40, 10_000))
    assert (least[0], enough[0]) == (16, 480)
    assert least[0] < some[0] < enough[0]
    first = [NO_MIXING, LEARNED, BOTH, LEARNED_HALF, EVERY_PAIR, "k = 4"]
    assert least[1] == (first if estimator is None else first[:2])  # at least one comparison
    assert len(least[1]) < len(some[1]) < len(enough[1]) == 12
    assert least[2] == {"fold 1 of 3"}
    assert enough[2] == {"fold 1 of 3", "fold 2 of 3", "fold 3 of 3"}
    if estimator is not None:
        pd.testing.assert_frame_equal(enough[3], timed(None, estimator)[3])

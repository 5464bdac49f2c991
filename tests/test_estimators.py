"""MixRLSampler and MixRLRegressor as people use them: scikit-learn's checks, pipelines, and what comes out against loops."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

from mixrl import CreditRegression, MixRLRegressor, MixRLSampler
from mixrl.estimators import search
from mixrl.estimators.search import LEARNED, LEARNED_HALF
from mixrl_env import RegressionData, load_dataset
from mixrl_env.many_tables import policy_problem
from mixrl_env.plans import EVERY_PAIR, NO_MIXING

NOT_APPLICABLE = {
    "check_array_api_input": "neighbours and networks take numpy arrays; scikit-learn runs it with SCIPY_ARRAY_API=1 only",
}
ESTIMATORS = {
    "regressor": MixRLRegressor(folds=2, trainings=0, random_state=0),
    "regressor of an estimator": MixRLRegressor(Ridge(), folds=2, trainings=0, random_state=0),
    "sampler": MixRLSampler(Ridge(), folds=2, trainings=0, random_state=0),
    "sampler without a search": MixRLSampler(strategy="pretrained"),
}


@pytest.mark.filterwarnings("ignore")  # the checks give input that is to be warned of
@pytest.mark.usefixtures("small_networks")  # there are a hundred fits
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scikit_learns_checks(name: str) -> None:
    results = check_estimator(ESTIMATORS[name], on_skip=None, on_fail=None)
    assert len(results) > 40
    others = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert set(others) <= set(NOT_APPLICABLE), others


def tree_sampler(**arguments: object) -> MixRLSampler:
    """A tree gains much by mixing, so that some way is chosen."""
    settings = {"folds": 2, "trainings": 0, "random_state": 0} | arguments
    return MixRLSampler(DecisionTreeRegressor(random_state=0), **settings)


def smooth(rows: int = 60, targets: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Noisy planes, in columns of very different units."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 3)) * [1, 100, 1e-3] + [0, 1000, 5]
    planes = (x - x.mean(0)) / x.std(0) @ rng.normal(size=(3, targets)) + 0.5 * rng.normal(size=(rows, targets))
    return pd.DataFrame(x, columns=["a", "b", "c"]), pd.DataFrame(planes, columns=[f"y{t}" for t in range(targets)])


def force(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(search, "compare", lambda errors: (table := COMPARE(errors)).assign(chosen=table["way"] == way))


COMPARE = search.compare


# Pipelines and cross-validation


def test_in_a_pipeline_and_cross_validation() -> None:
    features, labels = smooth()
    pipeline = Pipeline([("mix", tree_sampler()), ("model", DecisionTreeRegressor(random_state=0))])
    scores = cross_val_score(pipeline, features, labels["y0"], cv=3)
    alone = cross_val_score(DecisionTreeRegressor(random_state=0), features, labels["y0"], cv=3)
    assert scores.mean() > alone.mean()
    chosen = pipeline.fit(features, labels["y0"])
    assert chosen.predict(features).shape == (60,)
    assert chosen["model"].tree_.n_node_samples[0] > 60  # it was trained on mixed rows too


# What fit_resample returns


def mixed_rows(x: np.ndarray, labels: np.ndarray, plan: pd.DataFrame) -> list[tuple[float, ...]]:
    """Row by row, neighbour by neighbour, the nearest first; of equal ones the first."""
    points = {"data": (x - x.mean(0)) / x.std(0), "label": (labels - labels.mean(0)) / labels.std(0)}
    rows: dict[tuple[float, ...], None] = {}
    for one in plan.itertuples():
        others = [row for row in range(len(x)) if row != one.row]
        if one.space != "all":
            where = points[str(one.space)]
            others = sorted(others, key=lambda row: np.linalg.norm(where[row] - where[one.row]))[: one.k]
        for row in others:
            rows[(*(x[one.row] + x[row]) / 2, *(labels[one.row] + labels[row]) / 2)] = None
    return list(rows)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("way", [LEARNED, LEARNED_HALF, EVERY_PAIR, "k = 4", "label distance, k alike", NO_MIXING])
def test_rows_in_their_order_then_the_plans(way: str, targets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, way)
    features, labels = smooth(targets=targets)
    sampler = tree_sampler(trainings=16)
    x, y = sampler.fit_resample(features, labels)
    assert sampler.chosen_ == (way,)
    assert list(sampler.plan_) == ["row", "space", "k", "probability"]
    assert (sampler.plan_["probability"].notna() == way.startswith("learned")).all()
    expected = mixed_rows(features.to_numpy(), labels.to_numpy(), sampler.plan_)
    assert len(expected) == 0 if way == NO_MIXING else len(expected) > 60
    pd.testing.assert_frame_equal(x[:60], features)
    pd.testing.assert_frame_equal(y[:60], labels)
    together = np.concatenate([x, y], axis=1)[60:]
    assert together.tolist() == [list(row) for row in expected]  # exactly, and in this order
    if way == LEARNED_HALF:
        assert len(sampler.plan_) == pytest.approx(60, abs=20)  # of two options a row


@pytest.mark.parametrize("standardize_labels", [True, False])
def test_pretrained_plan_is_that_of_the_policy(standardize_labels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is held out, and nothing but the rows decides; here the policy is made to mix much, then nothing."""
    policy = CreditRegression.load()
    monkeypatch.setattr(CreditRegression, "load", lambda: policy)
    data = load_dataset("noisy_corner", 0)
    features, labels = data.x_train, 100 + 7 * data.y_train[:, 0]
    sampler = MixRLSampler(strategy="pretrained", standardize_labels=standardize_labels, random_state=0)
    policy.least_gain = -1.0
    x, y = sampler.fit_resample(features, labels)
    problem = policy_problem(RegressionData(features, labels, features[:2], labels[:2]))
    plan, gain = policy.plan(problem)
    options = [(option.space, option.k) for option in (problem.options[index] for index in plan.options)]
    assert [*zip(sampler.plan_["row"], zip(sampler.plan_["space"], sampler.plan_["k"], strict=True), strict=True)] == [
        *zip(plan.rows, options, strict=True)
    ]
    assert sampler.expected_gain_ == pytest.approx(gain)
    expected = mixed_rows(features, labels[:, None], sampler.plan_)
    np.testing.assert_allclose(np.column_stack([x, y])[60:], expected)
    np.testing.assert_array_equal(x[:60], features)
    assert sampler.chosen_ == ("pretrained",)
    policy.least_gain = 10.0
    assert len(sampler.fit_resample(features, labels)[0]) == 60
    assert (sampler.chosen_, sampler.expected_gain_, len(sampler.report_)) == ((NO_MIXING,), 0.0, 0)


def test_names_are_kept_and_the_index_is_not_looked_at() -> None:
    features, labels = smooth()
    series = labels["y0"].rename("price").set_axis(np.arange(60)[::-1])
    x, y = tree_sampler().fit_resample(features.set_axis([f"r{row}" for row in range(60)]), series)
    assert isinstance(x, pd.DataFrame)
    assert isinstance(y, pd.Series)
    assert (list(x), y.name) == (["a", "b", "c"], "price")
    assert len(x) == len(y) > 60
    assert x.index.equals(pd.RangeIndex(len(x)))
    plain, flat = tree_sampler().fit_resample(features.to_numpy(), series.to_numpy())
    assert type(plain) is type(flat) is np.ndarray
    assert flat.ndim == 1
    np.testing.assert_array_equal(plain, x)
    np.testing.assert_array_equal(flat, y)
    assert list(tree_sampler().fit_resample(features.to_numpy(), labels)[1]) == ["y0"]


def test_validation_rows_are_judged_on_and_not_returned() -> None:
    features, labels = smooth(90)
    x, y = features.to_numpy(), labels["y0"].to_numpy()
    sampler = tree_sampler()
    x_all, y_all = sampler.fit_resample(x[:60], y[:60], X_val=x[60:], y_val=y[60:])
    rows = {tuple(row) for row in x_all}
    assert not rows & {tuple(row) for row in x[60:]}
    np.testing.assert_array_equal(x_all[:60], x[:60])
    by_hand = DecisionTreeRegressor(random_state=0).fit(x[:60], y[:60]).predict(x[60:])
    report = sampler.report_.set_index("way")
    assert report.loc[NO_MIXING, "rmse"] == pytest.approx(np.sqrt(np.mean((by_hand - y[60:]) ** 2)), rel=1e-6)
    assert len(y_all) > 60
    tree_sampler().fit(x[:60], y[:60], X_val=x[60:], y_val=y[60:][:, None])  # either shape


# The regressor


def test_regressor_is_a_clone_fitted_to_what_the_sampler_returns() -> None:
    features, labels = smooth(targets=2)
    forest = RandomForestRegressor(8, random_state=3)
    settings = {"folds": 2, "trainings": 16, "random_state": 4}
    x, y = MixRLSampler(forest, **settings).fit_resample(features, labels)
    model = MixRLRegressor(forest, **settings).fit(features, labels)
    np.testing.assert_array_equal(model.predict(features), clone(forest).fit(x, y).predict(features))
    assert len(x) > 60
    assert not hasattr(forest, "estimators_")  # it was left alone
    assert list(model.estimator_.feature_names_in_) == ["a", "b", "c"]
    assert model.trainings_ == 16


def test_networks_predict_several_targets() -> None:
    x, y = make_friedman1(120, random_state=0)
    labels = np.column_stack([y, np.full(120, 7.0), -1e6 * y])
    model = MixRLRegressor(folds=2, trainings=16, random_state=0).fit(x[:100], labels[:100])
    predicted = model.predict(x[100:])
    assert predicted.shape == (20, 3)
    np.testing.assert_allclose(predicted[:, 1], 7, atol=0.5)
    assert r2_score(labels[100:, [0, 2]], predicted[:, [0, 2]]) > 0.6
    assert model.plan_ is model.estimator_ is None
    np.testing.assert_allclose(model.predict(x[100:101]), predicted[:1], rtol=1e-9)  # alone or with others


# Seeds, copies, and what must be left as it is


@pytest.mark.parametrize("estimator", [None, RandomForestRegressor(4)], ids=["networks", "forest without a seed"])
def test_same_seed_same_bits_and_nothing_else_is_touched(estimator: object) -> None:
    features, labels = smooth()
    x, y = features.to_numpy(), labels["y0"].to_numpy()
    before = x.copy(), y.copy()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    model = MixRLRegressor(estimator, folds=2, trainings=16, random_state=5)
    first = model.fit(x, y).predict(x)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    again = clone(model).fit(x, y)
    np.testing.assert_array_equal(again.predict(x), first)
    pd.testing.assert_frame_equal(again.report_, model.report_)
    assert (clone(model).set_params(random_state=6).fit(x, y).predict(x) != first).any()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), first)

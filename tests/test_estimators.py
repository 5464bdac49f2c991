"""MixRLSampler and MixRLRegressor as people use them: scikit-learn's checks, results against loops, the order of rows."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from imblearn.pipeline import Pipeline
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

from mixrl import CreditRegression, MixRLRegressor, MixRLSampler
from mixrl.estimators.search import Planner
from mixrl_env import RegressionData, load_dataset
from mixrl_env.many_tables import policy_problem
from mixrl_env.plans import NO_MIXING

pytestmark = pytest.mark.usefixtures("small_networks")
TREE = DecisionTreeRegressor(random_state=0)  # gains much by mixing, so that some plan is chosen
NOT_EXACT = dict.fromkeys(
    ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"),
    "a row that is there twice is its own neighbour and has one more chance to be drawn; a weight of 2 does neither",
)
ESTIMATORS = {
    "regressor of networks": MixRLRegressor(cv=2, random_state=0),
    "regressor of an estimator": MixRLRegressor(Ridge(), cv=2, random_state=0),
    "sampler": MixRLSampler(Ridge(), cv=2, random_state=0),
    "sampler without a search": MixRLSampler(strategy="pretrained"),
    "regressor that mixes nothing": MixRLRegressor(Ridge(), strategy="none"),
}


@pytest.mark.filterwarnings("ignore")  # the checks give input that is to be warned of
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scikit_learns_checks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Planner.names
    monkeypatch.setattr(Planner, "names", lambda planner: names(planner)[:2])  # there are a hundred fits
    expected = NOT_EXACT if name.startswith("regressor of") else None
    results = check_estimator(ESTIMATORS[name], expected_failed_checks=expected, on_skip=None)
    assert len(results) > 40
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}  # it runs with SCIPY_ARRAY_API=1 only


def smooth(rows: int = 50, targets: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Noisy planes, in columns of very different units; sorted as the estimators sort rows."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 3)) * [1, 100, 1e-3] + [0, 1000, 5]
    x = x[np.argsort(x[:, 2])]
    planes = (x - x.mean(0)) / x.std(0) @ rng.normal(size=(3, targets)) + 0.5 * rng.normal(size=(rows, targets))
    return pd.DataFrame(x, columns=["a", "b", "c"]), pd.DataFrame(planes, columns=[f"y{t}" for t in range(targets)])


def sampler(**arguments: Any) -> MixRLSampler:
    return MixRLSampler(TREE, **{"cv": 2, "random_state": 0} | arguments)


def pairs_of(x: np.ndarray, labels: np.ndarray, plan: pd.DataFrame) -> list[tuple[int, int]]:
    """Row by row, the nearest by standardised features or labels."""
    points = {"data": (x - x.mean(0)) / x.std(0), "label": (labels - labels.mean(0)) / labels.std(0)}
    pairs = set()
    for one in plan.itertuples():
        others = [row for row in range(len(x)) if row != one.row]
        if one.space != "all":
            where = points[str(one.space)]
            others = sorted(others, key=lambda row: np.linalg.norm(where[row] - where[one.row]))[: one.k]
        pairs |= {(min(one.row, row), max(one.row, row)) for row in others}
    return sorted(pairs)


# What fit_resample returns


@pytest.mark.usefixtures("any_gain_counts")
def test_in_a_pipeline_and_cross_validation() -> None:
    features, labels = smooth(60)
    pipeline = Pipeline([("mix", sampler()), ("model", TREE)])
    scores = cross_val_score(pipeline, features, labels["y0"], cv=3)
    assert scores.mean() > cross_val_score(TREE, features, labels["y0"], cv=3).mean()
    assert pipeline.fit(features, labels["y0"])["model"].tree_.n_node_samples[0] > 60  # it was trained on mixed rows too


@pytest.mark.parametrize("targets", [1, 2])
def test_own_rows_then_midpoints_of_the_pairs_of_the_plan(targets: int) -> None:
    features, labels = smooth(targets=targets)
    shuffled = np.random.default_rng(0).permutation(50)
    features, labels = features.iloc[shuffled], labels.iloc[shuffled]
    fitted = sampler()
    x, y = fitted.fit_resample(features, labels)
    own_x, own_y, parents = features.to_numpy(), labels.to_numpy(), fitted.parents_
    assert list(zip(parents["row"], parents["neighbor"], strict=True)) == pairs_of(own_x, own_y, fitted.plan_)
    assert (parents["lambda"] == 0.5).all()
    pd.testing.assert_frame_equal(x[:50], features.reset_index(drop=True))  # the index is not looked at
    pd.testing.assert_frame_equal(y[:50], labels.reset_index(drop=True))
    for own, everything in ((own_x, x), (own_y, y)):
        between = [(own[i] + own[j]) / 2 for i, j in zip(parents["row"], parents["neighbor"], strict=True)]
        np.testing.assert_array_equal(everything[50:], between)
    assert list(fitted.report_.loc[fitted.report_["chosen"], "plan"]) == [fitted.chosen_] != [NO_MIXING]
    assert list(fitted.report_) == ["plan", "rmse", "gain", "standard_error", "chosen"]
    assert fitted.gain_.low < fitted.gain_.mean < fitted.gain_.high
    plain, flat = sampler().fit_resample(own_x, own_y[:, 0] if targets == 1 else own_y)
    np.testing.assert_array_equal(plain, x)
    np.testing.assert_array_equal(flat, y["y0"] if targets == 1 else y)
    if targets == 1:
        assert sampler().fit_resample(own_x, labels["y0"])[1].name == "y0"


def test_pretrained_plan_is_that_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is held out, and nothing but the rows decides; here the policy is made to mix much, then nothing."""
    policy = CreditRegression.load()
    monkeypatch.setattr(CreditRegression, "load", lambda: policy)
    data = load_dataset("noisy_corner", 0)
    own = np.lexsort(data.x_train.T)
    features, labels = data.x_train[own], 100 + 7 * data.y_train[own, 0]
    fitted = MixRLSampler(strategy="pretrained", random_state=0)
    policy.least_gain = -1.0
    x, _ = fitted.fit_resample(features, labels)
    problem = policy_problem(RegressionData(features, labels, features[:2], labels[:2]))
    plan, gain = policy.plan(problem)
    options = [(row, *problem.options[index]) for row, index in zip(plan.rows, plan.options, strict=True)]
    assert sorted(options) == list(fitted.plan_.itertuples(index=False, name=None))
    assert fitted.expected_gain_ == pytest.approx(gain)
    assert len(x) == len(own) + len(pairs_of(features, labels[:, None], fitted.plan_)) == len(own) + len(fitted.parents_)
    assert (fitted.chosen_, len(fitted.report_)) == ("policy", 0)
    policy.least_gain = 10.0
    assert len(fitted.fit_resample(features, labels)[0]) == len(own)
    assert (fitted.chosen_, fitted.expected_gain_, np.isnan(fitted.gain_).all()) == (NO_MIXING, 0.0, True)


@pytest.mark.usefixtures("any_gain_counts")
@pytest.mark.parametrize("most", [40, 0.5])
def test_most_mixed_rows_are_drawn_by_the_seed(most: float) -> None:
    x, y = (part.to_numpy() for part in smooth())
    fitted, again, other = (sampler(max_mixed=most, random_state=seed).fit(x, y) for seed in (0, 0, 1))
    drawn = list(zip(fitted.parents_["row"], fitted.parents_["neighbor"], strict=True))
    assert len(set(drawn)) == (25 if most == 0.5 else most)
    assert set(drawn) < set(pairs_of(x, y, fitted.plan_))
    pd.testing.assert_frame_equal(again.parents_, fitted.parents_)
    assert not other.parents_.equals(fitted.parents_)


def test_integers_are_rounded_where_all_values_are_whole() -> None:
    features, labels = smooth()
    features = features.assign(b=features["b"].astype(int), c=features["c"].round(1))
    whole = (10 * labels["y0"]).round().astype(int)
    fitted = sampler(round_integers=True)
    x, y = fitted.fit_resample(features, whole)
    i, j = fitted.parents_[["row", "neighbor"]].to_numpy().T
    assert x["b"].dtype == y.dtype == np.int64
    for made, own in ((x["b"], features["b"].to_numpy()), (y, whole.to_numpy())):
        assert ((own[i] + own[j]) % 2 == 1).any()
        assert made[50:].tolist() == np.rint((own[i] + own[j]) / 2).tolist()
    np.testing.assert_array_equal(x["c"][50:], (features["c"].to_numpy()[i] + features["c"].to_numpy()[j]) / 2)


def test_validation_rows_judge_and_are_not_returned() -> None:
    features, labels = smooth(90)
    shuffled = np.random.default_rng(0).permutation(90)
    x, y = features.to_numpy()[shuffled], labels["y0"].to_numpy()[shuffled]
    fitted = sampler()
    x_all, _ = fitted.fit_resample(x[:60], y[:60], X_val=x[60:], y_val=y[60:])
    assert not {tuple(row) for row in x_all} & {tuple(row) for row in x[60:]}
    by_hand = clone(TREE).fit(x[:60], y[:60]).predict(x[60:])
    np.testing.assert_allclose(fitted.held_out_[NO_MIXING][:, 0], by_hand)
    assert fitted.held_out_["row"].tolist() == list(range(30))
    report = fitted.report_.set_index("plan")
    for name in (NO_MIXING, fitted.chosen_):
        rmse = np.mean((fitted.held_out_[name][:, 0] - y[60:]) ** 2) ** 0.5
        assert report.loc[name, "rmse"] == pytest.approx(rmse)
        assert report.loc[name, "gain"] == pytest.approx(report.loc[NO_MIXING, "rmse"] - rmse)


# The order of the rows


def content(model: Any, x: np.ndarray, y: np.ndarray, order: np.ndarray, more: dict[str, np.ndarray]) -> list[Any]:
    """All results of a fit to rows in some order, by their numbers in x."""
    model = clone(model).fit(x[order], y[order], **{name: values[order] for name, values in more.items()})
    plan, parents = model.plan_, np.sort(order[model.parents_[["row", "neighbor"]]], axis=1).reshape(-1, 2)
    made = [model.chosen_, tuple(model.gain_), model.report_.to_csv(), sorted(parents.tolist())]
    made.append(sorted(zip(order[plan["row"]].tolist(), plan["space"], plan["k"], strict=True)))
    if hasattr(model, "held_out_"):
        held = order[model.held_out_["row"]]
        made += [(name, values[np.argsort(held)].tobytes()) for name, values in model.held_out_.items() if name != "row"]
    return [*made, model.predict(x).tobytes()]


@pytest.mark.parametrize(
    "model",
    [
        MixRLRegressor(TREE, cv=3, max_mixed=1.5, random_state=0),
        MixRLRegressor(Ridge(), cv=3, random_state=0),
        MixRLRegressor(cv=2, max_mixed=0.5, random_state=0),
        MixRLRegressor(TREE, strategy="pretrained", random_state=0),
    ],
    ids=["tree", "plane", "networks", "pretrained"],
)
@settings(max_examples=2, deadline=None, phases=[Phase.generate])  # no search for a simpler order
@given(order=st.permutations(range(40)))
def test_the_order_of_the_rows_changes_no_bit(model: Any, order: list[int]) -> None:
    features, labels = smooth(40)
    x, y = features.to_numpy(copy=True), labels["y0"].to_numpy(copy=True)
    x[1], y[1] = x[0], y[0]
    rng = np.random.default_rng(0)
    more = {"sample_weight": rng.uniform(size=40), "groups": rng.integers(0, 15, 40)}
    first = content(model, x, y, np.arange(40), more)
    assert [str(part) for part in content(model, x, y, np.array(order), more)] == [str(part) for part in first]


# Weights


def test_weights_of_mixed_rows_lie_between_those_of_their_parents() -> None:
    features, labels = smooth()
    weights = np.random.default_rng(0).uniform(size=50)
    fitted = sampler().fit(features, labels, weights)
    of_parents = weights[fitted.parents_[["row", "neighbor"]]].mean(axis=1)
    np.testing.assert_allclose(fitted.sample_weight_, [*weights, *of_parents])
    with pytest.raises(ValueError, match=r"^sample_weight was given, but KNeighborsRegressor takes none$"):
        MixRLSampler(KNeighborsRegressor(), cv=2).fit(features, labels, weights)


@pytest.mark.parametrize("estimator", [None, Ridge()], ids=["networks", "plane"])
def test_models_do_not_see_rows_without_weight(estimator: Any) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x @ [1.0, 2.0]
    wrong = np.arange(60) % 3 == 0
    given, model = np.where(wrong, 30.0, y), MixRLRegressor(estimator, strategy="none", random_state=0)
    without = clone(model).fit(x, given).predict(x)
    predicted = model.fit(x, given, np.where(wrong, 0.0, 1.0)).predict(x)
    assert np.abs(predicted - y).mean() < 0.5 * np.abs(without - y).mean()
    if estimator is not None:
        np.testing.assert_allclose(predicted, clone(estimator).fit(x[~wrong], y[~wrong]).predict(x))


# The regressor


def test_regressor_is_a_clone_fitted_to_what_the_sampler_returns() -> None:
    features, labels = smooth(targets=2)
    forest = RandomForestRegressor(4, random_state=3)
    x, y = MixRLSampler(forest, cv=2, random_state=4).fit_resample(features, labels)
    with parallel_config(backend="threading"):  # clones at the same time change nothing
        model = MixRLRegressor(forest, cv=2, n_jobs=2, random_state=4).fit(features, labels)
    np.testing.assert_array_equal(model.predict(features), clone(forest).fit(x, y).predict(features))
    assert len(x) > 50
    assert not hasattr(forest, "estimators_")  # it was left alone
    assert list(model.estimator_.feature_names_in_) == ["a", "b", "c"]


def test_networks_predict_several_targets() -> None:
    x, y = make_friedman1(120, random_state=0)
    labels = np.column_stack([y, np.full(120, 7.0), -1e6 * y])
    model = MixRLRegressor(cv=2, random_state=0).fit(x[:100], labels[:100])
    predicted = model.predict(x[100:])
    np.testing.assert_allclose(predicted[:, 1], 7, atol=0.5)
    assert r2_score(labels[100:, [0, 2]], predicted[:, [0, 2]]) > 0.5
    assert model.estimator_ is None
    np.testing.assert_allclose(model.predict(x[100:101]), predicted[:1], rtol=1e-9)  # alone or with others


@pytest.mark.parametrize("estimator", [None, RandomForestRegressor(4)], ids=["networks", "forest without a seed"])
def test_same_seed_same_bits_and_nothing_else_is_touched(estimator: Any) -> None:
    features, labels = smooth()
    x, y = features.to_numpy(), labels["y0"].to_numpy()
    before = x.copy(), y.copy()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    model = MixRLRegressor(estimator, cv=2, random_state=5)
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
    stored = pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(stored).predict(x), first)
    assert len(stored) < 1e6

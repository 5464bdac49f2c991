"""What each method of Table 2 makes of the training rows, none of them seeing a test row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from experiments.methods import Trial, ada_mixup, global_knn, mixrl_ada_mixup, no_augmentation, original_mixup
from experiments.methods.evaluation import final_scores
from experiments.presets import PRESETS
from mixrl_env import MixingProblem, ProblemConfig, RegressionData, RegressorConfig

SMALL = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=200, eval_every=20)


def make_trial(with_test: bool = False) -> Trial:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x.sum(axis=1, keepdims=True)
    test = {"x_test": x[50:], "y_test": y[50:]} if with_test else {}
    data = RegressionData(x[:30], y[:30], x[30:50], y[30:50], **test)
    options = tuple((space, k) for space in ("data", "label") for k in (1, 3))
    problem = MixingProblem(data, ProblemConfig(options=options, regressor=SMALL))  # type: ignore[arg-type]
    return Trial(problem, PRESETS["smoke"], 0)


def test_no_augmentation_is_the_training_rows() -> None:
    trial = make_trial()
    augmented = no_augmentation.augment(trial)
    assert np.array_equal(augmented.sets[0][0], trial.problem.x_train)
    assert np.array_equal(augmented.sets[0][1], trial.problem.data.y_train)
    assert augmented.trainings == 0


def test_original_mixup_mixes_every_pair_once() -> None:
    trial = make_trial()
    x, y = trial.problem.x_train, trial.problem.data.y_train
    augmented = original_mixup.augment(trial)
    expected = [np.r_[(x[i] + x[j]) / 2, (y[i] + y[j]) / 2] for i in range(30) for j in range(i + 1, 30)]
    np.testing.assert_allclose(np.concatenate(augmented.sets[0], axis=1), np.r_[np.c_[x, y], expected])


def test_global_knn_keeps_the_k_with_the_lowest_validation_loss() -> None:
    trial = make_trial()
    augmented = global_knn.augment(trial)
    trials = augmented.tables["candidates"]
    assert list(trials["k"]) == [1, 3]
    best = trials.loc[trials["val_rmse"].idxmin()]
    assert augmented.choice.parameters == {"k": best["k"]}
    assert len(augmented.sets[0][0]) == best["num_rows"]
    assert augmented.trainings == 2 * PRESETS["smoke"].knn_repeats
    x, y = trial.problem.x_train, trial.problem.data.y_train
    mixed = set()
    for points in (x, trial.problem.data.standardize_y(y)):
        for i in range(30):
            distance = np.linalg.norm(points - points[i], axis=1)
            distance[i] = np.inf
            near = np.argsort(distance)
            mixed |= {frozenset((i, j)) for j in near[: int(best["k"])]}
    expected = {tuple(np.round(np.r_[(x[i] + x[j]) / 2, (y[i] + y[j]) / 2], 9)) for i, j in mixed}
    assert {tuple(np.round(row, 9)) for row in np.concatenate(augmented.sets[0], axis=1)[30:]} == expected


def test_bayesian_optimisation_measures_what_trying_every_k_does() -> None:
    trial = make_trial()
    options = tuple((space, k) for k in range(1, 30) for space in ("data", "label"))
    every = replace(trial, problem=MixingProblem(trial.problem.data, replace(trial.problem.config, options=options)))
    expected = global_knn.try_every_k(every).tables["candidates"].set_index("k")
    half = replace(trial, problem=MixingProblem(trial.problem.data, replace(trial.problem.config, options=options[:30])))
    found = global_knn.optimise_k(half, 10)  # N ends at 15, the search at n - 1 = 29
    losses = found.tables["candidates"].set_index("k")
    pd.testing.assert_frame_equal(losses, expected.loc[losses.index])
    best = found.choice.parameters["k"]
    assert best == losses["val_rmse"].idxmin()
    assert found.trainings == len(losses) * trial.settings.knn_repeats
    assert losses["val_rmse"].min() < expected["val_rmse"].quantile(0.25)  # better than most k of a blind search
    [again] = global_knn._choose_k(every, [int(best)]).sets
    assert np.array_equal(found.sets[0][0], again[0])


def test_bayesian_optimisation_tries_different_k_and_stores_them() -> None:
    trial = make_trial()
    trial = replace(trial, settings=replace(trial.settings, knn_trials=4))
    augmented = global_knn.augment(trial)
    trials = augmented.tables["candidates"]
    assert trials["k"].is_unique
    assert len(trials) == 4
    assert trials["k"].between(1, 6).all()  # N ends at 3
    assert augmented.choice.parameters == {"k": trials["k"][trials["val_rmse"].idxmin()]}
    assert augmented.trainings == 4 * trial.settings.knn_repeats
    assert global_knn.augment(trial).choice == augmented.choice


def test_mixrl_with_adamixup_mixes_every_pair_with_its_learned_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are the row numbers, so that a mixed label tells lambda: all of one pair must have the one that was learned."""
    trial = make_trial()
    data = RegressionData(trial.problem.data.x_train, 2.0 ** np.arange(30), trial.problem.data.x_val, np.zeros(20), name="rows")
    settings = replace(trial.settings, env_id="MixRL-v0", options=trial.problem.options, regressor=SMALL)
    trial = replace(trial, problem=MixingProblem(data, trial.problem.config), settings=settings)
    seen: dict[str, np.ndarray] = {}
    learned = ada_mixup.learned_lam

    def spied(one: Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]:
        i, j, lam, found = learned(one)
        seen.update(i=i, j=j, lam=lam)
        return i, j, lam, found

    monkeypatch.setattr(ada_mixup, "learned_lam", spied)
    problem = spied_lambdas(monkeypatch)
    augmented = mixrl_ada_mixup.augment(trial)
    assert augmented.choice.parameters["joint_steps"] > 0
    assert augmented.choice.plans
    y = data.y_train[:, 0]
    allowed = np.concatenate([y, seen["lam"] * y[seen["i"]] + (1 - seen["lam"]) * y[seen["j"]]])
    for _, labels in augmented.sets:
        assert all(np.isclose(allowed, label, rtol=1e-9).any() for label in labels[:, 0])
    [lam] = problem
    assert np.allclose(lam + lam.T, 1)  # i with j and j with i are one row
    assert lam[seen["i"], seen["j"]].tolist() == seen["lam"].tolist()


def spied_lambdas(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The lambdas that the environments of the agent are made with."""
    lams: list[np.ndarray] = []
    make = gym.make_vec

    def spied(*arguments: Any, **settings: Any) -> Any:
        assert isinstance(settings["lam"], np.ndarray)
        lams.append(settings["lam"])
        return make(*arguments, **settings)

    monkeypatch.setattr(gym, "make_vec", spied)
    return lams


def test_final_scores_judge_on_test_rows_and_need_them() -> None:
    trial = make_trial(with_test=True)
    data = trial.problem.data
    scores = final_scores(trial.problem, [(trial.problem.x_train, data.y_train)], 0, 3)
    assert [score.seed for score in scores] == [0, 1, 2]
    assert len({score.test_rmse for score in scores}) == 3
    assert all(score.test_r2 > 0.5 for score in scores)  # a linear function of two features is easy
    bare = make_trial()
    with pytest.raises(ValueError, match="no test rows"):
        final_scores(bare.problem, [(bare.problem.x_train, bare.problem.data.y_train)], 0, 1)

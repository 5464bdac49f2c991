"""What each method of Table 2 makes of the training rows, none of them seeing a test row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation import final_scores
from experiments.methods import Augmented, Cell, ada_mixup, global_knn, mixrl, mixrl_ada_mixup, no_augmentation, original_mixup
from experiments.settings import PRESETS, Settings
from mixrl_env import MixingProblem, ProblemConfig, RegressionData, RegressorConfig

SMALL = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=200, eval_every=20)


def make_cell(folder: Path, with_test: bool = False) -> Cell:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x.sum(axis=1, keepdims=True)
    test = {"x_test": x[50:], "y_test": y[50:]} if with_test else {}
    data = RegressionData(x[:30], y[:30], x[30:50], y[30:50], **test)
    options = tuple((space, k) for space in ("data", "label") for k in (1, 3))
    problem = MixingProblem(data, ProblemConfig(options=options, regressor=SMALL))  # type: ignore[arg-type]
    return Cell(problem, PRESETS["smoke"], 0, folder, lambda done, total, words: None)


def test_no_augmentation_is_the_training_rows(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    augmented = no_augmentation.augment(cell)
    assert np.array_equal(augmented.sets[0][0], cell.problem.x_train)
    assert np.array_equal(augmented.sets[0][1], cell.problem.data.y_train)
    assert augmented.trainings == 0


def test_original_mixup_mixes_every_pair_once(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    x, y = cell.problem.x_train, cell.problem.data.y_train
    augmented = original_mixup.augment(cell)
    expected = [np.r_[(x[i] + x[j]) / 2, (y[i] + y[j]) / 2] for i in range(30) for j in range(i + 1, 30)]
    np.testing.assert_allclose(np.concatenate(augmented.sets[0], axis=1), np.r_[np.c_[x, y], expected])


def test_global_knn_keeps_the_k_with_the_lowest_validation_loss(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    augmented = global_knn.augment(cell)
    trials = pd.read_csv(tmp_path / "global_knn.csv")
    assert list(trials["k"]) == [1, 3]
    best = trials.loc[trials["val_rmse"].idxmin()]
    assert augmented.choice == f"k={int(best['k'])}"
    assert len(augmented.sets[0][0]) == best["num_rows"]
    assert augmented.trainings == 2 * PRESETS["smoke"].knn_repeats


def test_bayesian_optimisation_measures_what_trying_every_k_does(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    options = tuple((space, k) for k in range(1, 30) for space in ("data", "label"))
    every = replace(cell, problem=MixingProblem(cell.problem.data, replace(cell.problem.config, options=options)))
    expected = global_knn.try_every_k(every).trials.set_index("k")
    half = replace(cell, problem=MixingProblem(cell.problem.data, replace(cell.problem.config, options=options[:30])))
    found = global_knn.optimise_k(half, 10)  # N ends at 15, the search at n - 1 = 29
    losses = found.trials.set_index("k")
    pd.testing.assert_frame_equal(losses, expected.loc[losses.index])
    assert found.k == losses["val_rmse"].idxmin()
    assert found.trainings == len(losses) * cell.settings.knn_repeats
    assert losses["val_rmse"].min() < expected["val_rmse"].quantile(0.25)  # better than most k of a blind search
    [again] = global_knn.choose_k(every, [found.k]).sets
    assert np.array_equal(found.sets[0][0], again[0])


def test_bayesian_optimisation_tries_different_k_and_stores_them(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    cell = replace(cell, settings=replace(cell.settings, knn_trials=4))
    augmented = global_knn.augment(cell)
    trials = pd.read_csv(tmp_path / "global_knn.csv")
    assert trials["k"].is_unique
    assert len(trials) == 4
    assert trials["k"].between(1, 6).all()  # N ends at 3
    assert augmented.choice == f"k={trials['k'][trials['val_rmse'].idxmin()]}"
    assert augmented.trainings == 4 * cell.settings.knn_repeats
    assert global_knn.augment(cell).choice == augmented.choice


def test_mixrl_with_adamixup_mixes_every_pair_with_its_learned_lambda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are the row numbers, so that a mixed label tells lambda: all of one pair must have the one that was learned."""
    cell = make_cell(tmp_path)
    data = RegressionData(cell.problem.data.x_train, 2.0 ** np.arange(30), cell.problem.data.x_val, np.zeros(20), name="rows")
    settings = replace(cell.settings, env_id="MixRL-v0", options=cell.problem.options, regressor=SMALL)
    cell = replace(cell, problem=MixingProblem(data, cell.problem.config), settings=settings)
    seen: dict[str, np.ndarray] = {}
    learned = ada_mixup.learned_lam

    def spied(one: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        i, j, lam, words = learned(one)
        seen.update(i=i, j=j, lam=lam)
        return i, j, lam, words

    monkeypatch.setattr(ada_mixup, "learned_lam", spied)
    problem = spied_problem(cell, monkeypatch)
    augmented = mixrl_ada_mixup.augment(cell)
    assert "joint steps" in augmented.choice
    y = data.y_train[:, 0]
    allowed = np.concatenate([y, seen["lam"] * y[seen["i"]] + (1 - seen["lam"]) * y[seen["j"]]])
    for _, labels in augmented.sets:
        assert all(np.isclose(allowed, label, rtol=1e-9).any() for label in labels[:, 0])
    [lam] = problem
    assert np.allclose(lam + lam.T, 1)  # i with j and j with i are one row
    assert lam[seen["i"], seen["j"]].tolist() == seen["lam"].tolist()


def spied_problem(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The lambdas that the environments of the agent are made with."""
    lams: list[np.ndarray] = []
    make = mixrl.make_envs

    def spied(settings: Settings, *rest: Any) -> Any:
        assert isinstance(settings.lam, np.ndarray)
        lams.append(settings.lam)
        return make(settings, *rest)

    monkeypatch.setattr(mixrl, "make_envs", spied)
    return lams


def test_mixrl_with_adamixup_refuses_rotating_folds(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    cell = replace(cell, settings=replace(PRESETS["mask_regression"], folds=2))
    with pytest.raises(ValueError, match="cannot rotate folds"):
        mixrl_ada_mixup.augment(cell)


def test_final_scores_judge_on_test_rows_and_need_them(tmp_path: Path) -> None:
    cell = make_cell(tmp_path, with_test=True)
    data = cell.problem.data
    scores = final_scores(cell.problem, Augmented([(cell.problem.x_train, data.y_train)]), 0, 3)
    assert [score.seed for score in scores] == [0, 1, 2]
    assert len({score.test_rmse for score in scores}) == 3
    assert all(score.test_r2 > 0.5 for score in scores)  # a linear function of two features is easy
    bare = make_cell(tmp_path)
    with pytest.raises(ValueError, match="no test rows"):
        final_scores(bare.problem, Augmented([(bare.problem.x_train, bare.problem.data.y_train)]), 0, 1)

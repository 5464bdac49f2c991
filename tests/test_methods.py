"""What each method of Table 2 makes of the training rows, none of them seeing a test row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation import final_scores
from experiments.methods import Augmented, Cell, global_knn, no_augmentation, original_mixup
from experiments.settings import PRESETS
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

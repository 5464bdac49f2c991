"""The study of endings: what a cell stores, what every ending trains, and its tables and figure."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.show.statistics import paired_difference
from experiments.studies import endings
from experiments.studies.endings import EARLY, ENDINGS, Endings
from mixrl_env import RegressorConfig
from mixrl_env.env import make_problem
from mixrl_env.metrics import rmse
from mixrl_env.regressor import FittedRegressors
from mixrl_env.streams import stream
from tests.studies import as_results, compute

TINY = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=200, eval_every=20, patience=2)
METHODS = ("No Augmentation", "Original Mixup", "Global kNN, k = 8")
SCORES = ("val_rmse", "test_rmse", "train_steps")


def test_a_cell_holds_one_row_a_method_and_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "SMALL_REGRESSOR", TINY)
    [cell] = Endings(datasets=("half_wiggly",), splits=(20,), repeats=2).cells()
    stored = compute(cell)
    assert list(zip(stored["method"], stored["ending"], strict=True)) == list(product(METHODS, ENDINGS))
    assert np.isfinite(stored[list(SCORES)]).all(axis=None)
    for score in SCORES[:2]:
        assert stored[score].is_unique
    steps = stored.pivot_table("train_steps", "method", "ending")
    assert (steps[ENDINGS[1]] == steps[EARLY] + 300).all()


def test_endings_train_what_their_names_say() -> None:
    problem = make_problem("half_wiggly", 20, regressor=TINY)
    train_sets = endings._training_sets(problem, 20)
    assert [len(x) for x, _ in train_sets.values()][:2] == [60, 60 + 60 * 59 // 2]
    train_set = train_sets["Original Mixup"]
    scores = endings._scores(problem, train_set, 20, 0)

    def fit(part: int, initial: FittedRegressors | None = None, **changes: Any) -> FittedRegressors:
        weights = None if initial is None else [initial.weights]
        return problem.fit([train_set], [stream(20, "endings", 0, part)], replace(TINY, **changes), weights)

    early = fit(0)
    kept, spent = int(early.kept_steps[0]), int(early.train_steps[0])
    half = fit(0, patience=None, max_steps=kept // 2)
    assert fit(0, patience=None, max_steps=kept).val_loss[0] == early.val_loss[0]  # so half-way lies on the early stop's path
    expected = [
        (early, spent),
        (fit(1, early, schedule="annealed", patience=None, max_steps=300), spent + 300),
        (fit(1, half, schedule="annealed", patience=None, max_steps=kept), spent + kept // 2 + kept),
        (fit(0, None, schedule="annealed", patience=None, max_steps=kept * 3 // 2), spent + kept * 3 // 2),
    ]
    assert problem.data.x_test is not None
    assert problem.data.y_test is not None
    x_test = problem.data.standardize_x(problem.data.x_test)
    for (val_rmse, test_rmse, steps), (fitted, expected_steps) in zip(scores, expected, strict=True):
        assert val_rmse == float(fitted.val_loss[0]) ** 0.5
        assert test_rmse == rmse(problem.data.y_test, fitted.predict(x_test)[0])
        assert steps == expected_steps


def stored_rows(splits: int) -> pd.DataFrame:
    """Every ending is worse than the one before by about 0.01; splits and methods differ by more."""
    rng = np.random.default_rng(0)
    rows = []
    for dataset, method, (place, ending), split in product(("no2", "gap"), METHODS, enumerate(ENDINGS), range(splits)):
        score = 0.5 + 0.02 * split + 0.01 * place + 0.1 * METHODS.index(method) + 0.001 * rng.normal()
        row = {"dataset": dataset, "split_seed": split, "method": method, "ending": ending}
        rows.append({**row, "val_rmse": score, "test_rmse": 2 * score, "train_steps": 100.0 + place})
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def test_tables_against_loops() -> None:
    stored = stored_rows(6)
    pooled, by_method = (table for _, table in Endings.tables(as_results(stored)))
    assert len(pooled) == 2 * len(ENDINGS)
    assert len(by_method) == 2 * len(METHODS)

    def by_split(score: str, **chosen: str) -> list[float]:
        own = stored[np.logical_and.reduce([stored[key] == value for key, value in chosen.items()])]
        return [float(own.loc[own["split_seed"] == split, score].mean()) for split in range(6)]

    for line in pooled.to_dict("records"):
        for title, score in (("Validation RMSE", "val_rmse"), ("Test RMSE", "test_rmse")):
            ours = by_split(score, dataset=line["Dataset"], ending=line["Ending"])
            told = paired_difference(ours, by_split(score, dataset=line["Dataset"], ending=EARLY)).text
            assert line[title] == f"{np.mean(ours):.4f}"
            assert line[f"{title}, difference"] == ("" if line["Ending"] == EARLY else told)
        assert line["Steps"] == str(100 + ENDINGS.index(line["Ending"]))
    for line, ending in product(by_method.to_dict("records"), ENDINGS[1:]):
        of_line = {"dataset": line["Dataset"], "method": line["Method"]}
        ours, reference = (by_split("val_rmse", **of_line, ending=one) for one in (ending, EARLY))
        assert line[ending] == paired_difference(ours, reference).text


@pytest.mark.parametrize("splits", [1, 4])
def test_the_figure_can_be_drawn_before_all_is_stored(splits: int, tmp_path: Path) -> None:
    stored = stored_rows(splits)
    for part in (stored, stored[stored["dataset"] == "gap"]):
        [path] = Endings.draw(as_results(part), tmp_path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert Endings.tables(as_results(part))

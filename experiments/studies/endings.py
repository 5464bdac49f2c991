"""Endings: should the final regressors be trained to the early stop at a constant rate, or end with an annealed learning rate?

The final regressors give the reported errors. The ending is to be chosen on validation rows, once for all methods.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import PositiveInt

from experiments.methods.peers import with_mixed
from experiments.presets import SMALL_REGRESSOR
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import draw_differences, save_figure
from experiments.show.statistics import BASELINE, paired_difference
from experiments.show.tables import Titled
from experiments.study import Datasets, Seeds, Study
from mixrl_env import MixingProblem, RegressorConfig
from mixrl_env.env import make_problem
from mixrl_env.metrics import rmse
from mixrl_env.plans import apply_plan
from mixrl_env.regressor import FittedRegressors, TrainingSet
from mixrl_env.streams import stream

EARLY = "early stop"
ENDINGS = (
    EARLY,
    "early stop, then annealed 300",
    "half-way, then annealed as long again",
    "annealed from scratch over 1.5 x kept steps",
)
"""Kept steps are those after which the early stop's validation loss was lowest."""
_TITLES = {"Validation RMSE": "val_rmse", "Test RMSE": "test_rmse"}


class Endings(Study):
    """Settings of the study.

    Attributes:
        datasets: names.
        splits: seeds.
        repeats: trainings a method and ending.
    """

    kind: Literal["endings"] = "endings"
    datasets: Datasets = ("no2",)
    splits: Seeds = (20,)
    repeats: PositiveInt = 3

    def cells(self) -> list[Cell]:
        """One a dataset and split."""
        return self.grid(self._split, dataset=self.datasets, split_seed=self.splits)

    def _split(self, dataset: str, split: int) -> list[Row]:
        """One row a method and ending: means over the repeats."""
        problem = make_problem(dataset, split, regressor=RegressorConfig() if dataset == "no2" else SMALL_REGRESSOR)
        rows: list[Row] = []
        for method, train_set in _training_sets(problem, split).items():
            means = np.mean([_scores(problem, train_set, split, repeat) for repeat in range(self.repeats)], axis=0)
            for ending, (val_rmse, test_rmse, steps) in zip(ENDINGS, means, strict=True):
                row = {"method": method, "ending": ending}
                rows.append({**row, "val_rmse": val_rmse, "test_rmse": test_rmse, "train_steps": steps})
        return rows

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Every ending against the early stop: all methods together, then one by one."""
        pooled, by_method = [], []
        for dataset, rows in results.rows.groupby("dataset", sort=False):
            for ending in ENDINGS:
                line = {"Dataset": dataset, "Ending": ending, "Steps": f"{_by_split(rows, 'train_steps')[ending].mean():.0f}"}
                for title, score in _TITLES.items():
                    line[title] = f"{_by_split(rows, score)[ending].mean():.4f}"
                    line[f"{title}, difference"] = _differences(rows, score).get(ending, "")
                pooled.append(line)
            for method, own in rows.groupby("method", sort=False):
                by_method.append({"Dataset": dataset, "Method": method, **_differences(own, "val_rmse")})
        return [
            ("Means over methods and splits; differences to the early stop with 95% intervals", pd.DataFrame(pooled)),
            ("Differences of validation RMSE to the early stop, method by method", pd.DataFrame(by_method)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Differences to the early stop: validation rows above, test rows below, one column a dataset."""
        stored = results.rows
        datasets = stored["dataset"].unique()
        figure = Figure(figsize=(2.3 * len(datasets) + 2.6, 3.8), layout="constrained")
        panels = figure.subplots(2, len(datasets), sharex="col", sharey=True, squeeze=False)
        for (row, (title, score)), (column, dataset) in product(enumerate(_TITLES.items()), enumerate(datasets)):
            axes, means = panels[row, column], _by_split(stored[stored["dataset"] == dataset], score)
            draw_differences(axes, {ending: means[ending] - means[EARLY] for ending in ENDINGS[1:]})
            axes.set(title="" if row else dataset, ylabel="" if column else title)
            axes.margins(y=0.2)
        figure.supxlabel("RMSE minus that of the early stop, 95% intervals; a grey dot is a split", fontsize=9)
        return [save_figure(figure, out / "endings.png")]


def _by_split(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Means over the methods of one dataset: a row a split, a column an ending."""
    return rows.pivot_table(score, "split_seed", "ending")


def _differences(rows: pd.DataFrame, score: str) -> dict[str, str]:
    """To the early stop, over the splits of one dataset, by ending."""
    means = _by_split(rows, score)
    return {ending: paired_difference(means[ending].tolist(), means[EARLY].tolist()).text for ending in ENDINGS[1:]}


def _training_sets(problem: MixingProblem, split: int) -> dict[str, TrainingSet]:
    """By method: the rows alone, with every pair, and with 8 neighbours of every row in both distances."""
    n = len(problem.x_train)
    i, j = np.triu_indices(n, k=1)
    neighbors = pd.DataFrame({"row": np.repeat(range(n), 2), "space": ["data", "label"] * n, "k": 8})
    return {
        BASELINE: (problem.x_train, problem.data.y_train),
        "Original Mixup": with_mixed(problem, i, j, np.full(len(i), 0.5)),
        "Global kNN, k = 8": apply_plan(problem, neighbors, stream(split, "mixed rows of endings")),
    }


def _scores(problem: MixingProblem, train_set: TrainingSet, split: int, repeat: int) -> list[tuple[float, float, int]]:
    """Of each of `ENDINGS`: validation RMSE, test RMSE, and the optimiser steps spent, the search for kept steps included."""
    data = problem.data
    assert data.x_test is not None
    assert data.y_test is not None

    def fit(part: int, start: FittedRegressors | None = None, **changes: Any) -> FittedRegressors:
        rng, config = stream(split, "endings", repeat, part), replace(problem.config.regressor, **changes)
        return problem.fit([train_set], [rng], config, None if start is None else [start.weights])

    early = fit(0)
    kept, spent = int(early.kept_steps[0]), int(early.train_steps[0])
    annealed: dict[str, Any] = {"schedule": "annealed", "patience": None}
    half = fit(0, max_steps=kept // 2, patience=None)  # on the early stop's own path: same weights and minibatches
    trained = [
        (early, spent),
        (fit(1, early, max_steps=300, **annealed), spent + 300),
        (fit(1, half, max_steps=kept, **annealed), spent + kept // 2 + kept),
        (fit(0, max_steps=3 * kept // 2, **annealed), spent + 3 * kept // 2),
    ]
    x_test = data.standardize_x(data.x_test)
    return [(float(one.val_loss[0]) ** 0.5, rmse(data.y_test, one.predict(x_test)[0]), steps) for one, steps in trained]

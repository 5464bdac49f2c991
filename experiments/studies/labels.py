"""Labels: what is mixing worth on NO2 when labels are raw, and when they are standardised?

Two recipes train the final regressors: ours, through the methods that all other tables use, and that of C-Mixup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.methods.c_mixup import BANDWIDTHS, partner_chances
from experiments.presets import PRESETS
from experiments.published import REPORTED
from experiments.runner.cells import Cell, Row, silent
from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from experiments.show.statistics import BASELINE, Difference, paired_difference
from experiments.show.tables import Titled
from experiments.studies.comparison import compute_method
from experiments.studies.mixed_minibatches import Draws, predict, train
from experiments.study import Seeds, Study
from mixrl_env import RegressionData, RegressorConfig, load_dataset
from mixrl_env.data import FloatArray, LabelScale
from mixrl_env.metrics import rmse
from mixrl_env.neighbors import NeighborOption, NeighborTable
from mixrl_env.streams import stream

METHODS = (BASELINE, "Original Mixup", "Global kNN", "C-Mixup")
RECIPES = ("ours", "C-Mixup's")
LABELS = ("raw", "standardised")
_KS = (1, 2, 4, 8, 16)
_RATES = (0.01, 0.001)
_TUNING, _REPEATS = 2, 5
"""Trainings of each candidate, and trainings of the chosen one; the recipe of C-Mixup."""
_KNN_REPEATS = 1
"""Trainings of each candidate, our recipe."""
_CHOSEN = {"Chosen k or bandwidth (splits)": "chosen", "Rate (splits)": "learning_rate"}


class Labels(Study):
    """Settings of the study.

    Attributes:
        splits: seeds of NO2's splits.
    """

    kind: Literal["labels"] = "labels"
    splits: Seeds = (0, 1, 2, 3, 4)

    def cells(self) -> list[Cell]:
        """One a recipe, kind of labels and split, split by split."""
        return self.grid(_cell, split_seed=self.splits, recipe=RECIPES, labels=LABELS)

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Methods with single regressors, with averaged ones, what standardising changes, and what others report."""
        stored = results.rows
        return [
            (
                "Single regressors: mean test RMSE, differences paired by split with 95% intervals",
                _methods(stored, "test_rmse"),
            ),
            (
                "The same for the mean prediction of five regressors",
                _methods(stored, "test_rmse_averaged").drop(columns=list(_CHOSEN)),
            ),
            ("What standardised labels change, single regressors: standardised minus raw", _standardising(stored)),
            ("Published on NO2, each source on one split of its own", _reported()),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Differences to No Augmentation of both recipes with both kinds of labels, beside the published ones."""
        stored = results.rows
        figure = Figure(figsize=(11.5, 3.9), layout="constrained")
        panels = figure.subplots(1, 3, sharex=True, width_ratios=(1, 1, 1.05))
        for axes, recipe in zip(panels, RECIPES, strict=False):
            _draw_recipe(axes, stored, recipe)
            axes.set_title("Our recipe" if recipe == "ours" else f"{recipe} recipe", fontsize=10)
        _draw_reported(panels[-1])
        for axes in panels:
            axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
            axes.tick_params(axis="y", length=0)
            axes.yaxis.set_inverted(True)
        figure.supxlabel("test RMSE minus that of No Augmentation, 95% intervals", fontsize=9)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
        return [save_figure(figure, out / "labels.png")]


def _cell(split: int, recipe: str, labels: str) -> list[Row]:
    compute = _with_our_recipe if recipe == "ours" else _with_c_mixups_recipe
    return compute(labels == "standardised", split)


def _with_our_recipe(standardize: bool, split: int) -> list[Row]:
    settings = replace(PRESETS["default"], knn_repeats=_KNN_REPEATS, standardize_labels=standardize).of_baseline()
    rows: list[Row] = []
    for method in METHODS:
        scores = pd.DataFrame(compute_method(method, settings, split, silent).rows)
        rows.append(
            {
                "method": method,
                **{score: scores[score].mean() for score in ("val_rmse", "test_rmse", "test_rmse_averaged")},
                "chosen": float(next(iter(scores["parameters"].iloc[0].values()), np.nan)),
                "learning_rate": settings.regressor.learning_rate if settings.regressor else RegressorConfig().learning_rate,
            }
        )
    return rows


def _with_c_mixups_recipe(standardize: bool, split: int) -> list[Row]:
    data = load_dataset("no2", split)
    assert data.x_test is not None
    assert data.y_test is not None
    tuning, final = (
        [
            Draws.of(len(data.x_train), data.x_train.shape[1], stream(split, "mixed minibatches", phase, repeat))
            for repeat in range(repeats)
        ]
        for phase, repeats in enumerate((_TUNING, _REPEATS))
    )
    ways, best = _ways(data), dict[str, tuple[float, float, _Way]]()
    for rate in _RATES:
        predicted = _predictions(data, standardize, ways, tuning, rate, [data.x_val])[0]
        for way, loss in zip(ways, np.square(predicted - data.y_val).mean(axis=(1, 2, 3)), strict=True):
            if way.method not in best or loss < best[way.method][0]:
                best[way.method] = loss, rate, way
    rows: list[Row] = []
    for method, (_, rate, way) in best.items():
        [on_val], [on_test] = _predictions(data, standardize, [way], final, rate, [data.x_val, data.x_test])
        rows.append(
            {
                "method": method,
                "val_rmse": np.mean([rmse(data.y_val, one) for one in on_val]),
                "test_rmse": np.mean([rmse(data.y_test, one) for one in on_test]),
                "test_rmse_averaged": rmse(data.y_test, on_test.mean(axis=0)),
                "chosen": way.chosen,
                "learning_rate": rate,
            }
        )
    return rows


class _Way(NamedTuple):
    """One way to draw partners; chosen is its k or bandwidth, NaN where there is nothing to choose."""

    method: str
    chosen: float
    chances: FloatArray


def _ways(data: RegressionData) -> list[_Way]:
    """All candidates, in the order of `METHODS`."""
    n = len(data.x_train)
    labels = data.standardize_y(data.y_train)
    neighbors = NeighborTable(data.standardize_x(data.x_train), labels, list(product(("data", "label"), _KS)))
    return [
        _Way(BASELINE, np.nan, np.eye(n)),
        _Way("Original Mixup", np.nan, (1 - np.eye(n)) / (n - 1)),
        *(_Way("Global kNN", k, _neighbor_chances(neighbors, k, n)) for k in _KS),
        *(_Way("C-Mixup", bandwidth, partner_chances(labels, bandwidth)) for bandwidth in BANDWIDTHS),
    ]


def _neighbor_chances(neighbors: NeighborTable, k: int, n: int) -> FloatArray:
    """Partners are the k nearest in data and the k nearest in label distance; one that is both counts twice."""
    chances = np.zeros((n, n))
    for space in ("data", "label"):
        option = neighbors.options.index(NeighborOption(space, k))
        chances[neighbors.pairs(np.arange(n), np.full(n, option))] += 0.5 / k
    return chances


def _predictions(
    data: RegressionData,
    standardize: bool,
    ways: Sequence[_Way],
    draws: Sequence[Draws],
    rate: float,
    features: Sequence[FloatArray],
) -> list[FloatArray]:
    """Train a network for every way and draw; predictions in label units for each table of features, (ways, draws, rows, 1)."""
    labels = data.label_scale if standardize else LabelScale.identity(1)
    jobs = list(product((way.chances for way in ways), draws))
    weights = train(
        (data.standardize_x(data.x_train), labels.to_standard(data.y_train)),
        (data.standardize_x(data.x_val), labels.to_standard(data.y_val)),
        [chances for chances, _ in jobs],
        [one for _, one in jobs],
        rate,
    )
    outputs = [predict(weights, data.standardize_x(x)).reshape(len(ways), len(draws), len(x), 1) for x in features]
    return [labels.to_labels(output) for output in outputs]


def _by_split(stored: pd.DataFrame, recipe: str, labels: str, method: str) -> pd.DataFrame:
    own = stored[(stored["recipe"] == recipe) & (stored["labels"] == labels) & (stored["method"] == method)]
    return own.set_index("split_seed")


def _paired(ours: pd.DataFrame, reference: pd.DataFrame, score: str) -> Difference | None:
    """Over the splits that both have; None if there are none."""
    one, other = ours[score].align(reference[score], join="inner")
    return paired_difference(one.tolist(), other.tolist()) if len(one) else None


def _methods(stored: pd.DataFrame, score: str) -> pd.DataFrame:
    table = []
    for recipe, labels, method in product(RECIPES, LABELS, METHODS):
        own, reference = _by_split(stored, recipe, labels, method), _by_split(stored, recipe, labels, BASELINE)
        if own.empty:
            continue
        difference = None if method == BASELINE else _paired(own, reference, score)
        table.append(
            {
                "Recipe": recipe,
                "Labels": labels,
                "Method": method,
                "Splits": len(own),
                "Test RMSE": f"{own[score].mean():.4f}",
                f"Minus {BASELINE}": difference.text if difference else "",
                "Percent": f"{100 * difference.mean / reference[score].mean():+.1f}%" if difference else "",
                **{title: _counts(own[column]) for title, column in _CHOSEN.items()},
            }
        )
    return pd.DataFrame(table)


def _counts(values: pd.Series[float]) -> str:
    counted = values.value_counts().sort_index()
    return ", ".join(f"{value:g} ({count})" for value, count in counted.items())


def _standardising(stored: pd.DataFrame) -> pd.DataFrame:
    table = []
    for recipe, method in product(RECIPES, METHODS):
        raw, standardised = (_by_split(stored, recipe, labels, method) for labels in LABELS)
        if difference := _paired(standardised, raw, "test_rmse"):
            percent = f"{100 * difference.mean / raw['test_rmse'].mean():+.1f}%"
            table.append({"Recipe": recipe, "Method": method, "Standardised minus raw": difference.text, "Percent": percent})
    return pd.DataFrame(table)


def _reported() -> pd.DataFrame:
    references = {one.source: one.rmse for one in REPORTED if one.method == BASELINE}
    return pd.DataFrame(
        {
            "Source": one.source,
            "Method": one.method,
            "Test RMSE": f"{one.rmse:.4g}",
            f"Minus {BASELINE}": "" if one.method == BASELINE else f"{one.rmse - references[one.source]:+.4f}",
        }
        for one in REPORTED
    )


def _draw_recipe(axes: Axes, stored: pd.DataFrame, recipe: str) -> None:
    """A line for each method that mixes, and below them what standardised labels alone are worth."""
    for place, method in enumerate(METHODS[1:]):
        for labels, color, shift in zip(LABELS, (ORANGE, BLUE), (-0.13, 0.13), strict=True):
            mixed, reference = (_by_split(stored, recipe, labels, name) for name in (method, BASELINE))
            _draw_difference(axes, _paired(mixed, reference, "test_rmse"), place + shift, color, f"{labels} labels")
    raw, standardised = (_by_split(stored, recipe, labels, BASELINE) for labels in LABELS)
    gain = _paired(standardised, raw, "test_rmse")
    _draw_difference(axes, gain, len(METHODS) - 1, "black", "standardised minus raw labels, no mixing")
    axes.set_yticks(range(len(METHODS)), [*METHODS[1:], "standardised labels,\nno mixing"])
    axes.set_ylim(-0.5, len(METHODS) - 0.5)


def _draw_difference(axes: Axes, difference: Difference | None, place: float, color: str, name: str) -> None:
    if difference is None:
        return
    known = name in axes.get_legend_handles_labels()[1]
    axes.plot([difference.low, difference.high], [place, place], color=color, linewidth=2)
    axes.plot(difference.mean, place, "o", color=color, markersize=5, label=None if known else name)


def _draw_reported(axes: Axes) -> None:
    """One line a published figure, below the name of its source."""
    lines: list[str] = []
    sources = list(dict.fromkeys(one.source for one in REPORTED))
    for source in sources:
        lines.append(source)
        of_source = {one.method: one.rmse for one in REPORTED if one.source == source}
        reference = of_source.pop(BASELINE)
        axes.plot(
            [value - reference for value in of_source.values()], range(len(lines), len(lines) + len(of_source)), "D", color=GREY
        )
        lines += of_source
    axes.set_yticks(range(len(lines)), lines)
    for label in axes.get_yticklabels():
        label.set_fontstyle("italic" if label.get_text() in sources else "normal")
    axes.set_title("Published, one split a source", fontsize=10)

"""Figs. 2 and 5 of the paper: wrong labels, and what becomes of the model, when only pairs of one range of distances are mixed.

All pairs of training rows are dealt into bins of equally many pairs, once by data distance and once by label distance. Every
bin gives the same number of mixed rows, a random sample of its pairs at lambda 0.5, so that distance is not confounded with
the amount of mixing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, PositiveInt, model_validator

from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from experiments.show.statistics import Difference, paired_difference
from experiments.show.tables import Titled
from experiments.studies.distance_bins import SPACES, measure
from experiments.study import Seeds, Study, one_of
from mixrl_env import MixingProblem, ProblemConfig, load_dataset
from mixrl_env.registration import PAPER_SETTINGS

_OF_PAPER = {settings["data"]: settings for settings in PAPER_SETTINGS.values()}


class Distances(Study):
    """Settings of the study.

    Attributes:
        dataset: one of the paper's; the regressor is the paper's for it.
        splits: seeds.
        bins: ranges of distance, each with equally many pairs.
        repeats: trainings on every training set.
        regressor: what of the paper's regressor is changed, fields of `mixrl_env.RegressorConfig`.

    Raises:
        ValueError: for a dataset that the paper has no settings for, or a bad change of the regressor.
    """

    kind: Literal["distances"] = "distances"
    dataset: Annotated[str, one_of(tuple(_OF_PAPER), "dataset of the paper")] = "no2"
    splits: Seeds = (0,)
    bins: PositiveInt = 8
    repeats: PositiveInt = 4
    regressor: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Distances:
        self._config()
        return self

    def cells(self) -> list[Cell]:
        """One a split."""
        return self.grid(self._split, dataset=(self.dataset,), split_seed=self.splits)

    def _split(self, dataset: str, split: int) -> list[Row]:
        problem = MixingProblem(load_dataset(dataset, split), self._config())
        return measure(problem, self.bins, self.repeats, split)

    def _config(self) -> ProblemConfig:
        settings = {key: value for key, value in _OF_PAPER[self.dataset].items() if key != "data"}
        return ProblemConfig.from_settings(settings | {"regressor": settings["regressor"] | self.regressor})

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """One row a bin for either distance; the largest distances against the smallest; how the two distances go together."""
        stored = results.rows
        name, means = stored["dataset"].iloc[0], _over_repeats(stored)
        title = f"{name}: mixing pairs of one range of {{}} distance; differences to no augmentation"
        return [
            *((title.format(space), _by_bin(means, space)) for space in SPACES),
            (f"{name}: the largest distances (last row) against the smallest (first row)", _ends(means)),
            (f"{name}: rank correlation of data and label distance, all pairs of training rows", _correlation(stored)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Label error, the two distances of pairs, and the model against each distance: Figs. 5a, c, d, e, and 2c, a, b."""
        stored = results.rows
        means = _over_repeats(stored)
        figure = Figure(figsize=(10, 7), layout="constrained")
        (left, middle), right = figure.subplots(2, 2)
        right[1].sharey(right[0])
        for space, color in zip(SPACES, (BLUE, ORANGE), strict=True):
            bins = _bins(means, space)
            errors = [paired_difference(one["label_error"].tolist(), [0.0] * len(one)) for one in bins]
            _plot(left, bins, errors, 0, "o-", color, f"{space} distance")
        left.set(xlabel="distance (normalised)", ylabel="label RMSE", title="Label error of mixed rows", ylim=(0, None))
        left.legend(frameon=False, fontsize=8, loc="lower right")
        pairs = stored[stored["what"] == "pair"]
        look = {"s": 6, "color": GREY, "alpha": 0.5, "linewidths": 0, "rasterized": True}  # thousands of points
        middle.scatter(pairs["data_distance"], pairs["label_distance"], **look)
        middle.set(xlabel="data distance (normalised)", ylabel="label distance (normalised)", title="Pairs of training rows")
        for axes, space in zip(right, SPACES, strict=True):
            _draw_model(axes, means, space)
        figure.legend(*right[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        return [save_figure(figure, out / f"distances_{stored['dataset'].iloc[0]}.png")]


def _over_repeats(stored: pd.DataFrame) -> pd.DataFrame:
    """Means over repeats of every bin (rows of the index) and split; space is "" and bin 0 for the reference."""
    rows = stored[stored["what"].isin(["bin", "reference"])].fillna({"space": "", "bin": 0})
    columns = ["low", "high", "distance", "label_error", "bend", "val_rmse", "test_rmse"]
    return rows.groupby(["space", "bin", "split_seed"])[columns].mean()


def _bins(means: pd.DataFrame, space: str) -> list[pd.DataFrame]:
    """The bins of a space, the nearest pairs first, each with one row a split."""
    of_space = means.loc[space]
    return [of_space.loc[number] for number in of_space.index.unique("bin")]


def _against(ours: pd.DataFrame, other: pd.DataFrame, column: str) -> Difference:
    """Paired by split."""
    return paired_difference(ours[column].tolist(), other.loc[ours.index, column].tolist())


def _by_bin(means: pd.DataFrame, space: str) -> pd.DataFrame:
    [reference], table = _bins(means, ""), []
    for rows in _bins(means, space):
        mean = rows.mean()
        table.append(
            {
                "Distance (normalised)": f"{mean['low']:.2f} to {mean['high']:.2f}",
                "Label error": f"{mean['label_error']:.3f}",
                "Bend": f"{mean['bend']:.3f}",
                "Test RMSE": f"{mean['test_rmse']:.4f}",
                "Test RMSE difference": _against(rows, reference, "test_rmse").text,
                "Val. RMSE difference": _against(rows, reference, "val_rmse").text,
            }
        )
    return pd.DataFrame(table)


def _ends(means: pd.DataFrame) -> pd.DataFrame:
    names = {"label_error": "Label error", "bend": "Bend", "test_rmse": "Test RMSE", "val_rmse": "Val. RMSE"}
    table = []
    for space in SPACES:
        bins = _bins(means, space)
        table.append({"Distance": space} | {name: _against(bins[-1], bins[0], column).text for column, name in names.items()})
    return pd.DataFrame(table)


def _correlation(stored: pd.DataFrame) -> pd.DataFrame:
    values = stored["spearman"].dropna()
    line = {
        "Splits": len(values),
        "Mean": f"{values.mean():+.2f}",
        "Lowest, highest": f"{values.min():+.2f}, {values.max():+.2f}",
    }
    return pd.DataFrame([line])


def _draw_model(axes: Axes, means: pd.DataFrame, space: str) -> None:
    """RMSE against distance; bars are intervals of the paired difference to no augmentation, the dotted line."""
    [reference], bins = _bins(means, ""), _bins(means, space)
    for column, words, style, color in (
        ("val_rmse", "validation rows", "s-", ORANGE),
        ("test_rmse", "test rows", "o-", BLUE),
    ):
        level = float(reference[column].mean())
        _plot(axes, bins, [_against(one, reference, column) for one in bins], level, style, color, words)
        axes.axhline(level, color=color, linewidth=1, linestyle=":", label=f"{words}, no augmentation")
    axes.set(xlabel=f"{space} distance of mixed pairs (normalised)", ylabel="RMSE", title=f"Model, by {space} distance")


def _plot(
    axes: Axes, bins: list[pd.DataFrame], values: list[Difference], level: float, style: str, color: str, label: str
) -> None:
    """A curve above a level: means over splits at the bins' mean distances, with intervals."""
    at = [one["distance"].mean() for one in bins]
    bars = np.nan_to_num([[one.mean - one.low, one.high - one.mean] for one in values]).T  # a single split has no interval
    axes.errorbar(at, [level + one.mean for one in values], bars, fmt=style, color=color, label=label, capsize=2, markersize=4)

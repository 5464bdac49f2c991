"""Comparisons over many tables: log ratios of the test RMSE, normalised scores where the truth is known, and their figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from experiments.show.statistics import BASELINE, mean_interval
from experiments.show.tables import Titled
from mixrl_env.streams import stream

SINGLE, ORACLE = "Best single option", "Oracle by kind of row"
_SMALLEST_GAIN = 0.1  # of the oracle, in log ratio; below it there is little to score


def across_tables(rows: pd.DataFrame) -> list[Titled]:
    """Log ratios to no mixing table by table and in the mean, differences to every other method, and normalised scores."""
    logs = log_ratios(rows)
    methods = [str(name) for name in logs]
    learned = [name for name in methods if "search" in name or "features" in name]
    titled = [("Log ratio of the test RMSE to No Augmentation, averaged predictions, percent, 95% intervals", _ratios(logs))]
    for method in learned:
        against = {other: logs[method] - logs[other] for other in methods if other != method}
        title = f"{method} minus each other method, log ratio in percent: mean over tables, and the worst table"
        titled.append((title, _against(against | {BASELINE: logs[method]})))
    if ORACLE in logs:
        title = "Normalised score where the oracle gains 10%: 0 is the better of no mixing and one option, 1 the oracle"
        titled.append((title, _scores(logs)))
    return titled


def log_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Log of the averaged regressors' test RMSE over that of no mixing: methods across, (dataset, split_seed) down.

    Only splits that have every method.
    """
    wide = rows.groupby(["dataset", "split_seed", "method"], sort=False)["test_rmse_averaged"].mean().unstack("method")
    wide = wide[[name for name in rows["method"].unique() if name in wide]].dropna()
    logs: pd.DataFrame = wide.div(wide[BASELINE], axis=0).drop(columns=BASELINE).map(np.log)
    return logs


def _percent(values: pd.Series) -> str:
    return mean_interval(100 * values).rounded(1)


def _ratios(logs: pd.DataFrame) -> pd.DataFrame:
    table = []
    for dataset, own in logs.groupby("dataset", sort=False):
        table.append({"Table": dataset, "Splits": str(len(own)), **{str(name): _percent(own[name]) for name in logs}})
    means = logs.groupby("dataset", sort=False).mean()
    table.append({"Table": f"mean of {len(means)}", "Splits": "", **{str(name): _percent(means[name]) for name in logs}})
    return pd.DataFrame(table)


def _against(differences: dict[str, pd.Series]) -> pd.DataFrame:
    table = []
    for other, values in differences.items():
        means = values.groupby("dataset", sort=False).mean()
        worst = f"{means.idxmax()} {100 * float(means.max()):+.1f}"
        table.append({"Against": other, "Mean over tables": _percent(means), "Worst": worst})
    return pd.DataFrame(table)


def _scores(logs: pd.DataFrame) -> pd.DataFrame:
    """Ratio of mean gains, with a bootstrap interval over draws."""
    rng, table = stream(0, "bootstrap of scores"), []
    for dataset, own in logs.groupby("dataset", sort=False):
        line = {"Table": str(dataset), "Oracle": _percent(own[ORACLE])}
        start = own[SINGLE] if own[SINGLE].mean() < 0 else 0 * own[SINGLE]
        possible = start - own[ORACLE]
        if possible.mean() < _SMALLEST_GAIN:
            continue
        for name in [str(name) for name in own if name not in (SINGLE, ORACLE)]:
            gained = start - own[name]
            picks = rng.integers(len(own), size=(2000, len(own)))
            ratios = gained.to_numpy()[picks].mean(axis=1) / possible.to_numpy()[picks].mean(axis=1)
            low, high = np.quantile(ratios, [0.025, 0.975])
            line[name] = f"{gained.mean() / possible.mean():.2f} [{low:.2f}, {high:.2f}]"
        table.append(line)
    return pd.DataFrame(table)


def draw_across(rows: pd.DataFrame, out: Path) -> Path:
    """Log ratios to no mixing, one line a table and one dot a method; bars are 95% intervals."""
    logs = log_ratios(rows)
    datasets, methods = list(dict.fromkeys(logs.index.get_level_values("dataset"))), [str(name) for name in logs]
    figure = Figure(figsize=(7.5, 0.42 * len(datasets) + 1.6), layout="constrained")
    axes = figure.subplots()
    colors = {SINGLE: GREY, ORACLE: "black", **{name: BLUE for name in methods if "search" in name}}
    others = iter([ORANGE, "#5b9a5b", "#9467bd", "#c44e52"])
    for number, name in enumerate(methods):
        color = colors.get(name) or next(others)
        for place, dataset in enumerate(datasets):
            gain = mean_interval(100 * logs.loc[dataset, name])
            height = place + (number - (len(methods) - 1) / 2) * 0.8 / len(methods)
            axes.plot([gain.low, gain.high], [height, height], color=color, linewidth=1.2)
            axes.plot(gain.mean, height, "o", color=color, markersize=4, label=name if place == 0 else None)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(datasets)), datasets)
    axes.yaxis.set_inverted(True)
    axes.set_xlim(-80, 80)
    axes.set_xlabel("log ratio of the test RMSE to no mixing, percent; left of 0 is better")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return save_figure(figure, out / "across.png")

"""Comparisons over many tables: log ratios of the test RMSE, normalised scores where the truth is known, and their figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, save_figure
from experiments.show.statistics import BASELINE, mean_interval, ratio_of_means
from experiments.show.tables import Titled

SINGLE, ORACLE = "Best single option", "Oracle by kind of row"
_GAINS = ("gain", "gain_low", "gain_high", "test")
_COLORS = ("C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9", "#1b4d3e", "#b8860b")  # no blue and no grey
_SMALLEST_GAIN = 0.1  # of the oracle, in log ratio; below it there is little to score


def across_tables(rows: pd.DataFrame) -> list[Titled]:
    """Log ratios to no mixing table by table and in the mean, differences to every other method, and normalised scores."""
    logs = log_ratios(rows)
    methods = [str(name) for name in logs]
    learned = [name for name in methods if "MixRL" in name or "REINFORCE on" in name]
    titled = [("Log ratio of the test RMSE to No Augmentation, averaged predictions, percent, 95% intervals", _ratios(logs))]
    for method in learned:
        against = {other: logs[method] - logs[other] for other in methods if other != method}
        title = f"{method} minus each other method, log ratio in percent: mean over tables, and the worst table"
        titled.append((title, _against(against | {BASELINE: logs[method]})))
    if ORACLE in logs and len(scores := _scores(logs)):
        title = "Normalised score where the oracle gains 10%: 0 is the better of no mixing and one option, 1 the oracle"
        titled.append((title, scores))
    if "parameters" in rows and len(promised := _promised_gains(rows)):
        title = "Gain over no mixing in mean squared error, percent of no mixing's on validation rows: shown, and on test rows"
        titled.append((title, promised))
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
    return _rounded(100 * values)


def _rounded(values: pd.Series) -> str:
    return mean_interval(values).rounded(1)


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
    table = []
    for dataset, own in logs.groupby("dataset", sort=False):
        line = {"Table": str(dataset), "Oracle": _percent(own[ORACLE])}
        start = own[SINGLE] if own[SINGLE].mean() < 0 else 0 * own[SINGLE]
        possible = start - own[ORACLE]
        if possible.mean() < _SMALLEST_GAIN:
            continue
        for name in [str(name) for name in own if name not in (SINGLE, ORACLE)]:
            line[name] = ratio_of_means(start - own[name], possible).score
        table.append(line)
    return pd.DataFrame(table)


def _promised_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """The gain that a method shows, corrected for its choice, against that on the test rows, and how often it is covered."""
    own = rows.assign(test_mse=rows["test_rmse"] ** 2, val_mse=rows["val_rmse"] ** 2)
    grouped = own.groupby(["dataset", "split_seed", "method"], sort=False)
    runs = grouped.agg({"test_mse": "mean", "val_mse": "mean", "parameters": "first"}).reset_index()
    none = {(run["dataset"], run["split_seed"]): run for run in runs[runs["method"] == BASELINE].to_dict("records")}
    found = []
    for run in runs.to_dict("records"):
        shown, reference = run["parameters"], none.get((run["dataset"], run["split_seed"]))
        if "gain" in shown and reference:
            unit = 100 / reference["val_mse"]
            gains = {name: unit * shown[name] for name in ("gain", "gain_low", "gain_high")}
            gains["test"] = unit * (reference["test_mse"] - run["test_mse"])
            found.append({"Method": run["method"], "Table": run["dataset"], **gains})
    table = []
    for key, group in pd.DataFrame(found, columns=["Method", "Table", *_GAINS]).groupby(["Method", "Table"], sort=False):
        covered = group["test"].between(group["gain_low"], group["gain_high"])
        line = dict(zip(("Method", "Table"), map(str, key), strict=True))
        line |= {"Shown": _rounded(group["gain"]), "On test rows": _rounded(group["test"])}
        table.append(line | {"Within the interval shown": f"{covered.sum()} of {len(group)}"})
    return pd.DataFrame(table)


def draw_across(rows: pd.DataFrame, out: Path) -> Path:
    """Log ratios to no mixing, one line a table and one dot a method; bars are 95% intervals."""
    logs = log_ratios(rows)
    datasets, methods = list(dict.fromkeys(logs.index.get_level_values("dataset"))), [str(name) for name in logs]
    figure = Figure(figsize=(7.5, max(0.42, 0.1 * len(methods)) * len(datasets) + 1.6), layout="constrained")
    axes = figure.subplots()
    others = [name for name in methods if name not in (SINGLE, ORACLE) and "MixRL" not in name]
    colors = {SINGLE: GREY, ORACLE: "black", **{name: _COLORS[number % len(_COLORS)] for number, name in enumerate(others)}}
    for number, name in enumerate(methods):
        color = colors.get(name, BLUE)
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


def draw_learning(results: Results, out: Path) -> list[Path]:
    """Validation RMSE of what is rewarded, mean over splits: over inner trainings and over seconds, one line a method."""
    rows = results.rows
    none = rows[rows["method"] == BASELINE].groupby(["dataset", "split_seed"])["val_rmse"].mean()
    curves: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for record in results.records:
        dataset, split, method = (record.labels[name] for name in ("dataset", "split_seed", "method"))
        if (path := results.file(record, "progress.csv")).exists() and (dataset, split) in none:
            curve = pd.read_csv(path)
            if {"seconds", "env/val_rmse"} <= set(curve):
                curve["gain"] = 100 * np.log(curve["env/val_rmse"] / none[dataset, split])
                curves.setdefault((dataset, method), []).append(curve)
    datasets, methods = ([*dict.fromkeys(key[place] for key in curves)] for place in (0, 1))
    if not curves:
        return []
    figure = Figure(figsize=(8, 2.1 * len(datasets) + 0.8), layout="constrained")
    panels = figure.subplots(len(datasets), 2, squeeze=False, sharey="row")
    for (dataset, method), own in curves.items():
        for axes, column in zip(panels[datasets.index(dataset)], ("trainings", "seconds"), strict=True):
            low, high = (np.median([getattr(curve[column], end)() for curve in own]) for end in ("min", "max"))
            grid = np.linspace(low, high, 60)
            mean = np.mean([np.interp(grid, curve[column], curve["gain"]) for curve in own], axis=0)
            color = BLUE if "MixRL" in method else _COLORS[methods.index(method) % len(_COLORS)]
            axes.plot(grid, mean, color=color, linewidth=1.3, label=method)
            axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
            axes.set_title(dataset, fontsize=9)
    for axes, name in zip(panels[-1], ("inner trainings", "seconds"), strict=True):
        axes.set_xlabel(name)
    figure.supylabel("validation RMSE, log ratio to no mixing, percent", fontsize=10)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return [save_figure(figure, out / "learning.png")]

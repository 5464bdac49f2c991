"""Figures of a comparison, drawn as a reader of the paper would expect them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from experiments.show.statistics import BASELINE
from experiments.studies.comparison_tables import MAIN, learning_curves, mixrl_records
from mixrl_env import load_dataset

_SMOOTHING = 10  # updates of the moving mean in the learning curve
_VARIED = re.compile(r"(\w+) = ([0-9.]+)")
AXES = {"lam": "mix ratio λ", "val_rows": "validation rows", "train_rows": "training rows"}
"""Settings that a study may vary, in variants that are named "SETTING = VALUE", and what the axis calls them."""


def draw_figures(results: Results, out: Path) -> list[Path]:
    """Draw every figure that the stored results of a comparison allow; returns the files written."""
    written = []
    for dataset in results.rows["dataset"].unique():
        of_dataset = results.where(dataset=dataset)
        own = of_dataset.rows
        n_train, n_val = _num_rows(str(dataset), of_dataset)
        curves, plans = learning_curves(of_dataset), _plans(of_dataset)
        if curves:
            written.append(save_figure(_learning_curves(curves), out / f"{dataset}_learning_curve.png"))
        if plans:
            written.append(save_figure(_option_histogram(plans, n_train), out / f"{dataset}_k_histogram.png"))
        for setting, rows in varied(own, {"lam": 0.5, "val_rows": n_val, "train_rows": n_train}).items():
            others = own[(own["method"] == BASELINE) | own["method"].str.startswith(f"{setting} from ")]
            written.append(save_figure(draw_curve(setting, rows, others), out / f"{dataset}_{setting}.png"))
        written.append(save_figure(_method_comparison(own), out / f"{dataset}_methods.png"))
    return written


def _num_rows(dataset: str, results: Results) -> tuple[int, int]:
    """Training and validation rows, as many on every split."""
    if table := results.records[0].settings.get("table"):
        train, val, _ = table["sizes"]
        return train, val
    data = load_dataset(dataset, 0)
    return len(data.x_train), len(data.x_val)


def _plans(results: Results) -> dict[int, pd.DataFrame]:
    """The plan of MixRL by split; of several plans that were kept the last, which is the one that learned most."""
    plans = {}
    for record in mixrl_records(results):
        path = results.file(record, "plan.csv")
        if path.exists():
            plan = pd.read_csv(path)
            plans[int(record.labels["split_seed"])] = plan[plan["plan"] == plan["plan"].iloc[-1]] if len(plan) else plan
    return dict(sorted(plans.items()))


def _learning_curves(curves: dict[int, pd.DataFrame]) -> Figure:
    """Validation RMSE of the sampled masks and the policy's health against inner trainings: thin lines are splits."""
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    columns = ("env/val_rmse", "policy/p_mean", "policy/entropy")
    for axes, column, color in zip(panels, columns, (BLUE, BLUE, ORANGE), strict=True):
        smooth = {
            split: curve.set_index("trainings")[column].rolling(_SMOOTHING, min_periods=1).mean()
            for split, curve in curves.items()
        }
        for one in smooth.values():
            axes.plot(one.index, one, color=GREY, linewidth=0.8, alpha=0.7)
        mean = pd.DataFrame(smooth).mean(axis=1)
        axes.plot(mean.index, mean, color=color, linewidth=2)
        axes.set_xlabel("inner trainings")
    panels[0].set(title="Sampled masks", ylabel="validation RMSE")
    panels[1].set(title="Selection probability", ylabel="mean p over rows", ylim=(0, 1))
    panels[2].set(title="Policy entropy", ylabel="nats a row", ylim=(0, 0.76))
    panels[2].axhline(np.log(2), color=GREY, linewidth=0.8, linestyle=":")
    panels[2].text(0, np.log(2) + 0.01, "p = ½ everywhere", color=GREY, fontsize=8, va="bottom")
    splits = "a split" if len(curves) == 1 else f"{len(curves)} splits (thin lines) and their mean"
    figure.suptitle(f"{splits}, means of {_SMOOTHING} updates", fontsize=10)
    return figure


def _option_histogram(plans: dict[int, pd.DataFrame], num_rows: int) -> Figure:
    """How often each k was chosen in each space, k = 0 for rows that are not mixed (Fig. 6a)."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes: Axes = figure.subplots()
    full = [plan for plan in plans.values() if len(plan)]  # empty ones have no types, which pandas 2 warns of
    together = pd.concat(full or plans.values())
    ks = np.array(sorted({0, *together["k"]}))
    for space, color, shift in (("data", BLUE, -0.2), ("label", ORANGE, 0.2)):
        chosen = together.loc[together["space"] == space, "k"]
        counts = chosen.value_counts().reindex(ks, fill_value=0)
        counts[0] += len(plans) * num_rows - len(chosen)
        axes.bar(np.arange(len(ks)) + shift, counts, width=0.4, color=color, label=f"{space} distance")
    axes.set(xlabel="k nearest neighbours to mix with (0: not mixed)", ylabel="training rows")
    axes.set_xticks(range(len(ks)), ks, rotation=90 if len(ks) > 20 else 0)
    splits = f"split {next(iter(plans))}" if len(plans) == 1 else f"{len(plans)} splits together"
    axes.set_title(f"Chosen options, {splits}")
    axes.legend(frameon=False)
    return figure


def _method_comparison(results: pd.DataFrame) -> Figure:
    """Test RMSE of every final training, beside its difference to No Augmentation split by split."""
    methods = list(results["method"].unique())
    figure = Figure(figsize=(10, 0.55 * len(methods) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    by_split = results.groupby(["method", "split_seed"])["test_rmse"].mean().unstack("split_seed")
    for position, method in enumerate(methods):
        values = results.loc[results["method"] == method, "test_rmse"]
        left.scatter(values, np.full(len(values), position), s=14, color=BLUE, alpha=0.4, linewidths=0)
        left.scatter(values.mean(), position, marker="|", s=260, color="black")
        if BASELINE in by_split.index and method != BASELINE:
            difference = (by_split.loc[method] - by_split.loc[BASELINE]).dropna()
            right.scatter(difference, np.full(len(difference), position), s=22, color=ORANGE, alpha=0.8, linewidths=0)
            right.scatter(difference.mean(), position, marker="|", s=260, color="black")
    left.set(yticks=range(len(methods)), yticklabels=methods, xlabel="test RMSE of each final training; bar: mean")
    left.set_ylim(len(methods) - 0.5, -0.5)
    right.axvline(0, color=GREY, linewidth=0.8)
    right.set(xlabel=f"difference to {BASELINE}, one dot a split")
    right.tick_params(left=False)
    return figure


def varied(results: pd.DataFrame, usual: Mapping[str, float]) -> dict[str, pd.DataFrame]:
    """The rows of MixRL and of the variants that vary one setting, by setting, with its value in a column of its own.

    Args:
        results: stored rows of one dataset.
        usual: values of the settings in MixRL itself.
    """
    named = results["method"].str.extract(_VARIED)
    found = {}
    for setting, value in usual.items():
        rows = results[(named[0] == setting) | results["method"].isin(MAIN)]
        if rows["method"].nunique() > 1:
            values = named.loc[rows.index, 1].astype(float).fillna(value)
            found[setting] = rows.assign(value=values).sort_values("value", kind="stable")
    return found


def draw_curve(setting: str, rows: pd.DataFrame, others: pd.DataFrame) -> Figure:
    """Test RMSE against the setting, and runtime against training rows: one thin line a split, the mean over splits thick.

    Args:
        setting: one of `AXES`.
        rows: as `varied` gives them.
        others: rows of methods to compare with, as horizontal lines.
    """
    shown = {"test_rmse": "test RMSE"} | ({"minutes": "minutes, whole method"} if setting == "train_rows" else {})
    figure = Figure(figsize=(5.2 * len(shown), 3.6), layout="constrained")
    left, *_ = panels = figure.subplots(1, len(shown), squeeze=False)[0]
    rows = rows.assign(minutes=rows["seconds"] / 60)
    for axes, column in zip(panels, shown, strict=True):
        by_split = _complete(rows.groupby(["value", "split_seed"])[column].mean().unstack("split_seed"))
        axes.plot(by_split.index, by_split.to_numpy(), color=GREY, linewidth=0.8, alpha=0.7)
        axes.plot(by_split.index, by_split.mean(axis=1), "o-", color=BLUE, linewidth=2, label="mean")
        axes.set(xlabel=AXES[setting], ylabel=shown[column], xticks=by_split.index)
        if column == "minutes":
            axes.set_ylim(0)
    for number, (method, own) in enumerate(others.groupby("method", sort=False)):
        left.axhline(own["test_rmse"].mean(), color=("black", ORANGE)[number % 2], linestyle="--", label=str(method))
    splits = by_split.columns
    figure.suptitle(f"{len(splits)} splits (thin lines)" if len(splits) > 1 else f"split {splits[0]}", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    return figure


def _complete(by_split: pd.DataFrame) -> pd.DataFrame:
    """Only splits that have every value, if there are any: a mean over other splits at every value would mislead."""
    complete = by_split.dropna(axis="columns")
    return complete if len(complete.columns) else by_split

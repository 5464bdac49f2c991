"""What becomes of MixRL when one setting is varied: Figures 6c, 6d, 6e, 7b and 8 of the paper."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from experiments.settings import MASK_REGRESSION
from experiments.style import BLUE, GREY, ORANGE

_VARIED = re.compile(r"(\w+) = ([0-9.]+)")
AXES = {"lam": "mix ratio λ", "val_rows": "validation rows", "train_rows": "training rows"}
"""Settings that a study may vary, in variants that are named "SETTING = VALUE", and what the axis calls them."""


def varied(results: pd.DataFrame, usual: Mapping[str, float]) -> dict[str, pd.DataFrame]:
    """The rows of MixRL and of the variants that vary one setting, by setting, with its value in a column of its own.

    Args:
        results: stored rows of one dataset.
        usual: values of the settings in MixRL itself.
    """
    named = results["method"].str.extract(_VARIED)
    found = {}
    for setting, value in usual.items():
        rows = results[(named[0] == setting) | results["method"].isin(("MixRL", MASK_REGRESSION))]
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

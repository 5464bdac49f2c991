"""Plots of the stored benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from experiments.show.figures import save_figure

_COLOURS = {"plain": "#8a8a8a", "floor": "#3a3a3a", "torch": "#d9772b", "native": "#1f6fb4"}
_LABELS = {
    "plain": "plain loop, torch.optim.Adam",
    "floor": "torch's products and Adam alone",
    "torch": "fit_regressors, torch",
    "native": "fit_regressors, C kernel",
}


def draw_benchmark(tables: Mapping[str, pd.DataFrame], out: Path) -> list[Path]:
    """Draw what is stored; returns the files written."""
    figures = {}  # all of them before any is written
    if "throughput" in tables:
        figures["throughput"] = _throughput(tables["throughput"])
    if "step_cost" in tables:
        figures["step_cost"] = _step_cost(tables["step_cost"])
    return [save_figure(figure, out / f"{name}.png") for name, figure in figures.items()]


def _throughput(table: pd.DataFrame) -> Figure:
    """Model-steps per second against M, one panel a size."""
    sizes = list(table["size"].unique())
    figure = Figure(figsize=(4.6 * len(sizes), 3.6), layout="constrained")
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        rows = table[table["size"] == size]
        for training, curve in rows.groupby("training", sort=False):
            rate = 1000 / curve["ms_per_step"]
            if training in ("plain", "floor"):
                axes.axhline(rate.iloc[0], color=_COLOURS[training], linestyle=":", label=_LABELS[training])
            else:
                axes.plot(curve["M"], rate, "o-", color=_COLOURS[str(training)], label=_LABELS[str(training)])
        stacks = sorted(rows["M"].unique())
        axes.set_xscale("log", base=2)
        axes.set_xticks(stacks, [str(m) for m in stacks])
        axes.set(title=f"{size} size", xlabel="regressors at once, M", ylim=(0, None))
        axes.set_ylabel("model-steps per second")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _step_cost(table: pd.DataFrame) -> Figure:
    """Seconds of an environment step against the size of the training set."""
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(table["n_train"], table["seconds"], "o-", color=_COLOURS["native"])
    axes.set_xscale("log")
    axes.set(title="16 masks, B = 200 rows", xlabel="training rows", ylabel="seconds a step", ylim=(0, None))
    return figure

"""An augmented table as a picture: where mixed rows lie, predictions with and without them, which options, and the gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mixrl.estimators.sampler import MixRLSampler
from mixrl_env.data import FloatArray
from mixrl_env.plans import NO_MIXING
from mixrl_env.streams import stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d95f02", "#8a8a8a"  # as in the figures of the experiments
_COLORS = {"data": _BLUE, "label": _ORANGE}
_SPACES = {"data": "nearest by features", "label": "nearest by label"}
_SPREAD = 0.3  # of the points of one k, half the height
_COVER = 1.96
_MOST_DOTS = 3000


def draw(sampler: MixRLSampler, x: FloatArray, labels: pd.Series, mixed: FloatArray) -> Figure:
    """Four panels on a sampler that was fitted.

    Args:
        sampler: fitted.
        x: features as numbers, shape (n, d).
        labels: of these rows, the first target; its name labels axes.
        mixed: features of the mixed rows, shape (p, d).
    """
    figure = Figure(figsize=(11, 8), layout="constrained", dpi=110)
    where, held, options, gains = figure.subplots(2, 2).flat
    _where(where, x, labels, mixed)
    _held_out(held, sampler, labels)
    _options(options, sampler.plan_, labels)
    _gains(gains, sampler, str(labels.name))
    return figure


def _where(axes: Axes, x: FloatArray, labels: pd.Series, mixed: FloatArray) -> None:
    scaler = StandardScaler().fit(x)
    if x.shape[1] > 1 and len(x) > 1:
        components = PCA(2).fit(scaler.transform(x))
        own, new = (components.transform(scaler.transform(rows)) if len(rows) else np.zeros((0, 2)) for rows in (x, mixed))
        shares = components.explained_variance_ratio_
        axes.set(xlabel=f"first component ({shares[0]:.0%})", ylabel=f"second component ({shares[1]:.0%})")
    else:
        rng = stream(0, "height of dots")
        own, new = (np.column_stack([rows[:, 0], rng.uniform(0, 1, len(rows))]) for rows in (x, mixed))
        axes.set(xlabel="the feature", yticks=[])
    new = new[:: 1 + len(new) // _MOST_DOTS]
    axes.scatter(new[:, 0], new[:, 1], s=4, color=_GREY, alpha=0.4, linewidths=0, label=f"{len(mixed)} mixed rows")
    points = axes.scatter(own[:, 0], own[:, 1], s=16, c=labels, cmap="viridis", linewidths=0, label=f"{len(x)} own rows")
    axes.figure.colorbar(points, ax=axes, label=str(labels.name))
    axes.set_title("Where mixed rows lie")
    axes.legend(fontsize="small", loc="best")


def _held_out(axes: Axes, sampler: MixRLSampler, labels: pd.Series) -> None:
    axes.set_title("Rows that were held out")
    if len(sampler.report_) == 0:
        _say(axes, "No row was held out.")
        return
    measured = labels.to_numpy()[sampler.held_out_["row"]]
    for name, color in ((NO_MIXING, _GREY), (sampler.chosen_, _BLUE)):
        if name == NO_MIXING or sampler.chosen_ != NO_MIXING:
            axes.scatter(measured, sampler.held_out_[name][:, 0], s=12, color=color, alpha=0.6, linewidths=0, label=name)
    axes.axline((measured.mean(), measured.mean()), slope=1, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"{labels.name}, measured", ylabel="predicted")
    axes.legend(fontsize="small")


def _options(axes: Axes, plan: pd.DataFrame, labels: pd.Series) -> None:
    axes.set_title("How many neighbours each row is mixed with")
    if not len(plan):
        _say(axes, "No row is mixed.")
        return
    ks, rng = sorted({0, *plan["k"]}), stream(0, "jitter")
    for number, (space, own) in enumerate(plan.groupby("space", sort=True)):
        k = own.set_index("row")["k"].reindex(range(len(labels))).fillna(0)
        offset = 0.2 * (number - (plan["space"].nunique() - 1) / 2)
        level = np.searchsorted(ks, k) + offset + rng.uniform(-0.3 * _SPREAD, 0.3 * _SPREAD, len(labels))
        mixed = (k > 0).mean()
        axes.scatter(
            labels,
            level,
            s=10,
            color=_COLORS[str(space)],
            alpha=0.6,
            linewidths=0,
            label=f"{_SPACES[str(space)]}: {mixed:.0%} of rows",
        )
    axes.set_yticks(range(len(ks)), map(str, ks))
    axes.set(xlabel=str(labels.name), ylabel="k (0: not mixed)", ylim=(-0.6, len(ks) - 0.1))
    axes.legend(fontsize="small", loc="upper right")


def _gains(axes: Axes, sampler: MixRLSampler, target: str) -> None:
    axes.set_title("What each plan gains, with 95% intervals")
    report = sampler.report_
    if not len(report):
        gain = 1 - np.exp(-sampler.expected_gain_)
        _say(axes, f"The policy expects\n{gain:.0%} less error." if len(sampler.plan_) else "The policy expects no gain.")
        return
    without = float(report["rmse"].iloc[0])
    percents, errors = (100 * report[name].to_numpy(dtype=float) / without for name in ("gain", "standard_error"))
    for place, (percent, error, chosen) in enumerate(zip(percents, _COVER * errors, report["chosen"], strict=True)):
        color = _BLUE if chosen else _GREY
        axes.plot([percent - error, percent + error], [place, place], color=color)
        axes.plot(percent, place, "o", color=color)
    names = list(report["plan"])
    if sampler.chosen_ != NO_MIXING:
        mean, low, high = (100 * value / without for value in sampler.gain_)
        axes.plot([low, high], [len(report)] * 2, color="black", linewidth=2)
        axes.plot(mean, len(report), "D", color="black")
        names.append("to be expected, on new rows")
    axes.axvline(0, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"lower RMSE of {target}, percent")
    widest = max(20.0, *np.abs(percents).clip(max=60))
    axes.set_xlim(-1.5 * widest, 1.5 * widest)


def _say(axes: Axes, words: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=13, color=_GREY, transform=axes.transAxes)

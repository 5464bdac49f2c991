"""A picture of which rows of a table are mixed with how many of their nearest neighbours."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.show.figures import BLUE, GREY
from mixrl_env.streams import stream

_SPACES = {"data": "nearest by features", "label": "nearest by label"}
_SPREAD = 0.3  # of the points of one k, half the height


def draw_plan(plan: pd.DataFrame, labels: pd.Series, words: str) -> Figure:
    """One panel a distance: of every row its label and the chosen k, coloured by its probability where it was learned.

    Args:
        plan: columns row, space, k, probability (missing where nothing was learned).
        labels: of all rows; its name is the axis's.
        words: what the plan does.
    """
    figure = Figure(figsize=(9, 4), layout="constrained", dpi=130)
    figure.suptitle(words[0].upper() + words[1:], fontsize=10)
    if not len(plan) or (plan["space"] == "all").any():
        sentence = f"All {len(labels)} rows stand as they were." if not len(plan) else "There is no k to choose."
        axes = figure.subplots()  # a notebook shows no figure without axes
        axes.set_axis_off()
        axes.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=14, color=GREY)
        return figure
    ks = sorted({0, *plan["k"]})
    shades = matplotlib.colors.Normalize(plan["probability"].min(), plan["probability"].max())
    panels: tuple[Axes, Axes] = figure.subplots(1, 2, sharex=True, sharey=True)
    rng = stream(0, "jitter")
    for axes, (space, title) in zip(panels, _SPACES.items(), strict=True):
        own = plan[plan["space"] == space].set_index("row").reindex(range(len(labels)))
        level = np.searchsorted(ks, own["k"].fillna(0)) + rng.uniform(-_SPREAD, _SPREAD, len(labels))
        mixed, learned = own["k"].notna().to_numpy(), own["probability"].notna().any()
        axes.scatter(labels[~mixed], level[~mixed], s=12, color=GREY, alpha=0.5, linewidths=0)
        color = {"c": own["probability"][mixed], "cmap": "viridis", "norm": shades} if learned else {"color": BLUE}
        points = axes.scatter(labels[mixed], level[mixed], s=12, alpha=0.8, linewidths=0, **color)
        for position, k in enumerate(ks):
            share = (own["k"].fillna(0) == k).mean()
            axes.text(1.01, position, f"{share:.0%}", transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8)
        axes.set_title(title)
        axes.set_xlabel(str(labels.name))
        for position in range(len(ks) - 1):
            axes.axhline(position + 0.5, color=GREY, linewidth=0.4, alpha=0.5)
        axes.text(1.01, len(ks) - 0.5, "rows", transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8)
    panels[0].set_ylabel("mixed with k rows (0: not mixed)")
    panels[0].set_ylim(-0.5, len(ks) - 0.5)
    panels[0].set_yticks(range(len(ks)), map(str, ks))
    if plan["probability"].notna().any():
        figure.colorbar(points, ax=panels, label="learned probability of being mixed")
    return figure

"""A picture of the generated tables: one of each family of functions, and one of each kind of noise."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.show.figures import save_figure
from mixrl_env.datasets.generated import FAMILIES, HELD_OUT, NOISES, GeneratedTable, Part, generate_table


def draw_families(path: Path) -> Path:
    """Draw the first clear example of each; returns the file."""
    parts: dict[str, Part] = {**dict.fromkeys(FAMILIES, "training"), **dict.fromkeys(HELD_OUT, "held out")}
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    axes = figure.subplots(2, 5).ravel()
    for own, (family, part) in zip(axes, parts.items(), strict=False):
        _draw_function(own, _first(family, "even", part))
        own.set_title(f"{family}, held out" if part == "held out" else family, fontsize="medium")
    for own, noise in zip(axes[6:], NOISES, strict=False):
        table = _first("wiggly" if noise == "tails" else "smooth", noise, "training", 1)
        data = table.data
        own.plot(data.x_train[:, 0], data.y_train[:, 0], ".", markersize=3, alpha=0.6, label="training rows")
        own.plot(data.x_test[:, 0], data.y_test[:, 0], ".", markersize=1, color="black", label="without noise")  # type: ignore[index]
        own.set_title(f"noise: {noise}", fontsize="medium")
    axes[6].legend(fontsize="small")
    return save_figure(figure, path)


def _first(family: str, noise: str, part: Part, most_columns: int = 3) -> GeneratedTable:
    """The first table of its kind with many rows, little noise on most of them, and no discrete column."""
    for seed in count():
        table = generate_table(seed, part)
        x = table.data.x_train
        small = family == "spectra" or x.shape[1] <= most_columns
        continuous = min(len(np.unique(column)) for column in x.T) > 20
        clear = len(x) >= 150 and np.median(table.noise_sd) < 0.3
        if (table.family, table.noise) == (family, noise) and small and continuous and clear:
            return table
    raise AssertionError


def _draw_function(axes: Axes, table: GeneratedTable) -> None:
    """Spectra as lines, else the columns that the label depends on most; the colour is the label without noise."""
    x, y = table.data.x_test, table.data.y_test
    assert x is not None
    assert y is not None
    if table.family == "spectra":
        order = np.argsort(y[:40, 0])
        for place, row in enumerate(order):
            axes.plot(x[row], color=(place / 40, 0.3, 1 - place / 40), linewidth=0.7)
        axes.set(xlabel="channel")
    elif x.shape[1] == 1:
        axes.plot(x[:, 0], y[:, 0], ".", markersize=2)
        axes.set(xlabel="x0", ylabel="label")
    else:
        related = [-np.abs(np.corrcoef(column, y[:, 0])[0, 1]) for column in x.T]
        first, second = np.sort(np.argsort(related)[:2])
        axes.scatter(x[:, first], x[:, second], c=y[:, 0], s=6, cmap="coolwarm")
        axes.set(xlabel=f"x{first}", ylabel=f"x{second}")

"""What all figures share: colours, dots with intervals, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.show.statistics import mean_interval

BLUE, ORANGE, GREY = "#1f6fb4", "#d9772b", "#8a8a8a"

matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})


def draw_differences(axes: Axes, differences: Mapping[str, npt.ArrayLike]) -> None:
    """One line a name, the first on top: a dot a split, the mean and its 95% interval; a dotted line marks no difference."""
    for place, given in enumerate(differences.values()):
        values = np.asarray(given, dtype=np.float64)
        mean, low, high = mean_interval(values)
        axes.scatter(values, np.full(len(values), place), s=8, color=GREY, alpha=0.6, linewidths=0)
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2)
        axes.plot(mean, place, "o", color=BLUE, markersize=5)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(differences)), differences)
    axes.yaxis.set_inverted(True)


def check_picture(path: Path) -> None:
    """Raise a ValueError, before the work, unless a figure can be written to the path that --out names."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out must end in .png, .svg or .pdf, got {path}")
    if path.is_dir():
        raise ValueError(f"--out is a folder: {path}")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)  # same input, same bytes
    return path

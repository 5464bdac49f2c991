"""What an agent sees of a batch: one row of numbers for each offered training row and its option."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, IntArray
from mixrl_env.neighbors import NeighborTable

PARTS = ("x", "y", "option", "distances", "features", "context")
DEFAULT_PARTS = ("x", "y", "option")
"""The paper's state: (x, y, k) of every row (Sec. 3.2)."""

Observation = npt.NDArray[np.float32]


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts of an observation, checked.

    Raises:
        ValueError: if there is none, one is unknown, or one comes twice.
    """
    given = (parts,) if isinstance(parts, str) else parts if isinstance(parts, Sequence) else ()
    checked = tuple(part for part in given if part in PARTS)
    if not checked or len(checked) < len(given) or len(set(checked)) < len(checked):
        raise ValueError(f"observe must name some of {', '.join(PARTS)}, each once, got {parts!r}")
    return checked


class RowObserver:
    """Turns rows and options into observation rows.

    Args:
        parts: which of x (standardised features), y (standardised labels), option (k one-hot) and distances (mean data and
            mean label distance from the row to the option's neighbours, in standard deviations a feature and a label), in
            this order. The parts "features" and "context" are added by `mixrl_env.MixingProblem`.
        x: standardised features, shape (n, d).
        y: standardised labels, shape (n, e).
        neighbors: options and neighbours.

    Attributes:
        low, high: lowest and highest value of every column of an observation row, shape (row size,). Those of a constant column
            are one apart: Gymnasium warns of a flat Box.
    """

    def __init__(self, parts: Sequence[str], x: FloatArray, y: FloatArray, neighbors: NeighborTable) -> None:
        parts = check_parts(parts)
        size = len(neighbors.options)
        of_row = [values for part, values in (("x", x), ("y", y)) if part in parts]
        self._of_row = np.concatenate([np.empty((len(x), 0)), *of_row], axis=1).astype(np.float32)  # (n, ...)
        self._of_option = np.eye(size, dtype=np.float32) if "option" in parts else np.empty((size, 0), dtype=np.float32)
        distances = mean_distances(x, y, neighbors) if "distances" in parts else np.empty((len(x), size, 0))
        self._of_both = distances.astype(np.float32)  # (n, |N|, 2)
        one_hot = np.ones(self._of_option.shape[1], dtype=np.float32)
        self.low = np.concatenate([self._of_row.min(axis=0), 0 * one_hot, self._of_both.min(axis=(0, 1))])
        high = np.concatenate([self._of_row.max(axis=0), one_hot, self._of_both.max(axis=(0, 1))])
        self.high = np.where(high > self.low, high, self.low + 1)

    def observe(self, rows: IntArray, options: IntArray) -> Observation:
        """Observation rows of training rows with options, both of shape (B,); shape (B, row size)."""
        return np.concatenate([self._of_row[rows], self._of_option[options], self._of_both[rows, options]], axis=1)


def mean_distances(x: FloatArray, y: FloatArray, neighbors: NeighborTable) -> FloatArray:
    """Mean distance of every row to the neighbours of every option, in features and in labels; shape (n, |N|, 2).

    Euclidean, divided by the square root of the number of columns.
    """
    n = len(x)
    rows = np.arange(n)
    distances = np.empty((n, len(neighbors.options), 2))
    for option in range(len(neighbors.options)):
        i, j = neighbors.pairs(rows, np.full(n, option))
        count = np.bincount(i, minlength=n)
        for kind, points in enumerate((x, y)):
            apart = np.linalg.norm(points[i] - points[j], axis=1) / points.shape[1] ** 0.5
            distances[:, option, kind] = np.bincount(i, weights=apart, minlength=n) / count
    return distances

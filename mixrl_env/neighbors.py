"""Which training rows are a row's nearest neighbours, in data distance and in label distance (Sec. 2, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from mixrl_env.data import FloatArray, IntArray

SPACES = ("data", "label", "all")


class NeighborOption(NamedTuple):
    """One option of the list N: mix a row with its k nearest neighbours in one space.

    Attributes:
        space: "data" (distance between features), "label" (between labels), or "all" for every other row, the ablation
            without distance limits (Sec. 4.4).
        k: number of neighbours; for "all" it is left at 0 and means n - 1.
    """

    space: str
    k: int = 0


DEFAULT_OPTIONS: tuple[NeighborOption, ...] = tuple(NeighborOption(s, k) for s in ("data", "label") for k in range(1, 17))
"""The paper's N for NO2: k = 1..16 in both distances, |N| = 32 (Sec. 4, MixRL Settings)."""


def check_options(options: Sequence[NeighborOption | Sequence[object]], n: int) -> tuple[NeighborOption, ...]:
    """Options from a list of (space, k), checked against a training set of n rows.

    Raises:
        ValueError: for an empty list, an unknown space, a k that is not a whole number from 1 to n - 1, or an option twice.
    """
    checked: list[NeighborOption] = []
    for option in options:
        space, k = (*option, 0)[:2] if isinstance(option, Sequence) and 1 <= len(option) <= 2 else (None, None)
        if space not in SPACES:
            raise ValueError(f"option {option!r} is not a (space, k) with space one of {', '.join(SPACES)}")
        if isinstance(k, bool) or not isinstance(k, int | np.integer):
            raise ValueError(f"option {option!r}: k must be a whole number, got {k!r}")
        if space == "all":
            if k != 0:
                raise ValueError(f"option {option!r}: 'all' mixes with every other row and takes no k; write ('all', 0)")
        elif not 1 <= k <= n - 1:
            raise ValueError(f"option {option!r}: k must lie between 1 and n_train - 1 = {n - 1}")
        checked.append(NeighborOption(str(space), int(k)))
    if not checked:
        raise ValueError("the list of neighbour options is empty; give at least one (space, k)")
    if len(set(checked)) < len(checked):
        raise ValueError(f"a neighbour option is listed twice in {checked}")
    return tuple(checked)


def nearest_neighbors(points: FloatArray, k: int) -> IntArray:
    """The k nearest other rows of every row by Euclidean distance, nearest first.

    Exact: the search structure only proposes candidates, whose distances are then computed from the differences. Rows at
    the same distance come in the order of their index. A row is never its own neighbour, though its duplicates are.

    Args:
        points: shape (n, d).
        k: from 1 to n - 1.

    Returns:
        Row indices, shape (n, k).
    """
    n = len(points)
    # Two more than k: the row itself, and one that shows whether the k-th distance is tied with the next.
    distances, candidates = NearestNeighbors(n_neighbors=min(k + 2, n)).fit(points).kneighbors(points)
    # A search may round distances; rows closer together than the slack, far above its rounding, count as tied.
    slack = 1e-6 * float(np.linalg.norm(points, axis=1).max())
    tied = distances[:, -1] - distances[:, min(k, n - 1)] <= slack
    neighbors = np.empty((n, k), dtype=np.int64)
    for row in range(n):
        others = np.arange(n) if tied[row] else np.sort(candidates[row])
        others = others[others != row]
        distance = np.sqrt(np.sum(np.square(points[others] - points[row]), axis=1))
        neighbors[row] = others[np.argsort(distance, kind="stable")[:k]]
    return neighbors


class NeighborTable:
    """Nearest neighbours of all training rows, for every option of N.

    Args:
        x: features in which data distance is measured, shape (n, d).
        y: labels in which label distance is measured, shape (n, e).
        options: the list N of (space, k).

    Attributes:
        options: the checked options, in the given order; an option index refers to this order.

    Raises:
        ValueError: see `check_options`.
    """

    def __init__(self, x: FloatArray, y: FloatArray, options: Sequence[NeighborOption | Sequence[object]]) -> None:
        n = len(x)
        self.options = check_options(options, n)
        self._k = np.array([n - 1 if space == "all" else k for space, k in self.options])
        self._space = np.array([SPACES.index(space) for space, _ in self.options])
        # One (n, largest k) table a space; "all" needs none, its neighbours are counted off.
        self._tables: dict[int, IntArray] = {}
        for code, points in ((0, x), (1, y)):
            if np.any(self._space == code):
                self._tables[code] = nearest_neighbors(points, int(self._k[self._space == code].max()))

    def pairs(self, rows: npt.NDArray[np.integer], options: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
        """All pairs (i, j) to mix when rows[s] is mixed with its neighbours by option index options[s].

        Args:
            rows: training row indices, shape (s,).
            options: option indices, shape (s,).

        Returns:
            i and j, each of shape (sum of the k,): i repeats each row, j runs over its neighbours, nearest first.
        """
        k = self._k[options]
        i = np.repeat(rows, k)
        rank = np.arange(len(i)) - np.repeat(np.cumsum(k) - k, k)  # 0 for the nearest neighbour
        space = np.repeat(self._space[options], k)
        j = rank + (rank >= i)  # "all": the rows in order, skipping i itself
        for code, table in self._tables.items():
            here = space == code
            j[here] = table[i[here], rank[here]]
        return i.astype(np.int64), j.astype(np.int64)

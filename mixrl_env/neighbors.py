"""Which training rows are a row's nearest neighbours, in data distance and in label distance (Sec. 2, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import current_process
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, IntArray

SPACES = ("data", "label", "all")
_ROWS_FOR_THREADS = 4_000
_BLOCK_VALUES = 4_000_000  # candidates' values that are looked at at once: 32 MB


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
    if not isinstance(options, Sequence) or isinstance(options, str):
        raise ValueError(f"options must be a list of (space, k), got {options!r}")
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

    Uses all cores (one for few rows and in the worker of a process pool), and memory in proportion to n (d + k).

    Args:
        points: shape (n, d).
        k: from 1 to n - 1.

    Returns:
        Row indices, shape (n, k).
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import: it imports all linear models

    n = len(points)
    neighbors = np.empty((n, k), dtype=np.int64)
    # Of rows with the same values only the first k + 1 can be somebody's neighbours: heavy ties cost nothing.
    pool = _first_copies(points, k + 1)
    # Workers of a pool share the cores, and joblib warns there of all of them; threads for few rows cost more than they save.
    cores = 1 if current_process().daemon or n < _ROWS_FOR_THREADS else -1
    search = NearestNeighbors(n_jobs=cores).fit(points[pool])
    # A search may round distances; rows closer together than the slack, far above its rounding, count as tied.
    slack = 1e-6 * float(np.linalg.norm(points, axis=1).max())
    rows = np.arange(n)
    count = k + 2  # the row itself, and one that shows whether the k-th distance is tied with the next
    while len(rows):
        count = min(count, len(pool))
        block = max(1, _BLOCK_VALUES // (count * points.shape[1]))
        unsettled = []
        for first in range(0, len(rows), block):
            some = rows[first : first + block]
            distances, found = search.kneighbors(points[some], count)
            tied = distances[:, -1] - distances[:, min(k, count - 1)] <= slack
            settled = ~tied | (count == len(pool))
            neighbors[some[settled]] = _nearest(points, some[settled], pool[found[settled]], k)
            unsettled.append(some[~settled])
        rows, count = np.concatenate(unsettled), 4 * count  # look further where the k-th distance is tied
    return neighbors


def _first_copies(points: FloatArray, count: int) -> IntArray:
    """Indices of the rows that are not beyond the first `count` of their equals, ascending."""
    _, group = np.unique(points, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(len(points)) - np.repeat(starts, np.diff(starts, append=len(points)))
    return np.sort(order[rank < count])


def _nearest(points: FloatArray, rows: IntArray, candidates: IntArray, k: int) -> IntArray:
    """The k nearest of each row's candidates (s, c), by distance computed from the differences, then by index."""
    candidates = np.sort(candidates, axis=1)
    distance = np.sqrt(np.sum(np.square(points[candidates] - points[rows, None]), axis=2))
    distance[candidates == rows[:, None]] = np.inf  # never its own neighbour
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, nearest, axis=1)


class NeighborTable:
    """Nearest neighbours of all training rows, for every option of N.

    Args:
        x: features in which data distance is measured, shape (n, d).
        y: labels in which label distance is measured, shape (n, e).
        options: the list N of (space, k).

    Attributes:
        options: the checked options, in the given order; an option index refers to this order.
        by_space: option indices of each space, the spaces in the order of the options.

    Raises:
        ValueError: see `check_options`.
    """

    def __init__(
        self,
        x: FloatArray,
        y: FloatArray,
        options: Sequence[NeighborOption | Sequence[object]],
    ) -> None:
        n = len(x)
        self.options = check_options(options, n)
        self._k = np.array([n - 1 if space == "all" else k for space, k in self.options])
        self._space = np.array([SPACES.index(space) for space, _ in self.options])
        self.by_space = {
            space: np.array([index for index, option in enumerate(self.options) if option.space == space])
            for space in dict.fromkeys(option.space for option in self.options)
        }
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

"""The rows of a table as the estimators work on them, and rows mixed of pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.preprocessing import StandardScaler

from mixrl_env.data import FloatArray, IntArray, LabelScale

LAMBDA = 0.5
"""The mixing coefficient: mixed rows lie half the way between two rows."""


class TrainingRows(NamedTuple):
    """What a model is fitted to: features (n, d) and labels (n, e) in their own units, and weights (n,) or None."""

    x: FloatArray
    y: FloatArray
    weights: FloatArray | None


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked rows, in an order that depends on their content alone, so that the given order changes no result.

    Attributes:
        x: features, shape (n, d); NaN where a value is missing.
        y: labels, shape (n, e).
        weights: of the rows, shape (n,), or None.
        groups: rows of one group, duplicates among them, stay on one side of every fold, shape (n,).
        kinds: only rows of one kind are mixed with each other, shape (n,).
        whole: columns of x, then of y, whose mixed values are rounded to whole numbers, shape (d + e,).
        order: where each row was given, shape (n,).
        labels: centre and scale of the labels.
    """

    x: FloatArray
    y: FloatArray
    weights: FloatArray | None
    groups: IntArray
    kinds: IntArray
    whole: npt.NDArray[np.bool_]
    order: IntArray
    labels: LabelScale

    @classmethod
    def ordered(
        cls,
        x: FloatArray,
        y: FloatArray,
        weights: FloatArray | None,
        groups: npt.NDArray[np.integer] | None,
        kinds: IntArray,
        whole: npt.NDArray[np.bool_],
    ) -> Self:
        """The rows as given, put into order.

        Args:
            x: see `Rows`, also for the others.
            y: labels.
            weights: of the rows, or None.
            groups: whole numbers, shape (n,); None: each row is a group of its own.
            kinds: of the rows.
            whole: columns that are rounded.
        """
        duplicates = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True)[1].ravel()
        joined = duplicates if groups is None else _joined(duplicates, groups)
        order = np.lexsort([np.zeros(len(x)) if weights is None else weights, kinds, *y.T, *x.T])
        scaler = StandardScaler().fit(y[order])  # in order: sums round otherwise
        own = None if weights is None else weights[order]
        # Groups are numbered by their first row, since numbers as given may depend on the given order.
        _, first, number = np.unique(joined[order], return_index=True, return_inverse=True)
        return cls(
            x[order], y[order], own, first[number.ravel()], kinds[order], whole, order, LabelScale(scaler.mean_, scaler.scale_)
        )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def filled(self) -> FloatArray:
        """Features with the mean of the column where a value is missing, and 0 in a column without values."""
        missing = np.isnan(self.x)
        if not missing.any():
            return self.x
        count = (~missing).sum(axis=0)
        mean = np.where(missing, 0.0, self.x).sum(axis=0) / count.clip(min=1)
        return np.where(missing, mean, self.x)

    @property
    def scaled(self) -> FloatArray:
        """Labels in standard deviations around their mean, shape (n, e)."""
        return self.labels.to_standard(self.y)

    def first(self, count: int, rng: np.random.Generator) -> Self:
        """So many random rows, in order; all of them if there are no more."""
        if len(self) <= count:
            return self
        own = np.sort(rng.choice(len(self), count, replace=False))
        weights = None if self.weights is None else self.weights[own]
        return replace(
            self,
            x=self.x[own],
            y=self.y[own],
            weights=weights,
            groups=self.groups[own],
            kinds=self.kinds[own],
            order=self.order[own],
        )

    def pairs(self, i: IntArray, j: IntArray) -> IntArray:
        """Different pairs of rows of one kind, the smaller index first, in order, shape (p, 2).

        Args:
            i: indices of rows, shape (q,); (i, j) and (j, i) are the same pair.
            j: likewise.
        """
        same = (self.kinds[i] == self.kinds[j]) & (i != j)
        low, high = np.minimum(i, j)[same], np.maximum(i, j)[same]
        both: IntArray = np.unique(low * len(self) + high)
        return np.column_stack(np.divmod(both, len(self)))

    def with_mixed(self, own: IntArray | Sequence[int], pairs: IntArray) -> TrainingRows:
        """Some rows, followed by mixed ones.

        Args:
            own: indices of rows, shape (m,).
            pairs: as from `pairs`, shape (p, 2).
        """
        i, j = pairs.T

        def both(values: FloatArray, whole: npt.NDArray[np.bool_]) -> FloatArray:
            mixed = LAMBDA * values[i] + (1 - LAMBDA) * values[j]
            mixed[:, whole] = np.rint(mixed[:, whole])
            return np.concatenate([values[own], mixed])

        width, weights = self.x.shape[1], None
        if self.weights is not None:
            weights = np.concatenate([self.weights[own], LAMBDA * self.weights[i] + (1 - LAMBDA) * self.weights[j]])
        return TrainingRows(both(self.x, self.whole[:width]), both(self.y, self.whole[width:]), weights)


def _joined(one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> IntArray:
    """Groups of rows that share a number of either kind, directly or by way of others."""
    _, one = np.unique(one, return_inverse=True)
    _, other = np.unique(other, return_inverse=True)
    count = int(one.max()) + 1
    graph = coo_array((np.ones(len(one)), (one, count + other)), shape=(count + int(other.max()) + 1,) * 2)
    found: IntArray = connected_components(graph, directed=False)[1][one].astype(np.int64)
    return found

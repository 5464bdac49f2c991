"""Folds of a table: the rows that judge, those that models are trained on, and those that stop a training early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import check_cv

from mixrl.estimators.rows import Rows
from mixrl_env.data import IntArray
from mixrl_env.streams import stream

_FEWEST_GROUPS = 3


class Fold(NamedTuple):
    """Indices of rows, in order; no group is in both.

    Attributes:
        seen: by models and plans.
        held: that judge, and are seen by nothing else; of the validation rows where these are given.
    """

    seen: IntArray
    held: IntArray


def deal(rows: Rows, cv: Any, seed: int) -> list[Fold]:
    """Split the rows.

    Args:
        rows: of the table.
        cv: number of folds, each row held out once (fewer if there are fewer groups), or a splitter of scikit-learn, which sees
            the rows in the order in which they were given.
        seed: of the shuffling.

    Raises:
        ValueError: if there are fewer than three groups, or the splitter leaves too few rows.
    """
    if (count := len(np.unique(rows.groups))) < _FEWEST_GROUPS:
        raise ValueError(f"found {count} different rows or groups, but a minimum of {_FEWEST_GROUPS} is required")
    if not isinstance(cv, int | np.integer):
        return list(_by_splitter(rows, cv))
    every = np.arange(len(rows))
    held = in_parts(rows.groups, every, max(2, min(int(cv), count)), stream(seed, "folds"))
    return [Fold(np.setdiff1d(every, part), part) for part in held]


def in_parts(groups: IntArray, own: IntArray, count: int, rng: np.random.Generator) -> list[IntArray]:
    """Parts of some rows, each in order, of about equal size and without a common group.

    Args:
        groups: of all rows, shape (n,).
        own: indices of the rows.
        count: of parts, at most the number of their groups.
        rng: shuffles the groups; of these the largest are dealt first, each to the part with the fewest rows.
    """
    _, number, sizes = np.unique(groups[own], return_inverse=True, return_counts=True)
    part_of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(count, dtype=np.int64)
    shuffled = rng.permutation(len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    return [np.sort(own[part_of[number] == part]) for part in range(count)]


def _by_splitter(rows: Rows, cv: Any) -> Iterator[Fold]:
    given = np.argsort(rows.order)  # rows[given] are in the order in which they were given
    for train, test in check_cv(cv).split(rows.x[given], rows.y[given, 0], rows.groups[given]):
        seen, held = np.sort(given[train]), np.sort(given[test])
        if len(np.unique(rows.groups[seen])) < _FEWEST_GROUPS - 1 or not len(held):
            raise ValueError(f"cv trains on {len(seen)} rows and tests on {len(held)}: too few")
        yield Fold(seen, held)

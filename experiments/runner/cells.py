"""What travels between a sweep and its workers: a cell there, its outcome back."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Row = dict[str, Any]
Report = Callable[[int, int, str], None]
"""Called with the work done, all work, and a few words."""
_TRACEBACK_LINES = 12


def silent(done: int, total: int, words: str) -> None:
    """A `Report` that says nothing."""


class Computed(NamedTuple):
    """What a cell gives.

    Attributes:
        rows: of the study's table.
        files: content of files for people to look at, by name.
    """

    rows: list[Row]
    files: Mapping[str, bytes] = {}


@dataclass(frozen=True, eq=False)
class Cell:
    """One unit of work of a study, such as one method on one split. It can be pickled and computed on any machine.

    Attributes:
        name: unique in the study; also the name of its files.
        compute: a function that can be pickled.
        labels: columns that all rows of the cell share, such as dataset, method and split_seed.
        settings: what its rows depend on besides the labels, as JSON can hold it.
        place: the cell's place in the study's tables.
    """

    name: str
    compute: Callable[[Report], Computed]
    labels: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: tuple[int, ...] = ()


class Failure(NamedTuple):
    """Why a cell has no rows.

    Attributes:
        kind: "error" in its code, "worker died", or "TLE", the paper's word for a time limit that was exceeded.
        message: the exception, or what happened.
        traceback: its last lines.
    """

    kind: Literal["error", "worker died", "TLE"]
    message: str = ""
    traceback: str = ""


class Outcome(NamedTuple):
    """The end of a cell's computation.

    Attributes:
        computed: rows and files; None if it failed.
        seconds: wall time.
        failure: None if it did not fail.
    """

    computed: Computed | None
    seconds: float
    failure: Failure | None = None


def perform(cell: Cell, report: Report) -> Outcome:
    """Compute a cell in this process; an exception becomes its failure."""
    start = time.monotonic()
    try:
        computed = cell.compute(report)
    except Exception as error:
        lines = "".join(traceback.format_exception(error)).splitlines()
        failure = Failure("error", f"{type(error).__name__}: {error}", "\n".join(lines[-_TRACEBACK_LINES:]))
        return Outcome(None, time.monotonic() - start, failure)
    return Outcome(computed, time.monotonic() - start)


def slug(name: str) -> str:
    """A name as the name of a file: small letters, digits and hyphens."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())

"""What travels between a sweep and its workers: tasks there; updates and outcomes back."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from experiments.methods.base import Report

__all__ = ["Compute", "Engine", "Failure", "Outcome", "Report", "Row", "Task", "Update", "perform"]

Row = dict[str, Any]
Compute = Callable[[Path, Report], list[Row]]
"""Computes the rows of a cell. It may leave files in the folder, which is its own, and tells how far it is."""
_TRACEBACK_LINES = 12


@dataclass(frozen=True, eq=False)
class Task:
    """A cell that is to be computed. It can be pickled, so that any process on any machine may do so.

    Attributes:
        name: for people; unique in its results folder.
        compute: a function that can be pickled.
        dataset, method, split_seed: what a comparison of methods calls the cell; empty in other studies.
        settings: what its rows depend on, as JSON; empty where the whole folder has one setting.
    """

    name: str
    compute: Compute
    dataset: str = ""
    method: str = ""
    split_seed: str = ""
    settings: str = ""


class Update(NamedTuple):
    """How far a running task is."""

    done: int
    total: int
    words: str


class Failure(NamedTuple):
    """Why a task has no rows.

    Attributes:
        kind: "error" in its code, "worker died", or "TLE", the paper's word for a time limit that was exceeded.
        error: the exception's class.
        message: of the exception, or what happened.
        traceback: its last lines.
    """

    kind: Literal["error", "worker died", "TLE"]
    error: str = ""
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        rows: to be stored.
        files: what it left in its folder, by path relative to that.
        seconds: wall time.
        words: its last update's.
        failure: why there are no rows, or None.
    """

    rows: list[Row] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    words: str = ""
    failure: Failure | None = None


class Engine(Protocol):
    """Runs tasks side by side. A task that fails, dies or takes too long has an outcome that says so."""

    def slots(self) -> int:
        """How many tasks may run at once."""
        ...

    def start(self, task: Task) -> None:
        """Run a task; to be called while fewer than `slots` are running."""
        ...

    def wait(self, seconds: float) -> list[tuple[Task, Update | Outcome]]:
        """What has happened; waits for something to happen, but not longer than so many seconds."""
        ...

    def close(self) -> None:
        """End whatever is running."""
        ...


def perform(task: Task, folder: Path, report: Report) -> Outcome:
    """Compute a task in this process; an exception becomes its outcome.

    Args:
        task: what to compute.
        folder: empty, and nobody else's.
        report: told of every update.
    """
    start, words = time.monotonic(), ""

    def tell(done: int, total: int, now: str) -> None:
        nonlocal words
        words = now
        report(done, total, now)

    try:
        rows = task.compute(folder, tell)
    except Exception as error:
        lines = "".join(traceback.format_exception(error)).splitlines()
        failure = Failure("error", type(error).__name__, str(error), "\n".join(lines[-_TRACEBACK_LINES:]))
        return Outcome(seconds=time.monotonic() - start, words=words, failure=failure)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return Outcome(rows, files, time.monotonic() - start, words)

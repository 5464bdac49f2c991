"""Cells without results: those that failed, whose worker died, or that took longer than the time limit (TLE)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from experiments.claims import files_lock
from experiments.engines.base import Outcome, Task
from experiments.results import read_stored, write_csv

FAILURES_FILE = "failures.csv"
TLE = "TLE"
COLUMNS = (
    "cell",
    "dataset",
    "method",
    "split_seed",
    "kind",
    "error",
    "message",
    "traceback",
    "seconds",
    "time_limit",
    "when",
    "command",
    "settings",
)
"""time_limit is in minutes, empty without one; when is in UTC; the others are those of `Task`, `Failure` and `Outcome`."""


def read_failures(folder: Path) -> pd.DataFrame:
    """The recorded cells of a results folder, one row each, all columns text; none if there is no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / FAILURES_FILE
    try:
        return read_stored(path, COLUMNS, dtype=str, keep_default_na=False)
    except FileNotFoundError:  # asking before would not do: another sweep may remove it meanwhile
        return pd.DataFrame(columns=list(COLUMNS))


def record_failure(folder: Path, task: Task, outcome: Outcome, time_limit: float | None, command: str) -> None:
    """Record that a cell has no rows, instead of what was recorded of it before.

    Args:
        folder: of the results.
        task: the cell.
        outcome: has a failure.
        time_limit: minutes.
        command: how the sweep was started.
    """
    assert outcome.failure is not None
    row = {
        "cell": task.name,
        **{name: getattr(task, name) for name in ("dataset", "method", "split_seed", "settings")},
        **outcome.failure._asdict(),
        "seconds": f"{outcome.seconds:.1f}",
        "time_limit": "" if time_limit is None else f"{time_limit:g}",
        "when": datetime.now(UTC).isoformat(),
        "command": command,
    }
    _replace(folder, task, pd.DataFrame([row], columns=list(COLUMNS)))


def forget_failure(folder: Path, task: Task) -> None:
    """Remove the record of a cell, if there is one."""
    if (folder / FAILURES_FILE).exists():
        _replace(folder, task, pd.DataFrame(columns=list(COLUMNS)))


def _replace(folder: Path, task: Task, new: pd.DataFrame) -> None:
    with files_lock(folder):
        stored = read_failures(folder)
        kept = pd.concat([stored[stored["cell"] != task.name], new])
        if len(kept):
            write_csv(kept, folder / FAILURES_FILE)
        else:
            (folder / FAILURES_FILE).unlink(missing_ok=True)


def exceeds(stored: pd.DataFrame, task: Task, time_limit: float | None) -> bool:
    """Whether a cell is known to take longer than the time limit (minutes), with the same settings."""
    known = stored[(stored["cell"] == task.name) & (stored["kind"] == TLE) & (stored["settings"] == task.settings)]
    return time_limit is not None and len(known) > 0 and float(known["time_limit"].iloc[0]) >= time_limit


def methods_beyond_time(folder: Path, dataset: str, but: Sequence[str]) -> list[str]:
    """Methods that a time limit stopped on a dataset, but for those that have results there."""
    stored = read_failures(folder)
    stopped = stored[(stored["dataset"] == dataset) & (stored["kind"] == TLE)]["method"]
    return [method for method in stopped.unique() if method not in but]

"""Studies are computed cell by cell; each cell is one small CSV file that is written whole and never computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd

from experiments.claims import files_lock
from experiments.digests import check_kept, write_kept
from experiments.engines.base import Outcome, Report, Row, Task
from experiments.failures import FAILURES_FILE
from experiments.results import read_stored

__all__ = ["CellFolder", "CellStudy", "Row", "cell_files", "read_cells"]


class CellStudy(Protocol):
    """A study of cells.

    Its class is built from the keys of a TOML file.
    """

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        """Name of every cell, and what computes its rows: a function that can be pickled."""
        ...

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """Titles and tables from all rows."""
        ...

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        """Draw the figures into a folder; returns the files written."""
        ...


class CellFolder:
    """A study of cells, and the folder of their files.

    Args:
        study: what to compute.
        folder: of the results.
    """

    def __init__(self, study: CellStudy, folder: Path) -> None:
        self.folder = folder
        self.tasks = tuple(Task(name, partial(_without_files, compute)) for name, compute in study.cells())

    def missing(self) -> list[Task]:
        """Tasks whose rows are not stored.

        Raises:
            ValueError: if a stored file is damaged.
        """
        missing = [task for task in self.tasks if not self._path(task).exists()]
        for task in set(self.tasks) - set(missing):
            check_kept(self._path(task))
        return missing

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Store the rows of a cell."""
        with files_lock(self.folder):
            write_kept(pd.DataFrame(outcome.rows).to_csv(index=False).encode(), self._path(task))

    def _path(self, task: Task) -> Path:
        return self.folder / f"{task.name}.csv"


def _without_files(compute: Callable[[], list[Row]], folder: Path, report: Report) -> list[Row]:
    return compute()


def cell_files(folder: Path) -> list[Path]:
    """The files of all stored cells."""
    return sorted(path for path in folder.glob("*.csv") if path.name != FAILURES_FILE)


def read_cells(folder: Path) -> pd.DataFrame:
    """The rows of all stored cells.

    Raises:
        ValueError: if there are none, or a file is damaged.
    """
    paths = cell_files(folder)
    if not paths:
        raise ValueError(f"there are no results in {folder}")
    return pd.concat([read_stored(path) for path in paths], ignore_index=True)

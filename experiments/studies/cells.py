"""Studies are computed cell by cell; each cell is one small CSV file that is written whole and never computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from experiments.results import write_csv

Row = dict[str, Any]
Report = Callable[[str], None]


class CellStudy(Protocol):
    """A study of cells.

    Its class is built from the keys of a TOML file.
    """

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        """Name of every cell, and what computes its rows."""
        ...

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """Titles and tables from all rows."""
        ...

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        """Draw the figures into a folder; returns the files written."""
        ...


def run_cells(study: CellStudy, folder: Path, report: Report) -> None:
    """Compute and store every cell that is not stored yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, compute in study.cells():
        path = folder / f"{name}.csv"
        if path.exists():
            report(f"{path} is stored, nothing to compute")
            continue
        report(f"computing {path}")
        write_csv(pd.DataFrame(compute()), path)


def read_cells(folder: Path) -> pd.DataFrame:
    """The rows of all stored cells.

    Raises:
        ValueError: if there are none.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise ValueError(f"there are no results in {folder}")
    return pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)

"""Cells of studies computed in this process, and rows in place of stored ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.runner.cells import Cell, silent
from experiments.runner.store import Record, Results
from experiments.study import Study


def compute(cell: Cell) -> pd.DataFrame:
    """The rows of a cell, with its labels, as they would be stored."""
    return pd.DataFrame([cell.labels | row for row in cell.compute(silent).rows])


def compute_all(study: Study) -> pd.DataFrame:
    return pd.concat([compute(cell) for cell in study.cells()], ignore_index=True)


def as_results(rows: pd.DataFrame) -> Results:
    """Rows as if one cell had stored them all."""
    return Results(Path(), [Record("all", (), {}, {}, "", "", 0.0, rows.to_dict("records"))])  # type: ignore[arg-type]

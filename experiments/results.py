"""Stored results: one folder a study, one CSV with a row for every final regressor, nothing ever half-written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.claims import files_lock
from experiments.digests import check_kept, write_kept
from experiments.study import Study
from mixrl.files import write_bytes
from mixrl_env import __version__

COLUMNS = (
    "dataset",
    "method",
    "split_seed",
    "seed",
    "val_rmse",
    "test_rmse",
    "test_r2",
    "val_rmse_averaged",
    "test_rmse_averaged",
    "num_rows",
    "trainings",
    "seconds",
    "preset",
    "version",
    "command",
    "choice",
    "settings",
)
"""seconds is the wall time of the whole method on that split, final trainings included; settings is JSON."""
NUMBERS = COLUMNS[2:12]
"""The columns that hold numbers: split_seed to seconds."""
CELL = ("dataset", "method", "split_seed")
"""The columns that name a cell within a study."""


class ResultStore:
    """The results of one study in one folder; what is finished stays, and is not computed again.

    Args:
        folder: made if it does not exist.
        study: whose results are stored.
        command: how the study was started.

    Attributes:
        path: of the table.

    Raises:
        ValueError: if the folder holds results of other settings, of another version, or of another table of the same name.
    """

    def __init__(self, folder: Path, study: Study, command: str) -> None:
        self.folder, self._study, self._command = folder, study, command
        self._order = {cell: place for place, cell in enumerate(study.cells())}
        self.path = folder / "results.csv"
        if self.path.exists():
            self._check(read_results(folder))
        folder.mkdir(parents=True, exist_ok=True)

    def settings(self, dataset: str, method: str) -> str:
        """What results of a method on a dataset depend on, as JSON."""
        return json.dumps(self._study.settings_on(dataset, method).as_dict())

    def _check(self, stored: pd.DataFrame) -> None:
        other = next(self._other(stored), None)
        if other is not None:
            raise ValueError(
                f"{self.path} holds results made with another {other[0]}: {other[1]}; "
                "choose another folder with --out, or move this one away"
            )

    def _other(self, stored: pd.DataFrame) -> Iterator[tuple[str, object]]:
        """In what stored results are not ours, and what it is there. What the study does not compute may stay."""
        for cell, rows in stored.groupby(["dataset", "method"], sort=False):
            dataset, method = map(str, cell)
            table, before = self._study.tables.get(dataset), stored_table(rows)
            if table and before:
                changed = [key for key, value in table.as_dict().items() if before.get(key) != value]
                yield from ((f"{key} of the table '{dataset}'", before.get(key)) for key in changed)
            if method in self._study.methods and bool(table) == bool(before):
                ours = self.settings(dataset, method)
                yield from (("settings", settings) for settings in rows["settings"] if settings != ours)
        yield from (("version", version) for version in stored["version"] if version != __version__)

    def done(self) -> set[tuple[str, str, int]]:
        """Dataset, method and split seed of everything that is stored."""
        if not self.path.exists():
            return set()
        return set(read_results(self.folder)[list(CELL)].itertuples(index=False, name=None))

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Store all rows of one method on one split; the file is replaced in one go.

        Rows stand in the order of the study, whichever was finished first.
        """
        common = {"preset": self._study.name, "version": __version__, "command": self._command}
        rows = [{**row, **common, "settings": self.settings(row["dataset"], row["method"])} for row in rows]
        new = pd.DataFrame(rows, columns=list(COLUMNS))
        with files_lock(self.folder):
            if self.path.exists():
                stored = read_results(self.folder)
                self._check(stored)
                new = pd.concat([stored, new], ignore_index=True)
            cells = new[list(CELL)].itertuples(index=False, name=None)
            place = pd.Series([self._order.get(cell, -1) for cell in cells])  # what we do not compute stays on top
            write_kept(new.iloc[place.argsort(kind="stable")].to_csv(index=False).encode(), self.path)


def read_results(folder: Path) -> pd.DataFrame:
    """The stored rows of a study.

    Raises:
        ValueError: if there is no such file, it has no rows or lacks a column, or a value is not what is stored there.
    """
    path = folder / "results.csv"
    if not path.exists():
        raise ValueError(f"there are no results in {folder}: {path} does not exist")
    texts = dict.fromkeys(set(COLUMNS) - set(NUMBERS), str)  # a table of the user's own may be called 2020
    frame = read_stored(path, COLUMNS, keep_default_na=False, dtype=texts)
    if frame.empty:
        raise ValueError(f"there are no results in {folder}: {path} has no rows")
    for column in NUMBERS:
        bad = pd.to_numeric(frame[column], errors="coerce").isna().to_numpy()
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"{path} is damaged: {str(frame[column][row])!r} in row {row} (from 0), column '{column}', is no number"
            )
    for settings in frame["settings"].unique():
        _check_settings(settings, path)
    return frame


def _check_settings(settings: str, path: Path) -> None:
    try:
        told = json.loads(settings)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: the settings {settings[:40]!r} are no JSON ({error})") from error
    if not isinstance(told, dict) or not isinstance(told.get("table", {}), dict):
        raise ValueError(f"{path} is damaged: {settings[:40]!r} are no settings of a method")


def read_stored(path: Path, columns: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """A CSV file that was stored, as pandas reads it.

    Args:
        path: of the file.
        columns: those that it must have.
        **options: of `pandas.read_csv`.

    Raises:
        ValueError: naming the file, if it is no CSV table, lacks a column, or is not as it was stored.
    """
    if path.exists():
        check_kept(path)
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged, it is no CSV table: {str(error).strip()}") from error
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"{path} is not a table that was stored here: it lacks the columns {', '.join(missing)}")
    return frame


def stored_table(results: pd.DataFrame) -> dict[str, Any] | None:
    """What stored rows of one dataset say of the user's own table behind them (`OwnTable.as_dict`); None for other datasets."""
    told: dict[str, Any] | None = json.loads(results["settings"].iloc[0]).get("table")
    return told


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write or replace a file in one go: whoever reads it never sees half of it."""
    write_text(table.to_csv(index=False), path)


def write_text(text: str, path: Path) -> None:
    """Write or replace a file in one go."""
    write_bytes(text.encode(), path)


def cell_folder(folder: Path, dataset: str, split_seed: int) -> Path:
    """Where the methods of one split leave their curves, plans and networks."""
    return folder / f"{dataset}-split{split_seed}"


def slug(name: str) -> str:
    """A method's name as the name of a file or folder."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())

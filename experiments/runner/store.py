"""Stored results: one JSON record for each finished cell, written atomically. results.csv is derived from the records.

NAME/study.toml               the settings of the study
NAME/cells/CELL.json          record of a finished cell
NAME/cells/CELL.failed.json   why a cell has no rows; the next sweep tries it again
NAME/files/CELL/...           curves, plans and networks of a cell
NAME/results.csv              all rows, for people and other programs
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.runner.cells import Cell, Failure, Outcome, Row
from mixrl.files import write_bytes
from mixrl_env import __version__

STUDY_FILE = "study.toml"
_FAILED = ".failed.json"


@dataclass(frozen=True)
class Record:
    """What is stored of a finished cell, or of one that failed.

    Attributes:
        cell: its name.
        place: see `Cell`.
        labels: columns that all its rows share.
        settings: what its rows depend on.
        version: of mixrl.
        command: how it was computed.
        seconds: wall time.
        rows: empty if it failed.
        failure: kind, message and traceback, and the time limit in minutes; None if it did not fail.
    """

    cell: str
    place: tuple[int, ...]
    labels: dict[str, Any]
    settings: dict[str, Any]
    version: str
    command: str
    seconds: float
    rows: list[Row]
    failure: dict[str, Any] | None = None


@dataclass(frozen=True)
class Results:
    """The stored records of a study.

    Attributes:
        folder: of the study.
        records: of finished cells, in the order of the study's tables.
        failed: of cells that failed.
    """

    folder: Path
    records: Sequence[Record]
    failed: Sequence[Record] = ()

    @property
    def rows(self) -> pd.DataFrame:
        """All rows, the labels of their cells in front."""
        return pd.DataFrame([record.labels | row for record in self.records for row in record.rows])

    def where(self, **labels: Any) -> Results:
        """The records with these labels."""

        def kept(records: Sequence[Record]) -> list[Record]:
            return [record for record in records if all(record.labels.get(name) == value for name, value in labels.items())]

        return Results(self.folder, kept(self.records), kept(self.failed))

    def file(self, record: Record, name: str) -> Path:
        """Where a cell's file of this name is stored, if it has one."""
        return self.folder / "files" / record.cell / name


class Store:
    """The cells of a study and the folder of their records.

    Args:
        folder: of the results.
        cells: of the study.
        settings: text of the study's TOML file.
        command: how the study was started.

    Raises:
        ValueError: if the folder holds records of these cells that were made with other settings or another version.
    """

    def __init__(self, folder: Path, cells: Sequence[Cell], settings: str, command: str) -> None:
        self.folder, self.cells, self._settings, self._command = folder, tuple(cells), settings, command
        for record in _read(folder, ".json"):
            self._check(record)

    def _check(self, record: Record) -> None:
        cell = next((cell for cell in self.cells if cell.name == record.cell), None)
        if cell is None:
            return
        ours = _as_json({**cell.settings, "version of mixrl": __version__})
        theirs = record.settings | {"version of mixrl": record.version}
        for key in {**ours, **theirs}:
            if ours.get(key) != theirs.get(key):
                raise ValueError(
                    f"{self.folder} holds results of {record.cell} with {key} = {theirs.get(key)!r}, now {ours.get(key)!r}; "
                    "choose another folder with --out, or move this one away"
                )

    def begin(self) -> None:
        """Make the folder and write the settings, once there is something to compute."""
        (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        write_bytes(self._settings.encode(), self.folder / STUDY_FILE)

    def missing(self) -> list[Cell]:
        """Cells without rows."""
        return [cell for cell in self.cells if not self.is_stored(cell)]

    def is_stored(self, cell: Cell) -> bool:
        """Whether a cell has rows."""
        return self._path(cell).exists()

    def failures(self) -> dict[str, Record]:
        """The records of cells that failed with the settings of now, by name."""
        now = {cell.name: _as_json(cell.settings) for cell in self.cells}
        return {record.cell: record for record in stored(self.folder).failed if record.settings == now.get(record.cell)}

    def save(self, cell: Cell, outcome: Outcome, time_limit: float | None = None) -> None:
        """Store the outcome of a cell; its record comes last and says that the cell is finished.

        Args:
            cell: that was computed.
            outcome: of the computation.
            time_limit: in minutes; None without one.
        """
        failed = self._path(cell, _FAILED)
        if outcome.computed is None:
            assert outcome.failure is not None
            failure = Failure(*outcome.failure)._asdict() | {"time_limit": time_limit}
            write_bytes(_json(self._new(cell, outcome.seconds, [], failure)), failed)
            return
        for name, content in outcome.computed.files.items():
            path = self.folder / "files" / cell.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(content, path)
        write_bytes(_json(self._new(cell, outcome.seconds, outcome.computed.rows)), self._path(cell))
        failed.unlink(missing_ok=True)

    def export(self) -> Path | None:
        """Write results.csv; None if nothing is stored."""
        results = stored(self.folder)
        if not results.records:
            return None
        common = [
            {"preset": record.settings.get("preset", ""), "version": record.version, "command": record.command}
            for record in results.records
            for _ in record.rows
        ]
        path = self.folder / "results.csv"
        write_bytes(pd.concat([results.rows, pd.DataFrame(common)], axis=1).to_csv(index=False).encode(), path)
        return path

    def _new(self, cell: Cell, seconds: float, rows: list[Row], failure: dict[str, Any] | None = None) -> Record:
        settings = _as_json(cell.settings)
        return Record(
            cell.name, cell.place, dict(cell.labels), settings, __version__, self._command, round(seconds, 1), rows, failure
        )

    def _path(self, cell: Cell, ending: str = ".json") -> Path:
        return self.folder / "cells" / f"{cell.name}{ending}"


def stored(folder: Path) -> Results:
    """What is stored in a folder; without records if there is nothing.

    Raises:
        ValueError: if a record cannot be read.
    """
    return Results(folder, _read(folder, ".json"), _read(folder, _FAILED))


def read_results(folder: Path) -> Results:
    """What is stored in a folder.

    Raises:
        ValueError: if there are no results, or a record cannot be read.
    """
    results = stored(folder)
    if not results.records:
        raise ValueError(f"there are no results in {folder}")
    return results


def _read(folder: Path, ending: str) -> list[Record]:
    paths = [path for path in sorted((folder / "cells").glob("*.json")) if path.name.endswith(_FAILED) == (ending == _FAILED)]
    return sorted(map(_record, paths), key=lambda record: record.place)


def _record(path: Path) -> Record:
    try:
        record = Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a stored record: {error}; remove it to compute the cell again") from error
    return record


def _json(record: Record) -> bytes:
    """The record as JSON with one line a row."""
    fields = asdict(record)
    rows = ",\n".join(json.dumps(row, default=_plain) for row in fields.pop("rows"))
    lines = [f"{json.dumps(name)}: {json.dumps(value, default=_plain)}" for name, value in fields.items()]
    return ("{\n" + ",\n".join([*lines, f'"rows": [\n{rows}\n]']) + "\n}\n").encode()


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value)

"""Stored results: one folder a study, one CSV with a row for every final regressor, nothing ever half-written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.settings import Settings
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


class ResultStore:
    """The results of one study in one folder; what is finished stays, and is not computed again.

    Args:
        folder: made if it does not exist.
        study: name of the preset or the study.
        settings: what the results of each method depend on.
        command: how the study was started.

    Raises:
        ValueError: if the folder holds results of other settings or of another version.
    """

    def __init__(self, folder: Path, study: str, settings: Mapping[str, Settings], command: str) -> None:
        self.folder, self._study, self._command = folder, study, command
        self._settings = {method: json.dumps(own.as_dict()) for method, own in settings.items()}
        self.path = folder / "results.csv"
        if self.path.exists():
            stored = read_results(folder)
            ours = stored["method"].map(self._settings).fillna(stored["settings"])  # what we do not compute may stay
            for column, expected in (("settings", ours), ("version", __version__)):
                other = stored.loc[stored[column] != expected, column]
                if len(other):
                    raise ValueError(
                        f"{self.path} holds results made with another {column}: {other.iloc[0]}; "
                        "choose another folder with --out, or move this one away"
                    )
        folder.mkdir(parents=True, exist_ok=True)

    def is_done(self, dataset: str, method: str, split_seed: int) -> bool:
        """Whether a method's results on a split are stored."""
        if not self.path.exists():
            return False
        stored = read_results(self.folder)
        same = (stored["dataset"] == dataset) & (stored["method"] == method) & (stored["split_seed"] == split_seed)
        return bool(same.any())

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Store all rows of one method on one split; the file is replaced in one go."""
        common = {"preset": self._study, "version": __version__, "command": self._command}
        rows = [{**row, **common, "settings": self._settings[row["method"]]} for row in rows]
        new = pd.DataFrame(rows, columns=list(COLUMNS))
        if self.path.exists():
            new = pd.concat([read_results(self.folder), new], ignore_index=True)
        write_csv(new, self.path)


def read_results(folder: Path) -> pd.DataFrame:
    """The stored rows of a study.

    Raises:
        ValueError: if there is no such file, or it lacks a column.
    """
    path = folder / "results.csv"
    if not path.exists():
        raise ValueError(f"there are no results in {folder}: {path} does not exist")
    frame = pd.read_csv(path, keep_default_na=False, dtype={"version": str, "choice": str})
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise ValueError(f"{path} is not a result table: it lacks the columns {', '.join(missing)}")
    return frame


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write or replace a file in one go: whoever reads it never sees half of it."""
    write_text(table.to_csv(index=False), path)


def write_text(text: str, path: Path) -> None:
    """Write or replace a file in one go."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def cell_folder(folder: Path, dataset: str, split_seed: int) -> Path:
    """Where the methods of one split leave their curves, plans and networks."""
    return folder / f"{dataset}-split{split_seed}"


def slug(name: str) -> str:
    """A method's name as the name of a file or folder."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())

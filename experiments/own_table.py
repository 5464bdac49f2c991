"""Tables of the user's own in studies: [tables.NAME] of a study's TOML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from experiments.studies.checks import check_names
from mixrl_env import RegressionData, dataset_names, read_table

_KEYS = ("path", "targets", "split", "sizes")


@dataclass(frozen=True)
class OwnTable:
    """A CSV file as one dataset of a study.

    Attributes:
        path: of the file.
        sha256: of its bytes when the study was read; `load` takes no other file.
        targets: the columns to predict.
        split: the column that gives the split; None draws it.
        sizes: training, validation and test rows, drawn or given.
    """

    path: Path
    sha256: str
    targets: tuple[str, ...]
    split: str | None
    sizes: tuple[int, int, int]

    def load(self, split_seed: int) -> RegressionData:
        """The task on one split, labels in standard deviations of the training rows as those of the other measured tables.

        Where the split is given, every seed has the same rows.

        Raises:
            ValueError: if the file is no longer the one that the study was checked with.
        """
        if _digest(self.path) != self.sha256:
            raise ValueError(f"{self.path} has changed while the study ran: start the study anew, with another folder")
        sizes = None if self.split else self.sizes
        data = read_table(self.path, self.targets, split=self.split, sizes=sizes, split_seed=split_seed)
        return data.with_standardized_labels()

    def as_dict(self) -> dict[str, Any]:
        """What results depend on, as JSON can hold it: of the path the file's name alone, since a file may be moved."""
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "targets": list(self.targets),
            "split": self.split,
            "sizes": list(self.sizes),
        }


def own_tables(told: object, folder: Path) -> dict[str, OwnTable]:
    """The tables that a study's TOML file defines, by name, each read and checked.

    Args:
        told: the key `tables` of the file.
        folder: of the file, which paths are relative to.

    Raises:
        ValueError: for a name that cannot be a file's or is that of another dataset, an unknown key or a bad value, a file
            that cannot be read or is refused by `mixrl_env.read_table`, or a table without test rows.
    """
    if not isinstance(told, Mapping):
        raise ValueError(f"tables must be written as [tables.NAME], got {told!r}")
    for name in told:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"a table can be called by letters, digits, _ and - only, got {name!r}")
        if name in dataset_names():
            raise ValueError(f"a table cannot be called {name!r}, which is another dataset")
    return {name: _own_table(name, one, folder) for name, one in told.items()}


def _own_table(name: str, told: object, folder: Path) -> OwnTable:
    if not isinstance(told, Mapping) or not {"path", "targets"} <= set(told):
        raise ValueError(f"[tables.{name}] must give path and targets, got {told!r}")
    check_names("key of a table", list(told), _KEYS)
    for key in ("path", "split"):
        if not isinstance(told.get(key, ""), str):
            raise ValueError(f"{key} of table {name!r} must be a text, got {told[key]!r}")
    targets = [told["targets"]] if isinstance(told["targets"], str) else told["targets"]
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise ValueError(f"targets of table {name!r} must be a list of column names, got {targets!r}")
    if not isinstance(told.get("sizes", []), list):
        raise ValueError(f"sizes of table {name!r} must be a list of three whole numbers, got {told['sizes']!r}")
    path, split = folder / told["path"], told.get("split")
    try:
        data = read_table(path, targets, split=split, sizes=told.get("sizes"))
        digest = _digest(path)
    except OSError as error:
        raise ValueError(f"table {name!r}: cannot read {path}: {error.strerror}") from error
    if data.x_test is None:
        raise ValueError(f"table {name!r} has no test rows, which a study judges methods on")
    return OwnTable(path.absolute(), digest, tuple(targets), split, (len(data.x_train), len(data.x_val), len(data.x_test)))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()

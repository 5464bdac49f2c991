"""Tables of the user's own in studies: [tables.NAME] of a study's TOML file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mixrl_env import RegressionData, read_table


class TableSpec(BaseModel):
    """What a study's file says of a table.

    Attributes:
        path: of the CSV file, relative to the study's file.
        targets: the columns to predict.
        split: the column that gives the split; None draws it.
        sizes: training, validation and test rows; None takes those of `mixrl_env.read_table`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    targets: str | tuple[str, ...]
    split: str | None = None
    sizes: tuple[int, int, int] | None = None

    def read(self, name: str, folder: Path) -> OwnTable:
        """Read and check the table.

        Args:
            name: of the table.
            folder: that the path is relative to.

        Raises:
            ValueError: for a file that cannot be read or is refused by `mixrl_env.read_table`, or without test rows.
        """
        path, targets = folder / self.path, (self.targets,) if isinstance(self.targets, str) else self.targets
        try:
            data = read_table(path, targets, split=self.split, sizes=self.sizes)
            digest = _digest(path)
        except OSError as error:
            raise ValueError(f"table {name!r}: cannot read {path}: {error.strerror}") from error
        if data.x_test is None:
            raise ValueError(f"table {name!r} has no test rows, which a study judges methods on")
        return OwnTable(path.absolute(), digest, targets, self.split, (len(data.x_train), len(data.x_val), len(data.x_test)))


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
        return asdict(self) | {"path": self.path.name}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()

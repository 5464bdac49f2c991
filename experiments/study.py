"""What every kind of study is: settings from a TOML file, cells to compute, and tables and figures of their rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt

from experiments.runner.cells import Cell, Computed, Row, slug
from experiments.runner.store import Results
from experiments.show.tables import Titled
from mixrl_env.datasets import dataset_names


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"a value is listed twice: {', '.join(map(str, values))}")
    return values


def one_of(known: Sequence[str], what: str) -> AfterValidator:
    """A validator of names that are to be known."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: {', '.join(map(repr, known))}")
        return name

    return AfterValidator(check)


Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_each_once)]
Dataset = Annotated[str, one_of(dataset_names(), "dataset")]
Datasets = Annotated[tuple[Dataset, ...], Field(min_length=1), AfterValidator(_each_once)]


class Study(BaseModel, ABC):
    """A study. Its fields are the keys of a TOML file; `kind` tells which study it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"splits", "datasets", "agents"})
    """Fields that rows do not depend on: more splits, datasets or agents may be added to stored ones."""

    def located(self, folder: Path) -> Study:
        """The study, ready to be computed; paths in it are relative to the folder."""
        return self

    @abstractmethod
    def cells(self) -> list[Cell]:
        """All cells, in the order of the tables."""

    @staticmethod
    @abstractmethod
    def tables(results: Results) -> list[Titled]:
        """Titles and tables of stored rows."""

    @staticmethod
    @abstractmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Draw the figures into a folder; returns the files written."""

    def settings(self) -> dict[str, Any]:
        """What rows depend on besides the labels of their cell."""
        return self.model_dump(exclude=set(self.MAY_GROW))

    def grid(self, compute: Callable[..., list[Row]], **axes: Sequence[Any]) -> list[Cell]:
        """A cell for each combination of values, the last axis fastest; computed by `compute(*values)`.

        Args:
            compute: can be pickled.
            **axes: values by the name of the column that they are stored in.
        """
        cells = []
        for place in product(*(range(len(values)) for values in axes.values())):
            labels = {name: values[index] for (name, values), index in zip(axes.items(), place, strict=True)}
            name = "-".join(_part(axis, value) for axis, value in labels.items())
            cells.append(Cell(name, partial(_rows_alone, compute, *labels.values()), labels, self.settings(), place))
        return cells


def _rows_alone(compute: Callable[..., list[Row]], *values: Any) -> Computed:
    """Called by a worker, the report last."""
    return Computed(compute(*values[:-1]))


def _part(axis: str, value: Any) -> str:
    """A label in the name of a cell: "split3", "no2"."""
    return f"split{value}" if axis == "split_seed" else f"seed{value}" if axis == "seed" else slug(str(value))

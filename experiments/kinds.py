"""The kinds of studies that a TOML file may name."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from experiments.benchmark.run import Benchmark
from experiments.presets import one_line
from experiments.runner.store import STUDY_FILE
from experiments.studies.agents import AgentComparison
from experiments.studies.comparison import Comparison
from experiments.studies.credit import Credit
from experiments.studies.distances import Distances
from experiments.studies.estimators import Estimators
from experiments.studies.fidelity import Fidelity
from experiments.studies.labels import Labels
from experiments.studies.many_tables import ManyTables
from experiments.studies.truth import Truth
from experiments.study import Study

KINDS: tuple[type[Study], ...] = (
    AgentComparison,
    Benchmark,
    Comparison,
    Credit,
    Distances,
    Estimators,
    Fidelity,
    Labels,
    ManyTables,
    Truth,
)
_ADAPTER: TypeAdapter[Study] = TypeAdapter(
    Annotated[
        AgentComparison | Benchmark | Comparison | Credit | Distances | Estimators | Fidelity | Labels | ManyTables | Truth,
        Field(discriminator="kind"),
    ]
)


def read_study(path: Path) -> Study:
    """The study of a TOML file; a file without a kind compares methods.

    Raises:
        ValueError: for a file that is not TOML, an unknown kind or key, or a bad value.
        OSError: if the file cannot be read.
    """
    try:
        given = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    return make_study(given, str(path))


def open_study(path: Path) -> Study:
    """The study of a TOML file, ready to be computed: its own tables are read.

    Raises:
        ValueError: as `read_study`, or for a table that is refused.
    """
    study = read_study(path)
    try:
        return study.located(path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def make_study(given: dict[str, Any], source: str) -> Study:
    """The study with these settings; source names them in messages."""
    try:  # as JSON, where lists stand for tuples but texts do not stand for numbers
        return _ADAPTER.validate_json(json.dumps({"kind": "compare", **given}, default=str), strict=True)
    except ValidationError as error:
        raise ValueError(f"{source}: {one_line(error)}") from error


def kind_of(folder: Path) -> type[Study]:
    """The kind of the study whose results a folder holds.

    Raises:
        ValueError: if the folder holds no study.
    """
    path = folder / STUDY_FILE
    if not path.exists():
        raise ValueError(f"there are no results in {folder}")
    return type(read_study(path))

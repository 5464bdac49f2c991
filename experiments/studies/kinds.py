"""The kinds of studies that a TOML file may name."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from experiments.claims import files_lock
from experiments.results import write_text
from experiments.studies.agents import AGENTS, AgentComparison
from experiments.studies.cells import CellStudy
from experiments.studies.checks import check_names, check_seeds
from experiments.studies.distances import Distances
from experiments.studies.drift import Drift
from experiments.studies.endings import Endings
from experiments.studies.estimators import Estimators
from experiments.studies.fidelity import Fidelity
from experiments.studies.labels import Labels
from experiments.studies.transfer import Transfer
from experiments.studies.truth import Truth
from mixrl_env.datasets import dataset_names
from mixrl_env.datasets.known import KNOWN

KINDS: dict[str, type[CellStudy]] = {
    "agents": AgentComparison,
    "distances": Distances,
    "drift": Drift,
    "endings": Endings,
    "estimators": Estimators,
    "fidelity": Fidelity,
    "labels": Labels,
    "transfer": Transfer,
    "truth": Truth,
}
SETTINGS_FILE = "study.toml"
"""Kept beside the cells of a study: what they depend on."""
_MAY_GROW = ("agents", "datasets", "splits", "seeds")
COMPARE = "compare"
"""The kind that `experiments.study.Study` reads: methods against each other."""


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says, its kind included; a file without a kind compares methods.

    Raises:
        ValueError: for a file that is not TOML, or an unknown kind.
    """
    try:
        told = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    kind = told.setdefault("kind", COMPARE)
    if kind not in (COMPARE, *KINDS):
        raise ValueError(f"{path}: unknown kind {kind!r}; known: {', '.join((COMPARE, *KINDS))}")
    return told


def as_toml(told: dict[str, Any]) -> str:
    """The text of a TOML file that says so; values are names, numbers, and lists of them."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())


def keep_settings(source: str, told: dict[str, Any], text: str, folder: Path) -> None:
    """Keep the text of a TOML file in the results folder; more datasets, splits, seeds or agents may be added to stored ones.

    Args:
        source: where it comes from, for people.
        told: what it says.
        text: of the file.
        folder: of the results.

    Raises:
        ValueError: if the folder holds results of other settings.
    """
    stored = folder / SETTINGS_FILE
    _check_kept(source, told, stored)  # without a trace
    with files_lock(folder):  # else two that start at once would both find none, and mix their results
        _check_kept(source, told, stored)
        write_text(text, stored)


def _check_kept(source: str, told: dict[str, Any], stored: Path) -> None:
    other = read_toml(stored) if stored.exists() else told
    for key in sorted({*told, *other} - {*_MAY_GROW}):
        if told.get(key) != other.get(key):
            raise ValueError(
                f"{stored.parent} holds results with {key} = {other.get(key)!r}, but {source} says {told.get(key)!r}; "
                "choose another folder with --out, or move this one away"
            )


def cell_study(source: str, told: dict[str, Any]) -> CellStudy:
    """The study of cells that a file describes; source is its name, for people.

    Raises:
        ValueError: for a key that its kind does not know, or a value out of its range.
    """
    kind, settings = KINDS[told["kind"]], {key: value for key, value in told.items() if key != "kind"}
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"{source}: unknown key {key!r}; a study of kind {told['kind']!r} knows {', '.join(known)}")
        settings[key] = tuple(value) if isinstance(value, list) else value
    try:
        for key, value in settings.items():
            if key in ("splits", "seeds"):
                check_seeds(key, value)
            elif key == "agents":
                check_names("agent", value, list(AGENTS))
            elif key == "datasets":
                check_names("dataset", value, list(KNOWN) if told["kind"] == "truth" else dataset_names())
            elif key == "dataset":
                check_names("dataset", [value], dataset_names())
            elif key == "regressor":
                if not isinstance(value, dict):
                    raise ValueError(f"regressor must be a table of settings, got {value!r}")
            else:
                _check_counts(key, value, several=isinstance(getattr(kind, key), tuple))
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error


def _check_counts(key: str, value: object, several: bool) -> None:
    if isinstance(value, tuple) is not several or value == ():
        raise ValueError(f"{key} must be a {'list of whole numbers' if several else 'whole number'}, got {value!r}")
    counts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in counts):
        raise ValueError(f"{key} must be whole numbers of at least 1, got {value!r}")

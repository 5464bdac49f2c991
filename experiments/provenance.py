"""Where stored results come from: what a study asks, its size, its settings, and the commands that made it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import experiments.studies
from experiments.benchmark.learning import read_learning
from experiments.benchmark.run import is_benchmark, stored_tables
from experiments.methods import REFERENCES
from experiments.results import read_results
from experiments.settings import PRESETS
from experiments.studies.cells import cell_files, read_cells
from experiments.studies.kinds import SETTINGS_FILE, read_toml
from mixrl_env import RegressorConfig

STUDIES = Path(experiments.studies.__file__).parent


class Setting(NamedTuple):
    """One setting that is not at its default."""

    name: str
    value: str
    default: str


class SettingsGroup(NamedTuple):
    """The settings that some methods share.

    Attributes:
        label: the methods.
        changed: what differs from the preset "default", of a baseline from what it reads of that preset; None where these are
            not settings of methods.
        full: all settings, a line each.
    """

    label: str
    changed: list[Setting] | None
    full: str


class Command(NamedTuple):
    """What computes results; stored with them, or else it follows from the kind of study."""

    text: str
    stored: bool


class Provenance(NamedTuple):
    """What a reader needs to judge stored results and to make them again.

    Attributes:
        purpose: what the study asks or compares.
        facts: its size, in a sentence.
        shared: what all groups change alike.
        groups: settings, each method in one group.
        commands: what computes the results.
        version: of mixrl, "" where it is not stored.
    """

    purpose: str
    facts: str
    shared: list[Setting]
    groups: list[SettingsGroup]
    commands: list[Command]
    version: str


def provenance(folder: Path) -> Provenance:
    """The provenance of a results folder, whatever kind of study it holds.

    Raises:
        ValueError: if nothing is stored there.
    """
    if (folder / SETTINGS_FILE).exists():
        return _of_cells(folder)
    return _of_benchmark(folder) if is_benchmark(folder) else _of_comparison(folder)


def _of_comparison(folder: Path) -> Provenance:
    results = read_results(folder)
    methods = [str(method) for method in results["method"].unique()]
    datasets = results["dataset"].unique()
    size = [_count(len(methods), "method"), f"{_count(len(datasets), 'dataset')} ({_sentence(datasets)})"]
    size += [_count(results["split_seed"].nunique(), "random split"), _count(len(results), "final training")]
    facts = f"{_sentence(size)}: {_sentence(methods)}."
    by_settings: dict[str, list[str]] = {}
    for method, settings in results[["method", "settings"]].drop_duplicates().itertuples(index=False):
        by_settings.setdefault(settings, []).append(method)
    changes = [_changes(names, json.loads(settings)) for settings, names in by_settings.items()]
    shared = [change for change in changes[0] if len(changes) > 1 and all(change in other for other in changes)]
    groups = [
        SettingsGroup(_sentence(names), [change for change in own if change not in shared], _lines(json.loads(settings)))
        for (settings, names), own in zip(by_settings.items(), changes, strict=True)
    ]
    purpose = _purpose(STUDIES / f"{results['preset'].iloc[0]}.toml") or f"{_sentence(methods)} on the same splits."
    commands = [Command(str(command), True) for command in results["command"].unique()]
    return Provenance(purpose, facts, shared, groups, commands, ", ".join(results["version"].unique()))


def _of_cells(folder: Path) -> Provenance:
    path, told = folder / SETTINGS_FILE, read_toml(folder / SETTINGS_FILE)
    cells, rows = len(cell_files(folder)), len(read_cells(folder))
    facts = f"A study of the kind {told['kind']}: {_count(rows, 'row')} stored in {_count(cells, 'cell')}."
    shipped = STUDIES / f"{folder.name}.toml"
    file = shipped.relative_to(STUDIES.parents[1]) if shipped.exists() else Path(f"{folder.name}.toml")
    command = _derived("sweep", str(file), "--out", str(folder.parent))
    group = SettingsGroup("The study's file", None, path.read_text().strip())
    return Provenance(_purpose(path), facts, [], [group], [command], "")


def _of_benchmark(folder: Path) -> Provenance:
    measured = [table[["machine", "command"]] for table in stored_tables(folder).values() if len(table)]
    told = pd.concat(measured) if measured else pd.DataFrame(columns=["machine", "command"])
    groups = [SettingsGroup("The machine", None, _lines(json.loads(machine))) for machine in told["machine"].unique()]
    commands = [Command(str(command), True) for command in told["command"].unique()]
    if len(read_learning(folder)):
        commands.append(_derived("benchmark", "learning", "--out", str(folder)))
    facts = f"{_count(len(measured), 'measurement')}, each of things that were timed in turn in one run."
    return Provenance("What the inner training costs, and what each reward buys.", facts, [], groups, commands, "")


def _changes(methods: list[str], settings: dict[str, Any]) -> list[Setting]:
    """What differs from the preset "default"."""
    preset = PRESETS["default"]
    base = preset.of_baseline() if all(method in REFERENCES for method in methods) else preset
    told = dataclasses.asdict(base) | {"regressor": dataclasses.asdict(base.regressor or RegressorConfig())}
    default = _flat(json.loads(json.dumps(told)))  # lists in place of tuples, as the stored settings have them
    own = dict.fromkeys(name for name in default if "." not in name) | _flat(settings)  # None is left out where it is stored
    return [
        Setting(name, _text(value), _text(default[name]) if name in default else "")
        for name, value in own.items()
        if name not in ("mixrl_name", "regressor") and (name not in default or default[name] != value)
    ]


def _derived(*arguments: str) -> Command:
    return Command(shlex.join(["python", "-m", "experiments", *arguments]), stored=False)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of settings as "outer.inner"."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{inner}": own for inner, own in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _lines(settings: dict[str, Any]) -> str:
    """JSON with one line for each key of the outermost object."""
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in settings.items()) + "\n}"


def _purpose(file: Path) -> str:
    """The comment that a study's file begins with; "" if there is no such file or comment."""
    lines = file.read_text().splitlines() if file.exists() else []
    head = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ") for line in lines[:head])


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _sentence(names: Any) -> str:
    *head, last = map(str, names)
    return f"{', '.join(head)} and {last}" if head else last

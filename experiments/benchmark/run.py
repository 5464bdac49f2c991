"""Run the parts of the benchmark, store each with the machine and the command, and read them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console

from experiments.benchmark.learning import VARIANTS, learning_table, read_learning, run_learning
from experiments.benchmark.overhead import around_training, training_profile, wasted_steps
from experiments.benchmark.scale import neighbor_table, step_cost
from experiments.benchmark.throughput import cuda_throughput, throughput
from experiments.benchmark.timing import machine
from experiments.claims import claim_folder
from experiments.results import read_stored, write_csv

Part = Literal["throughput", "overhead", "scale", "cuda", "learning"]
Report = Callable[[str], None]

MEASUREMENTS: dict[str, dict[str, Callable[[Report], pd.DataFrame]]] = {
    "throughput": {"throughput": throughput},
    "overhead": {"profile": training_profile, "wasted": wasted_steps, "around": around_training},
    "scale": {"step_cost": step_cost, "neighbors": neighbor_table},
    "cuda": {"cuda": cuda_throughput},
}
TITLES = {
    "throughput": "Inner training: one model's step",
    "profile": "Where the time of fit_regressors goes",
    "wasted": "Model-steps spent after stopping",
    "around": "Around the training: one update of REINFORCE",
    "step_cost": "One step of 16 masks, B = 200",
    "neighbors": "Neighbour table",
    "cuda": "Inner training on a GPU",
}


def measure(parts: Sequence[Part], splits: Sequence[int], folder: Path, command: str, console: Console) -> None:
    """Run parts and replace what is stored of them; of the part "learning" what is stored stays.

    Raises:
        ValueError: if another process measures into the folder: the two would disturb each other's times.
    """
    with claim_folder(folder, "measures"), console.status("") as status:
        for part in parts:
            if part == "learning":
                run_learning(folder, list(VARIANTS), splits, console.print)
                continue
            for name, work in MEASUREMENTS[part].items():
                table = work(status.update).assign(machine=json.dumps(machine()), command=command)
                write_csv(table, folder / f"{name}.csv")


def stored_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """What is stored of each measurement, by its name in TITLES; those never run are left out.

    Raises:
        ValueError: if a file is damaged.
    """
    paths = {name: folder / f"{name}.csv" for name in TITLES}
    tables = {name: read_stored(path, ("machine", "command")) for name, path in paths.items() if path.exists()}
    for name, table in tables.items():
        for told in table["machine"].unique():
            _check_machine(told, paths[name])
    return tables


def _check_machine(told: object, path: Path) -> None:
    try:
        good = isinstance(json.loads(str(told)), dict)
    except json.JSONDecodeError:
        good = False
    if not good:
        raise ValueError(f"{path} is damaged: {told!r} in column 'machine' describes none")


def is_benchmark(folder: Path) -> bool:
    """Whether a folder holds measurements."""
    return (folder / "learning").is_dir() or any((folder / f"{name}.csv").exists() for name in TITLES)


def benchmark_tables(folder: Path) -> dict[str, tuple[str, pd.DataFrame]]:
    """Every stored measurement as people read it: a title that names the machine, and a table with three digits."""
    tables = {}
    for name, table in stored_tables(folder).items():
        title = f"{TITLES[name]}: no CUDA device was there, nothing measured"
        if len(table):
            at = json.loads(table["machine"].iloc[0])
            title = f"{TITLES[name]} ({at['device']}, {at['threads']} threads, torch {at['torch']})"
        tables[name] = (title, table.drop(columns=["machine", "command"]).map(_text))
    learned = read_learning(folder)
    if len(learned):
        title = (
            "Validation RMSE of the plan after so many inner trainings, minus that of Algorithm 1 at its end, paired by split"
        )
        tables["learning"] = (title, learning_table(learned))
    return tables


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)

"""Run the methods of Table 2 on random splits, store every finished one, and show the result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from experiments.evaluation import final_scores
from experiments.methods import Augmented, Cell, methods_of
from experiments.results import ResultStore, cell_folder
from experiments.settings import Settings
from mixrl_env import MixRLEnv


def run_study(store: ResultStore, settings: Settings, splits: Sequence[int], console: Console) -> None:
    """Compute every method on every split that is not stored yet.

    Args:
        store: where results go.
        settings: the preset.
        splits: split seeds.
        console: where progress is shown.
    """
    for split_seed in splits:
        pending = {
            name: augment
            for name, augment in methods_of(settings).items()
            if not store.is_done(settings.dataset, name, split_seed)
        }
        if not pending:
            console.print(f"split {split_seed}: all methods are stored in {store.path}, nothing to compute")
            continue
        env = gym.make(settings.env_id, split_seed=split_seed, **settings.env_settings()).unwrapped
        assert isinstance(env, MixRLEnv)
        folder = cell_folder(store.folder, settings.dataset, split_seed)
        folder.mkdir(parents=True, exist_ok=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=console) as progress:
            for name, augment in pending.items():
                task = progress.add_task(f"split {split_seed}: {name}", total=None, words="")

                def report(done: int, total: int, words: str, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total, words=words)

                cell = Cell(env.problem, settings, split_seed, folder, report)
                rows = _run_cell(name, augment, cell)
                store.add(rows)
                progress.update(task, completed=1, total=1, words=f"validation RMSE {_mean(rows, 'val_rmse'):.4f}")


def _run_cell(name: str, augment: Callable[[Cell], Augmented], cell: Cell) -> list[dict[str, Any]]:
    """One method on one split: find the training set, train the final regressors, and score them."""
    start = time.monotonic()
    augmented = augment(cell)
    repeats = cell.settings.final_trainings
    cell.report(0, repeats, "final trainings")
    scores = final_scores(cell.problem, augmented, cell.split_seed, repeats)
    shared = {
        "dataset": cell.settings.dataset,
        "method": name,
        "split_seed": cell.split_seed,
        "num_rows": len(augmented.x),
        "trainings": augmented.trainings,
        "seconds": round(time.monotonic() - start, 1),
        "choice": augmented.choice,
    }
    return [{**shared, **dataclasses.asdict(score)} for score in scores]


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(sum(row[column] for row in rows) / len(rows))


def default_folder(preset: str, settings: Settings) -> Path:
    """Where a study goes unless told otherwise."""
    return Path("runs") / f"{settings.dataset}-{preset}"

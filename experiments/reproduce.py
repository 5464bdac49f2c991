"""Run the methods of a study on random splits, and store every finished one."""

from __future__ import annotations

import dataclasses
import time
from itertools import product
from typing import Any

import gymnasium as gym
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from experiments.evaluation import final_scores
from experiments.methods import REFERENCES, Cell, method_of
from experiments.results import ResultStore, cell_folder, slug
from experiments.study import Study
from mixrl_env import MixRLEnv


def run_study(store: ResultStore, study: Study, console: Console) -> None:
    """Compute every method on every dataset and split that is not stored yet.

    Args:
        store: where results go.
        study: what to compute.
        console: where progress is shown.
    """
    for dataset, split_seed in product(study.datasets, study.splits):
        pending = [name for name in study.methods if not store.is_done(dataset, name, split_seed)]
        if not pending:
            console.print(f"{dataset}, split {split_seed}: all methods are stored in {store.path}, nothing to compute")
            continue
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=console) as progress:
            for name in pending:
                task = progress.add_task(f"{dataset}, split {split_seed}: {name}", total=None, words="")

                def report(done: int, total: int, words: str, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total, words=words)

                settings = study.settings_on(dataset, name)
                # Rewards start anew in the environments; the problem that plans are judged on needs no pre-trained state.
                own = settings.env_settings() | {"data": settings.load(split_seed), "pretrained": False}
                env = gym.make(settings.env_id, **own)
                assert isinstance(env.unwrapped, MixRLEnv)
                folder = cell_folder(store.folder, dataset, split_seed)
                if len([other for other in study.methods if other not in REFERENCES]) > 1 and name not in REFERENCES:
                    folder = folder / slug(name)
                folder.mkdir(parents=True, exist_ok=True)
                rows = _run_cell(name, Cell(env.unwrapped.problem, settings, split_seed, folder, report))
                store.add(rows)
                progress.update(task, completed=1, total=1, words=f"validation RMSE {_mean(rows, 'val_rmse'):.4f}")


def _run_cell(name: str, cell: Cell) -> list[dict[str, Any]]:
    """One method on one split: find the training set, train the final regressors, and score them."""
    start = time.monotonic()
    augmented = method_of(name)(cell)
    repeats = cell.settings.final_trainings
    cell.report(0, repeats, "final trainings")
    scores = final_scores(cell.problem, augmented, cell.split_seed, repeats)
    shared = {
        "dataset": cell.settings.dataset,
        "method": name,
        "split_seed": cell.split_seed,
        "num_rows": augmented.num_rows,
        "trainings": augmented.trainings,
        "seconds": round(time.monotonic() - start, 1),
        "choice": augmented.choice,
    }
    return [{**shared, **dataclasses.asdict(score)} for score in scores]


def _mean(rows: list[dict[str, Any]], column: str) -> float:
    return float(sum(row[column] for row in rows) / len(rows))

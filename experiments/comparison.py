"""The cells of a study that compares methods: one method on one dataset and split."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from pathlib import Path

import gymnasium as gym

from experiments.engines.base import Outcome, Report, Row, Task
from experiments.evaluation import final_scores
from experiments.methods import REFERENCES, Cell, method_of
from experiments.results import ResultStore, cell_folder, slug
from experiments.settings import Settings
from experiments.study import Study
from mixrl.files import write_bytes
from mixrl_env import MixRLEnv


class Comparison:
    """A study whose rows go into one table, and whose files into one folder a split.

    Args:
        study: what to compare.
        folder: of the results.
        command: how the study was started.

    Raises:
        ValueError: if the folder holds results of other settings or of another version.
    """

    def __init__(self, study: Study, folder: Path, command: str) -> None:
        self.folder, self.study = folder, study
        self.store = ResultStore(folder, study, command)
        self._cells: dict[Task, tuple[str, str, int]] = {}
        for dataset, method, split in study.cells():
            settings = study.settings_on(dataset, method)
            task = Task(
                f"{dataset}, split {split}: {method}",
                partial(compute_method, method, settings, split),
                dataset,
                method,
                str(split),
                self.store.settings(dataset, method),
            )
            self._cells[task] = dataset, method, split
        self.tasks = tuple(self._cells)

    def missing(self) -> list[Task]:
        """Tasks whose rows are not stored."""
        done = self.store.done()
        return [task for task, cell in self._cells.items() if cell not in done]

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Store files and rows, the rows last: they are what says that a cell is done."""
        dataset, method, split = self._cells[task]
        folder = cell_folder(self.folder, dataset, split)
        if len([other for other in self.study.methods if other not in REFERENCES]) > 1 and method not in REFERENCES:
            folder = folder / slug(method)
        for name, content in outcome.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(content, path)
        self.store.add(outcome.rows)


def compute_method(name: str, settings: Settings, split_seed: int, folder: Path, report: Report) -> list[Row]:
    """One method on one split: find the training set, train the final regressors, and score them.

    Args:
        name: of the method, as the tables print it.
        settings: of the method.
        split_seed: which split.
        folder: where the method leaves its files.
        report: told how far it is.
    """
    start = time.monotonic()
    env = gym.make(settings.env_id, **settings.env_settings() | {"data": settings.load(split_seed)})
    assert isinstance(env.unwrapped, MixRLEnv)
    problem, repeats = env.unwrapped.problem, settings.final_trainings
    augmented = method_of(name)(Cell(problem, settings, split_seed, folder, report))
    report(0, repeats, "final trainings")
    scores = final_scores(problem, augmented, split_seed, repeats)
    report(repeats, repeats, f"validation RMSE {sum(score.val_rmse for score in scores) / repeats:.4f}")
    shared = {
        "dataset": settings.dataset,
        "method": name,
        "split_seed": split_seed,
        "num_rows": augmented.num_rows,
        "trainings": augmented.trainings,
        "seconds": round(time.monotonic() - start, 1),
        "choice": augmented.choice,
    }
    return [{**shared, **dataclasses.asdict(score)} for score in scores]

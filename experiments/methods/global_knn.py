"""Global kNN: every row is mixed with its k nearest data and its k nearest label neighbours, one k for all (Sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Cell
from mixrl_env import MixingProblem
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import PlanChoice, choose_plan
from mixrl_env.regressor import TrainingSet

_RANGE = 2  # Bayesian optimisation looks up to this multiple of the largest k of N; the paper found k = 36 where N ends at 32
_FIRST = 4  # random k that Bayesian optimisation starts with


@dataclass(frozen=True, eq=False)
class Search:
    """What a search for k has found.

    Attributes:
        trials: what was tried, in order: columns k, num_rows (of the augmented set), val_rmse (mean over repeats).
        sets: the augmented set of the k with the lowest validation loss.
        trainings: regressors trained.
    """

    trials: pd.DataFrame
    sets: list[TrainingSet]
    trainings: int

    @property
    def k(self) -> int:
        """The k with the lowest validation loss."""
        return int(self.trials["k"].iloc[self.trials["val_rmse"].argmin()])


def augment(cell: Cell) -> Augmented:
    """Search k with `Settings.knn_repeats` trainings of each k that is tried; keep the one with the lowest validation loss.

    `Settings.knn_trials` is how many k Bayesian optimisation may try, as in the paper. None tries every k that N holds for both
    distances: with all of them trained at once, that is cheap and misses none. Leaves global_knn.csv: what was tried.
    """
    trials = cell.settings.knn_trials
    found = try_every_k(cell) if trials is None else optimise_k(cell, trials)
    found.trials.to_csv(cell.folder / "global_knn.csv", index=False)
    cell.report(found.trainings, found.trainings, f"k = {found.k}")
    return Augmented(found.sets, found.trainings, f"k={found.k}")


def try_every_k(cell: Cell) -> Search:
    """Train on every k that N holds for both distances, all at once."""
    options = cell.problem.options
    every_k = [k for space, k in options if space == "data" and NeighborOption("label", k) in options]
    cell.report(0, len(every_k) * cell.settings.knn_repeats, f"trying k = {every_k[0]}..{every_k[-1]}")
    choice = choose_k(cell, every_k)
    return Search(_table(every_k, choice), list(choice.sets), choice.trainings)


def optimise_k(cell: Cell, trials: int) -> Search:
    """Search k with a Gaussian process from 1 to twice the largest k of N (Sec. 4, Baselines).

    Args:
        cell: the split.
        trials: how many different k are tried; fewer where half of the proposals are known already.
    """
    import optuna  # heavy, and only this search needs it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    most = min(_RANGE * max(k for _, k in cell.problem.options), len(cell.problem.x_train) - 1)
    options = tuple(NeighborOption(space, k) for k in range(1, most + 1) for space in ("data", "label"))
    wide = replace(cell, problem=MixingProblem(cell.problem.data, replace(cell.problem.config, options=options)))
    sampler = optuna.samplers.GPSampler(seed=cell.split_seed, n_startup_trials=_FIRST)
    study = optuna.create_study(sampler=sampler)
    tried: dict[int, pd.DataFrame] = {}
    best: PlanChoice | None = None
    total = min(trials, most)
    for _ in range(2 * total):  # a k may be proposed again; its loss is known then
        trial = study.ask()
        k = trial.suggest_int("k", 1, most)
        if k not in tried:
            cell.report(len(tried) * cell.settings.knn_repeats, total * cell.settings.knn_repeats, f"trying k = {k}")
            choice = choose_k(wide, [k])
            tried[k] = _table([k], choice)
            if best is None or choice.val_rmse.mean() < best.val_rmse.mean():
                best = choice
        study.tell(trial, float(tried[k]["val_rmse"].iloc[0]))
        if len(tried) == total:
            break
    assert best is not None  # the first k was tried
    return Search(pd.concat(tried.values(), ignore_index=True), list(best.sets), len(tried) * cell.settings.knn_repeats)


def choose_k(cell: Cell, ks: list[int]) -> PlanChoice:
    """Train on the rows mixed with their k nearest neighbours in both distances, for each of these k of N."""
    problem = cell.problem
    n = len(problem.x_train)
    every_row = pd.DataFrame({"row": np.repeat(range(n), 2), "space": ["data", "label"] * n})
    plans = [[every_row.assign(k=k)] for k in ks]
    return choose_plan(problem, plans, cell.settings.knn_repeats, cell.split_seed)


def _table(ks: list[int], choice: PlanChoice) -> pd.DataFrame:
    return pd.DataFrame({"k": ks, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)})

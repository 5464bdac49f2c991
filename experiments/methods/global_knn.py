"""Global kNN: every row is mixed with its k nearest data and its k nearest label neighbours, one k for all (Sec. 4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from mixrl_env import MixingProblem
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import PlanChoice, choose_plan

_RANGE = 2  # Bayesian optimisation looks up to this multiple of the largest k of N; the paper found k = 36 where N ends at 32
_FIRST = 4  # random k that Bayesian optimisation starts with


def augment(trial: Trial) -> Augmented:
    """Search k with `Settings.knn_repeats` trainings of each k that is tried; keep the one with the lowest validation loss.

    `Settings.knn_trials` is how many k Bayesian optimisation may try, as in the paper. None tries every k that N holds for both
    distances: with all of them trained at once, that is cheap and misses none. Its table "candidates" shows what was tried.
    """
    trials = trial.settings.knn_trials
    return try_every_k(trial) if trials is None else optimise_k(trial, trials)


def try_every_k(trial: Trial) -> Augmented:
    """Train on every k that N holds for both distances, all at once."""
    options = trial.problem.options
    every_k = [k for space, k in options if space == "data" and NeighborOption("label", k) in options]
    trial.report(0, len(every_k) * trial.settings.knn_repeats, f"trying k = {every_k[0]}..{every_k[-1]}")
    choice = _choose_k(trial, every_k)
    kept = Choice(parameters={"k": every_k[choice.kept[0]]})
    return Augmented(choice.sets, choice.trainings, kept, {"candidates": _table(every_k, choice)})


def optimise_k(trial: Trial, trials: int) -> Augmented:
    """Search k with a Gaussian process from 1 to twice the largest k of N (Sec. 4, Baselines).

    Args:
        trial: the split.
        trials: how many different k are tried; fewer where half of the proposals are known already.
    """
    import optuna  # heavy, and only this search needs it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    most = min(_RANGE * max(k for _, k in trial.problem.options), len(trial.problem.x_train) - 1)
    options = tuple(NeighborOption(space, k) for k in range(1, most + 1) for space in ("data", "label"))
    wide = replace(trial, problem=MixingProblem(trial.problem.data, replace(trial.problem.config, options=options)))
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=trial.split_seed, n_startup_trials=_FIRST))
    tried: dict[int, PlanChoice] = {}
    repeats, total = trial.settings.knn_repeats, min(trials, most)
    for _ in range(2 * total):  # a k may be proposed again; its loss is known then
        asked = study.ask()
        k = asked.suggest_int("k", 1, most)
        if k not in tried:
            trial.report(len(tried) * repeats, total * repeats, f"trying k = {k}")
            tried[k] = _choose_k(wide, [k])
        study.tell(asked, float(tried[k].val_rmse.mean()))
        if len(tried) == total:
            break
    best = min(tried, key=lambda k: float(tried[k].val_rmse.mean()))
    table = pd.concat([_table([k], choice) for k, choice in tried.items()], ignore_index=True)
    return Augmented(tried[best].sets, len(tried) * repeats, Choice(parameters={"k": best}), {"candidates": table})


def _choose_k(trial: Trial, ks: list[int]) -> PlanChoice:
    """Train on the rows mixed with their k nearest neighbours in both distances, for each of these k of N."""
    n = len(trial.problem.x_train)
    every_row = pd.DataFrame({"row": np.repeat(range(n), 2), "space": ["data", "label"] * n})
    plans = [[every_row.assign(k=k)] for k in ks]
    return choose_plan(trial.problem, plans, trial.settings.knn_repeats, trial.split_seed)


def _table(ks: list[int], choice: PlanChoice) -> pd.DataFrame:
    return pd.DataFrame({"k": ks, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)})

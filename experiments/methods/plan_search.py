"""MixRL (plan search): whole plans by evolution of a small policy; with it the best single option and a rule (all ours)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from mixrl import PlanSearch
from mixrl.plan_search import plan_of, single_options
from mixrl_env import MixingProblem, MixRLVectorEnv, ProblemConfig
from mixrl_env.data import FloatArray
from mixrl_env.features import FEATURES
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import KS, plan_table
from mixrl_env.problem import Batch
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

LEARNED = "plan search"
_FIRST, _SECOND, _FINALISTS = 2, 8, 4
"""Full trainings of every candidate, further ones of the finalists, and how many of these have the lowest losses."""
_BOOTSTRAP = 500
_LARGEST_ERRORS = (0.5, 1.0, 2.0)
"""Limits of the feature label_error that the rule tries, before it is squashed."""
Plan = npt.NDArray[np.int64]


def augment(trial: Trial) -> Augmented:
    """Search with `Settings.trainings` rewards, then choose among what was found, every single option and no mixing.

    Validation rows count by `MixingProblem.val_weights`. Tables: progress (the search), candidates (on the validation rows),
    plan (row, space and k of the chosen plan).
    """
    settings, start = trial.settings, time.monotonic()
    curve: list[dict[str, float]] = []

    def watch(done: int, metrics: dict[str, float]) -> None:
        curve.append({"trainings": done, "seconds": time.monotonic() - start, **metrics})
        trial.report(done, settings.trainings, "searching plans")

    envs = MixRLVectorEnv(settings.num_envs, data=trial.problem.data, **vars(plan_config(trial)))
    agent = PlanSearch(settings.plan_search, trial.split_seed).learn(envs, settings.trainings, watch)
    assert agent.theta is not None
    plans = _plans(envs.problem, {**single_options(envs.problem), LEARNED: agent.theta})
    found = _chosen(trial, envs.problem, plans, envs.problem.val_weights)
    return replace(
        found,
        trainings=found.trainings + agent.trainings,
        choice=replace(found.choice, agent="plan_search"),
        tables={"progress": pd.DataFrame(curve), **found.tables},
    )


def augment_single(trial: Trial) -> Augmented:
    """The best single option for all rows, one k in both distances, or no mixing, with as many full trainings of each."""
    problem = MixingProblem(trial.problem.data, plan_config(trial))
    return _chosen(trial, problem, _plans(problem, single_options(problem)), np.ones(len(problem.x_val)))


def augment_single_weighted(trial: Trial) -> Augmented:
    """The best single option where validation rows count by `MixingProblem.val_weights`: the plan search without the search."""
    problem = MixingProblem(trial.problem.data, plan_config(trial))
    return _chosen(trial, problem, _plans(problem, single_options(problem)), problem.val_weights)


def augment_by_rule(trial: Trial) -> Augmented:
    """A rule without learning: a single option, but for the rows whose mixed labels disagree with cross-fitted regressors.

    Option and largest disagreement are chosen like the best single option.
    """
    problem = MixingProblem(trial.problem.data, plan_config(trial))
    plans = _plans(problem, single_options(problem))
    error = problem.features[..., FEATURES.index("label_error")]
    every, spaces = np.arange(len(error)), problem.neighbors.by_space.values()
    for name, plan in list(plans.items()):
        chosen = plan.reshape(problem.num_rows, -1)
        own = np.stack([error[every, members[chosen[:, s] - 1]] for s, members in enumerate(spaces)], axis=1)
        for limit in _LARGEST_ERRORS:
            plans[f"{name}, label_error below {limit:g}"] = np.where(own < limit / (1 + limit), chosen, 0).ravel()
    return _chosen(trial, problem, plans, np.ones(len(problem.x_val)))


def plan_config(trial: Trial) -> ProblemConfig:
    """The problem's settings, with plans as actions and the options of `KS` in both distances."""
    options = tuple(NeighborOption(space, k) for space in ("data", "label") for k in KS if k < len(trial.problem.x_train))
    return replace(trial.problem.config, options=options, observe=("features",), action="plan", detailed_info=True)


def _every_row(problem: MixingProblem) -> Batch:
    """All training rows, for plans of all of them."""
    return Batch(np.arange(len(problem.x_train)), np.zeros(len(problem.x_train), dtype=np.int64))


def _plans(problem: MixingProblem, policies: Mapping[str, FloatArray]) -> dict[str, Plan]:
    """What each policy does with all training rows."""
    rows = problem.offer(_every_row(problem))
    return {name: plan_of(problem, theta, rows) for name, theta in policies.items()}


def _chosen(trial: Trial, problem: MixingProblem, plans: Mapping[str, Plan], weights: FloatArray) -> Augmented:
    """Full trainings of every candidate; the finalists, no mixing and the plan search among them, get more.

    The choice holds the gain over no mixing that is to be expected, in mean squared error, with a 95% interval; see `_gain`.
    """
    batches = {name: problem.select(_every_row(problem), plan) for name, plan in plans.items()}
    sets = {name: problem.augmented(batch, stream(trial.split_seed, "searched plan")) for name, batch in batches.items()}
    losses = _losses(trial, problem, sets, 0, _FIRST)
    ranked = sorted(losses, key=lambda name: float(losses[name].mean(axis=0) @ weights))
    finalists = dict.fromkeys([*ranked[:_FINALISTS], *(name for name in ("no mixing", LEARNED) if name in losses)])
    for name, own in _losses(trial, problem, {name: sets[name] for name in finalists}, _FIRST, _SECOND).items():
        losses[name] = np.concatenate([losses[name], own])
    of_rows = {name: own.mean(axis=0) for name, own in losses.items()}
    best = min(finalists, key=lambda name: float(of_rows[name] @ weights))
    table = pd.DataFrame(
        {
            "plan": list(losses),
            "num_rows": [len(sets[name][0]) for name in losses],
            "trainings": [len(own) for own in losses.values()],
            "val_rmse": [float(np.sqrt(own.mean())) for own in of_rows.values()],
            "weighted_val_rmse": [float(np.sqrt(own @ weights / weights.sum())) for own in of_rows.values()],
        }
    )
    gain = _gain(np.stack([of_rows[name] for name in finalists]), weights, [*finalists].index("no mixing"), trial.split_seed)
    plan = plan_table(problem, batches[best]).assign(probability=1.0, plan=best)
    trainings = sum(map(len, losses.values()))
    return Augmented([sets[best]], trainings, Choice((best,), gain), {"candidates": table, "plan": plan})


def _gain(losses: FloatArray, weights: FloatArray, no_mixing: int, seed: int) -> dict[str, float]:
    """The gain over no mixing corrected for the choice among finalists, with a 95% interval, in mean squared error.

    Bootstrap samples of the validation rows choose; the gain of what they choose is measured on the rows left out.

    Args:
        losses: of each finalist on each validation row, shape (finalists, n_val).
        weights: of the rows in the choice, shape (n_val,).
        no_mixing: which finalist it is.
        seed: of the samples.
    """
    rng, gains = stream(seed, "bootstrap of the choice"), []
    for _ in range(_BOOTSTRAP):
        counts = np.bincount(rng.integers(len(weights), size=len(weights)), minlength=len(weights))
        best = int(np.argmin(losses @ (weights * counts)))
        gains.append(float((losses[no_mixing] - losses[best])[counts == 0].mean()))
    low, high = np.quantile(gains, [0.025, 0.975])
    return {"gain": float(np.mean(gains)), "gain_low": float(low), "gain_high": float(high)}


def _losses(
    trial: Trial, problem: MixingProblem, sets: Mapping[str, TrainingSet], first: int, count: int
) -> dict[str, FloatArray]:
    """Losses of `count` full trainings of each set on each validation row, (count, n_val); all with the same random numbers."""
    rngs = [stream(trial.split_seed, "full trainings", first + repeat) for _ in sets for repeat in range(count)]
    trial.report(0, len(rngs), f"trying {len(sets)} plans")
    fitted = problem.fit([own for own in sets.values() for _ in range(count)], rngs)
    losses = problem.val_losses(fitted).reshape(len(sets), count, -1)
    return dict(zip(sets, losses, strict=True))

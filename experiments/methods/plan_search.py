"""MixRL (plan search): whole plans by evolution of a small policy; and its baseline, the best single option (both ours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from mixrl import PlanSearch
from mixrl.plan_search import plan_of, single_options
from mixrl_env import MixingProblem, MixRLVectorEnv, ProblemConfig
from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import KS
from mixrl_env.problem import Batch
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

LEARNED = "plan search"
_FIRST, _SECOND, _FINALISTS = 2, 8, 4
"""Full trainings of every candidate, further ones of the finalists, and how many of these have the lowest losses."""


def augment(trial: Trial) -> Augmented:
    """Search with `Settings.trainings` rewards, then choose among what was found, every single option and no mixing.

    Tables: progress (the search), candidates (on the validation rows), plan (row, space and k of the chosen plan).
    """
    settings = trial.settings
    curve: list[dict[str, float]] = []

    def watch(done: int, metrics: dict[str, float]) -> None:
        curve.append({"trainings": done, **metrics})
        trial.report(done, settings.trainings, "searching plans")

    envs = MixRLVectorEnv(settings.num_envs, data=trial.problem.data, **vars(_config(trial)))
    agent = PlanSearch(settings.plan_search, trial.split_seed).learn(envs, settings.trainings, watch)
    assert agent.theta is not None
    found = _chosen(trial, envs.problem, {**single_options(envs.problem), LEARNED: agent.theta})
    return replace(
        found,
        trainings=found.trainings + agent.trainings,
        choice=replace(found.choice, agent="plan_search"),
        tables={"progress": pd.DataFrame(curve), **found.tables},
    )


def augment_single(trial: Trial) -> Augmented:
    """The best single option for all rows, one k in both distances, or no mixing, with as many full trainings of each."""
    problem = MixingProblem(trial.problem.data, _config(trial))
    return _chosen(trial, problem, single_options(problem))


def _config(trial: Trial) -> ProblemConfig:
    """The problem's settings, with plans as actions and the options of `KS` in both distances."""
    options = tuple(NeighborOption(space, k) for space in ("data", "label") for k in KS if k < len(trial.problem.x_train))
    return replace(trial.problem.config, options=options, observe=("features",), action="plan")


def _chosen(trial: Trial, problem: MixingProblem, policies: Mapping[str, FloatArray]) -> Augmented:
    """Full trainings of every candidate's plan; the finalists, no mixing and the plan search among them, get more."""
    every = Batch(np.arange(len(problem.x_train)), np.zeros(len(problem.x_train), dtype=np.int64))
    features = problem.offer(every)
    plans = {name: problem.select(every, plan_of(problem, theta, features)) for name, theta in policies.items()}
    sets = {name: problem.augmented(plan, stream(trial.split_seed, "searched plan")) for name, plan in plans.items()}
    losses = {name: [*own] for name, own in _losses(trial, problem, sets, 0, _FIRST).items()}
    ranked = sorted(losses, key=lambda name: float(np.mean(losses[name])))
    finalists = dict.fromkeys([*ranked[:_FINALISTS], *(name for name in ("no mixing", LEARNED) if name in losses)])
    for name, own in _losses(trial, problem, {name: sets[name] for name in finalists}, _FIRST, _SECOND).items():
        losses[name] += own
    best = min(finalists, key=lambda name: float(np.mean(losses[name])))
    trainings = sum(map(len, losses.values()))
    table = pd.DataFrame(
        {
            "plan": list(losses),
            "num_rows": [len(sets[name][0]) for name in losses],
            "trainings": [len(own) for own in losses.values()],
            "val_rmse": [float(np.sqrt(np.mean(own))) for own in losses.values()],
        }
    )
    options = [problem.options[option] for option in plans[best].options]
    plan = pd.DataFrame({"row": plans[best].rows, "space": [one.space for one in options], "k": [one.k for one in options]})
    plan = plan.assign(probability=1.0, plan=best)
    return Augmented([sets[best]], trainings, Choice((best,)), {"candidates": table, "plan": plan})


def _losses(
    trial: Trial, problem: MixingProblem, sets: Mapping[str, TrainingSet], first: int, count: int
) -> dict[str, list[float]]:
    """Validation losses of `count` full trainings of each set, with the same random numbers for all."""
    rngs = [stream(trial.split_seed, "full trainings", first + repeat) for _ in sets for repeat in range(count)]
    trial.report(0, len(rngs), f"trying {len(sets)} plans")
    fitted = problem.fit([own for own in sets.values() for _ in range(count)], rngs)
    loss = np.where(fitted.diverged, np.inf, fitted.val_loss).reshape(len(sets), count)
    return dict(zip(sets, loss.tolist(), strict=True))

"""MixRL (pretrained): one policy for all tables, learned on generated ones; here it sees no reward (ours)."""

from __future__ import annotations

from dataclasses import replace

from experiments.methods.base import Augmented, Choice, Trial
from experiments.methods.plan_search import plan_config, plan_table
from mixrl import CreditRegression
from mixrl_env import MixingProblem
from mixrl_env.plans import NO_MIXING
from mixrl_env.streams import stream


def augment(trial: Trial) -> Augmented:
    """What the policy that ships with the package mixes; validation rows only stop the regressors behind its features.

    The choice holds the gain over no mixing that it expects, in log RMSE. Table: plan (row, space and k).
    """
    problem = MixingProblem(trial.problem.data, replace(plan_config(trial), observe=("features", "context")))
    plan, gain = CreditRegression.load().plan(problem)
    sets = [problem.augmented(plan, stream(trial.split_seed, "pretrained plan"))]
    choice = Choice(("pretrained" if len(plan.rows) else NO_MIXING,), {"expected": gain})
    return Augmented(sets, 0, choice, {"plan": plan_table(problem, plan)})

"""MixRL (pretrained): one policy for all tables, learned on generated ones; here it sees no reward (ours)."""

from __future__ import annotations

from experiments.methods.base import Augmented, Choice, Trial
from mixrl import CreditRegression
from mixrl_env.many_tables import policy_problem
from mixrl_env.plans import NO_MIXING, plan_table
from mixrl_env.streams import stream


def augment(trial: Trial) -> Augmented:
    """What the policy that ships with the package mixes; it sees training rows alone.

    The choice holds the gain over no mixing that it expects, in log RMSE. Table: plan (row, space and k).
    """
    problem = policy_problem(trial.problem.data)
    plan, gain = CreditRegression.load().plan(problem)
    sets = [problem.augmented(plan, stream(trial.split_seed, "pretrained plan"))]
    choice = Choice(("pretrained" if len(plan.rows) else NO_MIXING,), {"expected": gain})
    return Augmented(sets, 0, choice, {"plan": plan_table(problem, plan).assign(probability=1.0, plan="pretrained")})

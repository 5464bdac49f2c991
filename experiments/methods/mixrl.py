"""MixRL: learn which rows to mix with how many neighbours, then mix them by the policy above a threshold (Sec. 3)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial

import gymnasium as gym
import numpy as np
import pandas as pd

from experiments.methods import plan_search, pretrained
from experiments.methods.base import Augmented, Choice, Trial
from experiments.presets import Settings
from mixrl import (
    Agent,
    DataValuation,
    DataValuationConfig,
    LocalReinforce,
    MaskRegression,
    RandomSearch,
    Reinforce,
    ReinforceVariant,
)
from mixrl.value_network import network_bytes
from mixrl_env import MixingProblem
from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import (
    EVERY_PAIR,
    NO_MIXING,
    best_options,
    candidate_plans,
    choose_plan,
    sample_options,
    threshold_candidates,
)
from mixrl_env.streams import stream

_MOST_PAIRS = 200_000


def augment(trial: Trial) -> Augmented:
    """Learn the policy, choose the threshold T on the validation rows, and apply the plan.

    Tables: progress (the learning curve), policy (h of every row, space and k), candidates (the candidate plans on the
    validation rows), and plan (row, space, k and probability of every plan that was kept; where plans are sampled, that of the
    first final regressor). REINFORCE also leaves its network.
    """
    if trial.settings.agent == "plan_search":
        return plan_search.augment(trial)
    if trial.settings.agent == "pretrained":
        return pretrained.augment(trial)
    problem, settings = trial.problem, trial.settings
    learned = learn(trial)
    candidates = candidates_of(trial, learned.probabilities)
    trial.report(learned.trainings, learned.trainings, f"trying {len(candidates)} plans")
    plans = list(candidates.values())
    if EVERY_PAIR in candidates:  # no option of the agent's, but one that plans may name
        options = tuple(dict.fromkeys((*problem.options, NeighborOption("all"))))
        problem = MixingProblem(problem.data, replace(problem.config, options=options))
    choice = choose_plan(problem, plans, settings.tuning_repeats, trial.split_seed, settings.rule)
    kept = [list(candidates)[index] for index in choice.kept]
    trials = {"plan": list(candidates), "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    kept_plans = [plans[index][0].assign(plan=name) for index, name in zip(choice.kept, kept, strict=True)]
    tables = learned.tables | {"candidates": pd.DataFrame(trials), "plan": pd.concat(kept_plans)}
    made = Choice(tuple(kept), agent=settings.agent, converged=learned.converged)
    return Augmented(choice.sets, learned.trainings + choice.trainings, made, tables, learned.files)


def candidates_of(trial: Trial, probabilities: FloatArray) -> dict[str, list[pd.DataFrame]]:
    """The plans that the validation rows choose from, by name: under the rule "lowest" what was learned and no mixing."""
    problem, settings, n_train = trial.problem, trial.settings, len(probabilities)
    *some, _ = threshold_candidates(best_options(problem, probabilities)["probability"], settings.thresholds)
    thresholds = {} if settings.agent == "none" and settings.rule != "lowest" else {f"T = {each:.3f}": each for each in some}
    draw = partial(sampled_plans, trial) if settings.plan == "sampled" else None
    plans = candidate_plans(problem, probabilities, thresholds, draw, every_pair=n_train * (n_train - 1) // 2 <= _MOST_PAIRS)
    return {name: plans[name] for name in (*thresholds, NO_MIXING)} if settings.rule == "lowest" else plans


def sampled_plans(trial: Trial, probabilities: FloatArray) -> list[pd.DataFrame]:
    """One plan drawn from the policy for each final regressor."""
    rngs = [stream(trial.split_seed, "drawn plans", sample) for sample in range(trial.settings.final_trainings)]
    return [sample_options(trial.problem, probabilities, rng) for rng in rngs]


@dataclass(frozen=True, eq=False)
class Learned:
    """A learned policy.

    Attributes:
        probabilities: h(x, y, k) of every row and option, shape (n_train, |N|).
        trainings: inner trainings spent.
        converged: whether the agent stopped before its budget was spent.
        tables: learning curve and policy.
        files: the network of REINFORCE.
    """

    probabilities: FloatArray
    trainings: int = 0
    converged: bool = False
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def learn(trial: Trial) -> Learned:
    """Train the agent of the settings; without one, every row and option has probability 1/2."""
    problem, settings = trial.problem, trial.settings
    shape = (len(problem.x_train), len(problem.options))
    if settings.agent == "none":
        return Learned(np.full(shape, 0.5))
    curve: list[dict[str, float]] = []
    start = time.monotonic()

    def watch(done: int, metrics: dict[str, float]) -> None:
        curve.append({"trainings": done, "seconds": time.monotonic() - start, **metrics})
        words = f"val RMSE {metrics['env/val_rmse']:.4f}, mean p {metrics['policy/p_mean']:.2f}"
        trial.report(done, settings.trainings, words)

    agent = make_agent(settings, trial.split_seed)
    own = settings.env_settings() | {"data": problem.data, "detailed_info": settings.agent == "local_reinforce"}
    agent.learn(gym.make_vec(settings.env_id, settings.num_envs, "vector_entry_point", **own), settings.trainings, watch)
    every = problem.every_row_and_option()
    probabilities = agent.probabilities(problem.observe(every)).reshape(shape)
    options = [problem.options[option] for option in every.options]
    policy = {"row": every.rows, "space": [o.space for o in options], "k": [o.k for o in options]}
    tables = {"progress": pd.DataFrame(curve), "policy": pd.DataFrame({**policy, "probability": probabilities.ravel()})}
    trainings = agent.trainings + int(problem.config.starts_at > 0)  # and the pre-training
    if not isinstance(agent, Reinforce):
        return Learned(probabilities, trainings, False, tables)
    assert agent.network is not None  # learn() has made it
    return Learned(
        probabilities, trainings, agent.converged, tables, {"value_network.safetensors": network_bytes(agent.network)}
    )


def make_agent(settings: Settings, seed: int) -> Agent:
    """The agent that the settings name."""
    match settings.agent:
        case "reinforce":
            return ReinforceVariant(settings.reinforce, seed)
        case "local_reinforce":
            return LocalReinforce(settings.reinforce, seed)
        case "mask_regression":
            return MaskRegression(settings.mask_regression, seed)
        case "random_search":
            return RandomSearch(seed=seed)
        case "banzhaf" | "ame" as estimator:
            return DataValuation(DataValuationConfig(estimator), seed)
        case "ppo":
            from mixrl import SB3Agent, SB3Config  # stable-baselines3 takes seconds to import

            return SB3Agent(SB3Config("ppo"), seed)
    raise ValueError(f"no agent that learns probabilities is called {settings.agent!r}")

"""MixRL: learn which rows to mix with how many neighbours, then mix them by the policy above a threshold (Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import gymnasium as gym
import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from experiments.presets import Settings
from mixrl import MaskRegression, ReinforceVariant
from mixrl.value_network import network_bytes
from mixrl_env import MixingProblem
from mixrl_env.augmentation import best_options, choose_plan, sample_options, threshold_candidates
from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.streams import stream

EVERY_PAIR = NeighborOption("all")
_MOST_PAIRS = 200_000
_EACH_K = (1, 2, 4, 8, 16)


def augment(trial: Trial) -> Augmented:
    """Learn the policy, choose the threshold T on the validation rows, and apply the plan.

    Tables: progress (the learning curve), policy (h of every row, space and k), candidates (the candidate plans on the
    validation rows), and plan (row, space, k and probability of every plan that was kept; where plans are sampled, that of the
    first final regressor). REINFORCE also leaves its network.
    """
    problem, settings = trial.problem, trial.settings
    learned = learn(trial)
    candidates = policies(trial, learned.probabilities)
    trial.report(learned.trainings, learned.trainings, f"trying {len(candidates)} policies")
    plans = list(candidates.values())
    if "every pair" in candidates:  # no option of the agent's, but one that plans may name
        options = tuple(dict.fromkeys((*problem.options, EVERY_PAIR)))
        problem = MixingProblem(problem.data, replace(problem.config, options=options))
    choice = choose_plan(problem, plans, settings.tuning_repeats, trial.split_seed, settings.rule)
    kept = [list(candidates)[index] for index in choice.kept]
    trials = {"plan": list(candidates), "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    kept_plans = [plans[index][0].assign(policy=name) for index, name in zip(choice.kept, kept, strict=True)]
    tables = learned.tables | {"candidates": pd.DataFrame(trials), "plan": pd.concat(kept_plans)}
    made = Choice(tuple(kept), agent=settings.agent, converged=learned.converged)
    return Augmented(choice.sets, learned.trainings + choice.trainings, made, tables, learned.files)


def policies(trial: Trial, probabilities: FloatArray) -> dict[str, list[pd.DataFrame]]:
    """What the validation rows may choose from, in words: the plans of each candidate.

    Under the rules with a standard error the simplest comes first: mix nothing; mix every pair of rows, where they are not too
    many; one k for all rows in both distances, as Global kNN has it; options drawn alike, of one distance or of both; then what
    was learned: options drawn from the policy for every row, and for those above rising thresholds T.
    """
    settings, options = trial.settings, best_options(trial.problem, probabilities)
    *some, nothing = threshold_candidates(options["probability"], settings.thresholds)
    plans = sampled_plans(trial, probabilities) if settings.plan == "sampled" else [options]
    learned = {f"T={threshold:.3f}": [plan[plan["probability"] >= threshold] for plan in plans] for threshold in some}
    none = {"no mixing": [options[options["probability"] >= nothing]]}
    if settings.rule == "lowest":
        return learned | none
    simple = dict(none)
    n_train = len(probabilities)
    if n_train * (n_train - 1) // 2 <= _MOST_PAIRS:
        simple["every pair"] = [pd.DataFrame({"row": range(n_train), "space": "all", "k": 0, "probability": 1.0})]
    for k in _EACH_K:
        if {NeighborOption("data", k), NeighborOption("label", k)} <= set(trial.problem.options):
            simple[f"k={k}"] = [options[options["space"] != "all"].assign(k=k)]
    if settings.plan == "sampled":
        alike = sampled_plans(trial, np.full_like(probabilities, 0.5))
        if {"data", "label"} <= set(alike[0]["space"]):
            simple |= {f"{space} alike": [plan[plan["space"] == space] for plan in alike] for space in ("data", "label")}
        simple["all alike"] = alike
    return simple | (learned if settings.agent != "none" else {})


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

    def watch(done: int, metrics: dict[str, float]) -> None:
        curve.append({"trainings": done, **metrics})
        words = f"val RMSE {metrics['env/val_rmse']:.4f}, mean p {metrics['policy/p_mean']:.2f}"
        trial.report(done, settings.trainings, words)

    agent = make_agent(settings, trial.split_seed)
    own = settings.env_settings() | {"data": problem.data}
    agent.learn(gym.make_vec(settings.env_id, settings.num_envs, "vector_entry_point", **own), settings.trainings, watch)
    every = problem.every_row_and_option()
    probabilities = agent.probabilities(problem.observe(every)).reshape(shape)
    options = [problem.options[option] for option in every.options]
    policy = {"row": every.rows, "space": [o.space for o in options], "k": [o.k for o in options]}
    tables = {"progress": pd.DataFrame(curve), "policy": pd.DataFrame({**policy, "probability": probabilities.ravel()})}
    trainings = agent.trainings + int(problem.config.starts_at > 0)  # and the pre-training
    if isinstance(agent, MaskRegression):
        return Learned(probabilities, trainings, False, tables)
    assert agent.network is not None  # learn() has made it
    return Learned(
        probabilities, trainings, agent.converged, tables, {"value_network.safetensors": network_bytes(agent.network)}
    )


def make_agent(settings: Settings, seed: int) -> ReinforceVariant | MaskRegression:
    """The agent that the settings name."""
    if settings.agent == "mask_regression":
        return MaskRegression(settings.mask_regression, seed)
    return ReinforceVariant(settings.reinforce, seed)

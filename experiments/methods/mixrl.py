"""MixRL: learn which rows to mix with how many neighbours, then mix them by the policy above a threshold (Sec. 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from stable_baselines3.common.logger import Logger, make_output_format

from experiments.methods.base import Augmented, Cell
from experiments.settings import Settings
from mixrl import MaskRegression, ReinforceVariant, save_value_network
from mixrl.base import Envs
from mixrl_env import MixingProblem, RegressionData
from mixrl_env.augmentation import best_options, choose_plan, sample_options, threshold_candidates
from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.streams import stream

EVERY_PAIR = NeighborOption("all")
_MOST_PAIRS = 200_000
_EACH_K = (1, 2, 4, 8, 16)


def augment(cell: Cell) -> Augmented:
    """Learn the policy, choose the threshold T on the validation rows, and apply the plan.

    Leaves in the folder: progress.csv and a TensorBoard file (curves), value_network.safetensors (REINFORCE), policy.csv (h of
    every row, space and k), policies.csv (what was tried on the validation rows), and plan.csv (of every chosen policy the
    row, space, k and probability; where plans are sampled, those of its first final regressor).
    """
    problem, settings = cell.problem, cell.settings
    probabilities, spent, words = learn(cell)
    candidates = policies(cell, probabilities)
    cell.report(spent, spent, f"trying {len(candidates)} policies")
    plans = list(candidates.values())
    if "every pair" in candidates:  # no option of the agent's, but one that plans may name
        options = tuple(dict.fromkeys((*problem.options, EVERY_PAIR)))
        problem = MixingProblem(problem.data, replace(problem.config, options=options))
    choice = choose_plan(problem, plans, settings.tuning_repeats, cell.split_seed, settings.rule)

    trials = {"policy": list(candidates), "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    pd.DataFrame(trials).to_csv(cell.folder / "policies.csv", index=False)
    kept = [list(candidates)[index] for index in choice.kept]
    chosen_plans = [plans[index][0].assign(policy=name) for index, name in zip(choice.kept, kept, strict=True)]
    pd.concat(chosen_plans).to_csv(cell.folder / "plan.csv", index=False)
    return Augmented(choice.sets, spent + choice.trainings, f"{' + '.join(kept)}; {words}")


def policies(cell: Cell, probabilities: FloatArray) -> dict[str, list[pd.DataFrame]]:
    """What the validation rows may choose from, in words: the plans of each candidate.

    Under the rules with a standard error the simplest comes first: mix nothing; mix every pair of rows, where they are not too
    many; one k for all rows in both distances, as Global kNN has it; options drawn alike, of one distance or of both; then what
    was learned: options drawn from the policy for every row, and for those above rising thresholds T.
    """
    settings, options = cell.settings, best_options(cell.problem, probabilities)
    *some, nothing = threshold_candidates(options["probability"], settings.thresholds)
    plans = sampled_plans(cell, probabilities) if settings.plan == "sampled" else [options]
    learned = {f"T={threshold:.3f}": [plan[plan["probability"] >= threshold] for plan in plans] for threshold in some}
    none = {"no mixing": [options[options["probability"] >= nothing]]}
    if settings.rule == "lowest":
        return learned | none
    simple = dict(none)
    n_train = len(probabilities)
    if n_train * (n_train - 1) // 2 <= _MOST_PAIRS:
        simple["every pair"] = [pd.DataFrame({"row": range(n_train), "space": "all", "k": 0, "probability": 1.0})]
    for k in _EACH_K:
        if {NeighborOption("data", k), NeighborOption("label", k)} <= set(cell.problem.options):
            simple[f"k={k}"] = [options[options["space"] != "all"].assign(k=k)]
    if settings.plan == "sampled":
        alike = sampled_plans(cell, np.full_like(probabilities, 0.5))
        if {"data", "label"} <= set(alike[0]["space"]):
            simple |= {f"{space} alike": [plan[plan["space"] == space] for plan in alike] for space in ("data", "label")}
        simple["all alike"] = alike
    return simple | (learned if settings.agent != "none" else {})


def learn(cell: Cell) -> tuple[FloatArray, int, str]:
    """Train the agent of the settings.

    Returns:
        h(x, y, k) of every row and option, shape (n_train, |N|); inner trainings spent; how it ended.
    """
    problem, settings = cell.problem, cell.settings
    everything = problem.every_row_and_option()
    shape = (len(problem.x_train), len(problem.options))
    if settings.agent == "none":
        return np.full(shape, 0.5), 0, "nothing learned"
    folder = str(cell.folder)
    logger = Logger(folder, [make_output_format(kind, folder) for kind in ("csv", "tensorboard")])
    agent = make_agent(settings, cell.split_seed, logger)
    for envs in make_envs(settings, problem.data, cell.split_seed):
        agent.learn(
            envs,
            settings.trainings // settings.folds,
            lambda done, metrics: cell.report(
                done, settings.trainings, f"val RMSE {metrics['env/val_rmse']:.4f}, mean p {metrics['policy/p_mean']:.2f}"
            ),
        )
    logger.close()
    if isinstance(agent, ReinforceVariant):
        assert agent.network is not None  # learn() has made it
        save_value_network(agent.network, cell.folder / "value_network.safetensors")
    stopped = "converged" if isinstance(agent, ReinforceVariant) and agent.converged else "budget spent"
    words = f"{stopped} after {agent.trainings} trainings"
    probabilities = agent.probabilities(problem.observe(everything)).reshape(shape)
    options = [problem.options[option] for option in everything.options]
    table = {"row": everything.rows, "space": [o.space for o in options], "k": [o.k for o in options]}
    pd.DataFrame({**table, "probability": probabilities.ravel()}).to_csv(cell.folder / "policy.csv", index=False)
    return probabilities, agent.trainings + settings.folds * int(problem.config.starts_at > 0), words


def make_agent(settings: Settings, seed: int, logger: Logger | None = None) -> ReinforceVariant | MaskRegression:
    """The agent that the settings name."""
    if settings.agent == "mask_regression":
        return MaskRegression(settings.mask_regression, seed, logger)
    return ReinforceVariant(settings.reinforce, seed, logger)


def make_envs(settings: Settings, data: RegressionData, split_seed: int) -> Iterator[Envs]:
    """The environments that the agent learns on, one after the other: without held-back rows, or with rotating ones."""
    for fold in range(settings.folds):
        own: dict[str, Any] = settings.env_settings() | {"data": rotate(data, split_seed, fold)}
        if settings.held_back:
            own["data"] = hold_back(own["data"], settings.held_back)[0]
        yield gym.make_vec(settings.env_id, settings.num_envs, "vector_entry_point", **own)


def rotate(data: RegressionData, seed: int, fold: int) -> RegressionData:
    """Training and validation rows dealt out anew; fold 0 is the data themselves."""
    if fold == 0:
        return data
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    order = stream(seed, "rotated folds", fold).permutation(len(x))
    train, val = np.split(order, [len(data.x_train)])
    return RegressionData(x[train], y[train], x[val], y[val], name=data.name)


def hold_back(data: RegressionData, share: float) -> tuple[RegressionData, tuple[FloatArray, FloatArray]]:
    """Data with the last validation rows, a share of them, taken out; and those rows. At least one stays on either side."""
    n_val = len(data.x_val)
    kept = min(max(round(n_val * (1 - share)), 1), n_val - 1)
    return data.first_rows(val=kept), (data.x_val[kept:], data.y_val[kept:])


def sampled_plans(cell: Cell, probabilities: FloatArray) -> list[pd.DataFrame]:
    """One plan drawn from the policy for each final regressor."""
    rngs = [stream(cell.split_seed, "drawn plans", sample) for sample in range(cell.settings.final_trainings)]
    return [sample_options(cell.problem, probabilities, rng) for rng in rngs]

"""MixRL: learn which rows to mix with how many neighbours, then mix them by the policy above a threshold (Sec. 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
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


def augment(cell: Cell) -> Augmented:
    """Learn the policy, choose the threshold T on the validation rows, and apply the plan.

    Leaves in the folder: progress.csv and a TensorBoard file (curves), value_network.safetensors (REINFORCE), policy.csv (h of
    every row, space and k), policies.csv (what was tried on the validation rows), and plan.csv (of every chosen policy the
    row, space, k and probability; where plans are sampled, those of its first final regressor).
    """
    problem, settings = cell.problem, cell.settings
    probabilities, spent, words = learn(cell)
    candidates = candidates_of(cell, probabilities)
    cell.report(spent, spent, f"trying {len(candidates)} plans")
    plans = list(candidates.values())
    if EVERY_PAIR in candidates:  # no option of the agent's, but one that plans may name
        options = tuple(dict.fromkeys((*problem.options, NeighborOption("all"))))
        problem = MixingProblem(problem.data, replace(problem.config, options=options))
    choice = choose_plan(problem, plans, settings.tuning_repeats, cell.split_seed, settings.rule)

    trials = {"policy": list(candidates), "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    pd.DataFrame(trials).to_csv(cell.folder / "policies.csv", index=False)
    kept = [list(candidates)[index] for index in choice.kept]
    chosen_plans = [plans[index][0].assign(policy=name) for index, name in zip(choice.kept, kept, strict=True)]
    pd.concat(chosen_plans).to_csv(cell.folder / "plan.csv", index=False)
    return Augmented(choice.sets, spent + choice.trainings, f"{' + '.join(kept)}; {words}")


def candidates_of(cell: Cell, probabilities: FloatArray) -> dict[str, list[pd.DataFrame]]:
    """The plans that the validation rows choose from, by name: under the rule "lowest" what was learned and no mixing."""
    problem, settings, n_train = cell.problem, cell.settings, len(probabilities)
    *some, _ = threshold_candidates(best_options(problem, probabilities)["probability"], settings.thresholds)
    thresholds = {} if settings.agent == "none" and settings.rule != "lowest" else {f"T = {each:.3f}": each for each in some}
    draw = partial(sampled_plans, cell) if settings.plan == "sampled" else None
    plans = candidate_plans(problem, probabilities, thresholds, draw, every_pair=n_train * (n_train - 1) // 2 <= _MOST_PAIRS)
    return {name: plans[name] for name in (*thresholds, NO_MIXING)} if settings.rule == "lowest" else plans


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

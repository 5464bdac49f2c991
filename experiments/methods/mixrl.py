"""MixRL: learn which rows to mix with how many neighbours, then mix them by the policy above a threshold (Sec. 3)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from stable_baselines3.common.logger import Logger, make_output_format

from agents import MaskRegression, Reinforce, save_value_network
from agents.base import Envs
from experiments.methods.base import Augmented, Cell
from experiments.settings import Settings
from mixrl_env import RegressionData, load_dataset
from mixrl_env.augmentation import best_options, choose_plan, sample_options, threshold_candidates
from mixrl_env.data import FloatArray

_STREAM = 2  # apart from the random numbers of learning, of the choice and of the final regressors


def augment(cell: Cell) -> Augmented:
    """Learn the policy, choose the threshold T on the validation rows, and apply the plan.

    Leaves in the folder: progress.csv and a TensorBoard file (curves), value_network.safetensors (REINFORCE), thresholds.csv
    (every T tried), and plan.csv (the chosen row, space, k, probability; k the most probable one).
    """
    problem, settings = cell.problem, cell.settings
    probabilities, spent, words = learn(cell)
    options = best_options(problem, probabilities)
    thresholds = [*threshold_candidates(options["probability"], settings.thresholds)]
    if settings.rule == "one_standard_error":
        thresholds = [thresholds[-1], *thresholds[:-1]]  # the simplest first: mix nothing, mix everything, ...
    plans = sampled_plans(cell, probabilities) if settings.plan == "sampled" else [options]
    candidates = [[plan[plan["probability"] >= threshold] for plan in plans] for threshold in thresholds]
    cell.report(spent, spent, f"trying {len(candidates)} thresholds")
    choice = choose_plan(problem, candidates, settings.tuning_repeats, cell.split_seed, settings.rule)

    trials = {"threshold": thresholds, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    pd.DataFrame(trials).to_csv(cell.folder / "thresholds.csv", index=False)
    plan = options[options["probability"] >= thresholds[choice.best]]
    plan.to_csv(cell.folder / "plan.csv", index=False)
    chosen = f"T={thresholds[choice.best]:.3f}, {len(plan)} options, {words}"
    return Augmented(choice.sets, spent + choice.trainings, chosen)


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
    agent.learn(
        make_envs(settings, cell.split_seed),
        settings.trainings,
        lambda done, metrics: cell.report(
            done, settings.trainings, f"val RMSE {metrics['env/val_rmse']:.4f}, mean p {metrics['policy/p_mean']:.2f}"
        ),
    )
    logger.close()
    if isinstance(agent, Reinforce):
        assert agent.network is not None  # learn() has made it
        save_value_network(agent.network, cell.folder / "value_network.safetensors")
    stopped = "converged" if isinstance(agent, Reinforce) and agent.converged else "budget spent"
    words = f"{stopped} after {agent.trainings} trainings"
    probabilities = agent.probabilities(problem.observe(everything)).reshape(shape)
    return probabilities, agent.trainings + int(settings.pretrained), words


def make_agent(settings: Settings, seed: int, logger: Logger | None = None) -> Reinforce | MaskRegression:
    """The agent that the settings name."""
    if settings.agent == "mask_regression":
        return MaskRegression(settings.mask_regression, seed, logger)
    return Reinforce(settings.reinforce, seed, logger)


def make_envs(settings: Settings, split_seed: int) -> Envs:
    """The environments that the agent learns on: without the validation rows that are held back from rewards."""
    own: dict[str, Any] = settings.env_settings()
    if settings.held_back:
        own["data"] = hold_back(load_dataset(settings.dataset, split_seed), settings.held_back)[0]
    return gym.make_vec(
        settings.env_id,
        num_envs=settings.num_envs,
        vectorization_mode="vector_entry_point",
        split_seed=split_seed,
        **own,
    )


def hold_back(data: RegressionData, share: float) -> tuple[RegressionData, tuple[FloatArray, FloatArray]]:
    """Data with the last validation rows, a share of them, taken out; and those rows. At least one stays on either side."""
    n_val = len(data.x_val)
    kept = min(max(round(n_val * (1 - share)), 1), n_val - 1)
    rest = RegressionData(
        data.x_train, data.y_train, data.x_val[:kept], data.y_val[:kept], data.x_test, data.y_test, name=data.name
    )
    return rest, (data.x_val[kept:], data.y_val[kept:])


def sampled_plans(cell: Cell, probabilities: FloatArray) -> list[pd.DataFrame]:
    """One plan drawn from the policy for each final regressor."""
    rngs = [np.random.default_rng([_STREAM, cell.split_seed, sample]) for sample in range(cell.settings.final_trainings)]
    return [sample_options(cell.problem, probabilities, rng) for rng in rngs]

"""MixRL: learn h_theta with REINFORCE, then mix each row with its most probable options above a threshold (Sec. 3)."""

from __future__ import annotations

import gymnasium as gym
import pandas as pd
from stable_baselines3.common.logger import Logger, make_output_format

from agents import Reinforce, save_value_network
from experiments.methods.base import Augmented, Cell
from mixrl_env.augmentation import best_options, choose_plan, threshold_candidates


def augment(cell: Cell) -> Augmented:
    """Train the value network, choose the threshold T on the validation rows, and apply the plan.

    Leaves in the folder: progress.csv and a TensorBoard file (curves), value_network.safetensors, thresholds.csv (every T
    tried), and plan.csv (the chosen row, space, k, probability).
    """
    problem, settings = cell.problem, cell.settings
    envs = gym.make_vec(
        settings.env_id,
        num_envs=settings.num_envs,
        vectorization_mode="vector_entry_point",
        split_seed=cell.split_seed,
        **settings.env_settings(),
    )
    folder = str(cell.folder)
    logger = Logger(folder, [make_output_format(kind, folder) for kind in ("csv", "tensorboard")])
    agent = Reinforce(settings.reinforce, seed=cell.split_seed, logger=logger)
    agent.learn(
        envs,
        settings.trainings,
        lambda done, metrics: cell.report(
            done, settings.trainings, f"val RMSE {metrics['env/val_rmse']:.4f}, mean p {metrics['policy/p_mean']:.2f}"
        ),
    )
    logger.close()
    assert agent.network is not None  # learn() has made it
    save_value_network(agent.network, cell.folder / "value_network.safetensors")

    everything = problem.every_row_and_option()
    probabilities = agent.probabilities(problem.observe(everything)).reshape(len(problem.x_train), -1)
    options = best_options(problem, probabilities)
    thresholds = threshold_candidates(options["probability"])
    plans = [options[options["probability"] >= threshold] for threshold in thresholds]
    cell.report(agent.trainings, agent.trainings, f"trying {len(plans)} thresholds")
    choice = choose_plan(problem, plans, settings.tuning_repeats, cell.split_seed)

    trials = {"threshold": thresholds, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)}
    pd.DataFrame(trials).to_csv(cell.folder / "thresholds.csv", index=False)
    plan = plans[choice.best]
    plan.to_csv(cell.folder / "plan.csv", index=False)
    spent = agent.trainings + int(settings.pretrained)
    stopped = "converged" if agent.converged else "budget spent"
    chosen = f"T={thresholds[choice.best]:.3f}, {len(plan)} options, {stopped} after {agent.trainings} trainings"
    return Augmented(choice.x, choice.y, spent + choice.trainings, chosen)

"""The idea of the paper (Fig. 1) on a function of one feature: every pair mixed, and what MixRL really learns to mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from mixrl import ReinforceVariant, ReinforceVariantConfig
from mixrl_env import MixingProblem, MixRLVectorEnv, RegressionData, RegressorConfig
from mixrl_env.data import FloatArray
from mixrl_env.metrics import rmse
from mixrl_env.mixing import mix
from mixrl_env.plans import best_options, choose_plan, threshold_candidates
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import data_stream

_ROWS, _VALIDATION_ROWS, _NOISE = 40, 400, 0.2
_OPTIONS = tuple((space, k) for space in ("data", "label") for k in (1, 2, 4, 8))
# Trained to the end, so that without mixing it follows the noise of the labels. Rows without noise are interpolated well as
# they are: the agent learns the same there, but the validation rows choose to mix nothing.
_REGRESSOR = RegressorConfig(hidden_sizes=(64, 64), learning_rate=0.01, max_steps=1500, patience=None)
_AGENT = ReinforceVariantConfig(
    hidden_sizes=(64, 64), learning_rate=0.003, baseline="leave_one_out", normalize=True, entropy_bonus=0.01
)
_MASKS, _STEP_BUDGET, _REPEATS = 16, 300, 16


def draw_idea(path: Path, trainings: int = 1600) -> Path:
    """Draw all pairs mixed beside the plan that REINFORCE has learned for the same rows.

    Args:
        path: the picture to write.
        trainings: rewards that the agent may spend.
    """
    problem, learned = learn_plan(trainings)
    every = np.triu_indices(_ROWS, k=1)
    pairs = mix(problem.x_train, problem.data.y_train, *every, 0.5)
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    titles = ("Original Mixup: every pair", "MixRL: the plan that it has learned")
    for axes, title, mixed in zip(figure.subplots(1, 2, sharey=True), titles, (pairs, learned), strict=True):
        _draw_rows(axes, problem.data, *mixed)
        error = f"{label_error(problem, mixed):.2f} RMSE" if len(mixed[0]) else "none is mixed"
        axes.set(title=f"{title}\nlabel error of {len(mixed[0])} mixed rows: {error}", xlabel="feature")
    figure.axes[0].set_ylabel("label")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return save_figure(figure, path)


def function(x: FloatArray) -> FloatArray:
    """Straight up to 0.5, a wave from there on; linear interpolation reaches far on one half only."""
    return np.where(x < 0.5, 2 * x, 1 + 0.9 * np.sin(22 * (x - 0.5)))


def learn_plan(trainings: int, seed: int = 0) -> tuple[MixingProblem, TrainingSet]:
    """Draw rows from the function, learn with REINFORCE which to mix, and choose the threshold on the validation rows.

    Args:
        trainings: rewards that the agent may spend.
        seed: of the agent and of the choice.

    Returns:
        The problem, and the mixed rows of the chosen plan.
    """
    envs = gym.make_vec(
        "MixRL-v0",
        _MASKS,
        "vector_entry_point",
        data=_draw_data(),
        options=_OPTIONS,
        regressor=_REGRESSOR,
        pretrained=True,
        step_budget=_STEP_BUDGET,
    )
    assert isinstance(envs, MixRLVectorEnv)
    problem = envs.problem
    agent = ReinforceVariant(_AGENT, seed).learn(envs, trainings)
    probabilities = agent.probabilities(problem.observe(problem.every_row_and_option())).reshape(_ROWS, len(_OPTIONS))
    plan = best_options(problem, probabilities)
    candidates = [[plan[plan["probability"] >= threshold]] for threshold in threshold_candidates(plan["probability"])]
    x, y = choose_plan(problem, candidates, _REPEATS, seed).sets[0]
    return problem, (x[_ROWS:], y[_ROWS:])


def label_error(problem: MixingProblem, mixed: TrainingSet) -> float:
    """RMSE between the labels of mixed rows and the function."""
    return rmse(function(problem.data.restore_x(mixed[0])), mixed[1])


def _draw_data() -> RegressionData:
    """Rows spread over [0, 1], one in each of as many equal parts, with noisy labels; validation rows drawn alike."""
    rng = data_stream(1)
    parts: dict[str, Any] = {"name": "idea"}
    for part, size in (("train", _ROWS), ("val", _VALIDATION_ROWS)):
        x = (np.arange(size) + rng.uniform(size=size))[:, None] / size
        parts |= {f"x_{part}": x, f"y_{part}": function(x) + rng.normal(0, _NOISE, x.shape)}
    return RegressionData(**parts)


def _draw_rows(axes: Axes, data: RegressionData, x: FloatArray, y: FloatArray) -> None:
    grid = np.linspace(0, 1, 500)
    axes.plot(grid, function(grid), color=GREY, linewidth=1, label="the true function")
    if len(x):
        axes.scatter(data.restore_x(x), y, marker="*", s=26, color=ORANGE, alpha=0.7, linewidths=0, label="mixed rows")
    axes.scatter(data.x_train, data.y_train, s=22, color=BLUE, label="training rows", zorder=3)

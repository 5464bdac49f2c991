"""Drift: what becomes of p when rewards are noise alone, and what a guard costs where there is something to learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from matplotlib.figure import Figure

from experiments.figures import save_figure
from experiments.studies.cells import Row
from mixrl import Agent, MaskRegression, ReinforceVariant, ReinforceVariantConfig
from mixrl_env import MixingProblem, ProblemConfig, load_dataset
from mixrl_env.env import spaces_of

_FAST = ReinforceVariantConfig(learning_rate=0.003, baseline="leave_one_out")
_NORMAL = replace(_FAST, normalize=True)
AGENTS: dict[str, tuple[int, ReinforceVariantConfig | None]] = {
    "Algorithm 1 (m = 1)": (1, ReinforceVariantConfig()),
    "16 masks, leave-one-out": (16, _FAST),
    "+ exploration penalty 1000": (16, replace(_FAST, exploration_penalty=1000.0)),
    "+ logits centred": (16, replace(_FAST, center=True)),
    "+ weight decay 1": (16, replace(_FAST, weight_decay=1.0)),
    "+ normalised": (16, _NORMAL),
    "+ normalised, entropy 0.01": (16, replace(_NORMAL, entropy_bonus=0.01)),
    "+ normalised, entropy 0.03": (16, replace(_NORMAL, entropy_bonus=0.03)),
    "+ normalised, entropy 0.01, centred": (16, replace(_NORMAL, entropy_bonus=0.01, center=True)),
    "Regression on masks": (16, None),
}
"""m, and the settings of REINFORCE; None is `mixrl.MaskRegression`."""
_NOISE = 0.01  # SD of a reward, as NO2's validation loss has it
_SHARES = {"noise": 0.0, "5% signal": 0.05, "50% signal": 0.5}
"""Share of the rewards' variance that the mask explains, at p = 1/2."""


@dataclass(frozen=True)
class Drift:
    """Settings of the study.

    Attributes:
        seeds: one run each.
        trainings: rewards that an agent may spend.
    """

    seeds: tuple[int, ...] = (0,)
    trainings: int = 1600

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        """One a seed."""
        return [(f"seed{seed}", partial(self._seed, seed)) for seed in self.seeds]

    def _seed(self, seed: int) -> list[Row]:
        problem = MixingProblem(load_dataset("no2", seed), ProblemConfig())
        rows: list[Row] = []
        for kind, share in _SHARES.items():
            for name, (m, config) in AGENTS.items():
                envs = SyntheticRewards(problem, m, share)
                agent: Agent = MaskRegression(seed=seed) if config is None else ReinforceVariant(config, seed)
                agent.learn(envs, self.trainings)
                observed = problem.observe(problem.every_row_and_option())
                p = agent.probabilities(observed)
                good = helpful(observed, problem)
                rows.append(
                    {
                        "seed": seed,
                        "reward": kind,
                        "agent": name,
                        "mean_p": p.mean(),
                        "sd_p": p.std(),
                        "told_apart": p[good].mean() - p[~good].mean(),
                    }
                )
        return rows

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """One row an agent."""
        lines = []
        for agent in AGENTS:
            ours = stored[stored["agent"] == agent]
            noise = ours[ours["reward"] == "noise"]
            line = {
                "Agent": agent,
                "Noise: mean p, lowest to highest": f"{noise['mean_p'].min():.2f} to {noise['mean_p'].max():.2f}",
                "SD of p": f"{noise['sd_p'].mean():.2f}",
            }
            for kind in list(_SHARES)[1:]:
                line[f"{kind}: p of helpful - harmful"] = f"{ours.loc[ours['reward'] == kind, 'told_apart'].mean():+.2f}"
            lines.append(line)
        return [(f"Policies after {stored['seed'].nunique()} runs each; they start at p = 1/2", pd.DataFrame(lines))]

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        """Mean p of every run under pure noise, beside what was told apart under a signal."""
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        height = np.arange(len(AGENTS))[::-1]
        for y, agent in zip(height, AGENTS, strict=True):
            ours = stored[stored["agent"] == agent]
            noise = ours.loc[ours["reward"] == "noise", "mean_p"]
            axes[0].plot(noise, np.full(len(noise), y), "o", color="#1f6fb4", alpha=0.6)
            for axis, kind in zip(axes[1:], list(_SHARES)[1:], strict=True):
                apart = ours.loc[ours["reward"] == kind, "told_apart"]
                axis.plot(apart, np.full(len(apart), y), "o", color="#d9772b", alpha=0.6)
        axes[0].set(yticks=height, yticklabels=list(AGENTS), xlim=(-0.02, 1.02), xlabel="mean p", title="rewards are noise")
        axes[0].axvline(0.5, color="#8a8a8a", linewidth=0.8, linestyle=":")
        for axis, kind in zip(axes[1:], list(_SHARES)[1:], strict=True):
            axis.set(title=kind, xlabel="p: helpful - harmful rows", xlim=(-0.1, 1.05))
            axis.axvline(0, color="#8a8a8a", linewidth=0.8, linestyle=":")
        return [save_figure(figure, out / "drift.png")]


def helpful(observed: npt.NDArray[np.float32], problem: MixingProblem) -> npt.NDArray[np.bool_]:
    """Which rows the signal pays for: a positive first feature with a data option, a negative one with a label option."""
    data_option = np.array([option.space == "data" for option in problem.options])
    option = observed[..., -len(problem.options) :].argmax(axis=-1)
    positive: npt.NDArray[np.bool_] = (observed[..., 0] > 0) == data_option[option]
    return positive


class SyntheticRewards(VectorEnv[Any, Any, Any]):
    """The observations of a mixing problem, with rewards that train nothing: normal noise, and a share for helpful rows.

    Args:
        problem: whose batches are offered.
        num_envs: m.
        share: of the rewards' variance that the mask explains when half of the rows are selected.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, problem: MixingProblem, num_envs: int, share: float) -> None:
        self.num_envs, self._problem, self._share = num_envs, problem, share
        self.single_observation_space, self.single_action_space = spaces_of(problem)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New batches; see `VectorEnv.reset`."""
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, actions: npt.NDArray[np.int8]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Rewards of masks (m, B), and new batches."""
        signs = np.where(helpful(self._states, self._problem), 1.0, -1.0)
        signal = ((actions - 0.5) * signs).sum(axis=1) / (0.5 * actions.shape[1] ** 0.5)  # SD 1 at p = 1/2
        noise = self.np_random.normal(size=self.num_envs)
        rewards = _NOISE * (self._share**0.5 * signal + (1 - self._share) ** 0.5 * noise)
        ended = np.ones(self.num_envs, dtype=bool)
        return self._draw(), rewards, ended, ~ended, {}

    def _draw(self) -> npt.NDArray[np.float32]:
        self._states = np.stack(
            [self._problem.observe(self._problem.sample_batch(self.np_random)) for _ in range(self.num_envs)]
        )
        return self._states

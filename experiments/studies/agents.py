"""Agents against each other: one environment, one budget of inner trainings, one way from the policy to the regressor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import gymnasium as gym
import numpy as np
import pandas as pd
from pydantic import PositiveInt

from experiments.methods import Trial
from experiments.methods.evaluation import final_scores
from experiments.methods.mixrl import candidates_of
from experiments.presets import PRESETS, Settings
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.tables import Titled
from experiments.studies import agents_shown
from experiments.studies.agents_shown import NO_AUGMENTATION, NOTHING_LEARNED
from experiments.study import Dataset, Seeds, Study, one_of
from mixrl import (
    Agent,
    CrossEntropy,
    MaskRegression,
    MetaGradient,
    RandomSearch,
    Reinforce,
    ReinforceVariant,
    ReinforceVariantConfig,
    SB3Agent,
    SB3Config,
)
from mixrl_env import MixingProblem, MixRLVectorEnv
from mixrl_env.data import FloatArray
from mixrl_env.plans import choose_plan
from mixrl_env.streams import stream

_REINFORCE = ReinforceVariantConfig(learning_rate=0.003, baseline="leave_one_out")
MakeAgent = Callable[[int], Agent]
AGENTS: dict[str, tuple[int, MakeAgent | None]] = {
    # m, the masks of an update, and the agent of a seed; the first two are controls.
    NO_AUGMENTATION: (1, None),
    NOTHING_LEARNED: (1, None),
    "Algorithm 1": (1, lambda seed: Reinforce(seed=seed)),
    "REINFORCE": (16, lambda seed: ReinforceVariant(_REINFORCE, seed)),
    "REINFORCE, guarded": (16, lambda seed: ReinforceVariant(replace(_REINFORCE, normalize=True, entropy_bonus=0.01), seed)),
    "MaskRegression": (16, lambda seed: MaskRegression(seed=seed)),
    "MetaGradient": (4, lambda seed: MetaGradient(seed=seed)),  # few at once: it learns many times within a training
    "CrossEntropy": (16, lambda seed: CrossEntropy(seed=seed)),
    "RandomSearch": (16, lambda seed: RandomSearch(seed=seed)),
    "PPO": (16, lambda seed: SB3Agent(SB3Config("ppo"), seed)),
    "A2C": (16, lambda seed: SB3Agent(SB3Config("a2c"), seed)),
    "TRPO": (16, lambda seed: SB3Agent(SB3Config("trpo"), seed)),
    "PPO, flat": (16, lambda seed: SB3Agent(SB3Config("ppo", policy="flat"), seed)),
}
# Rewards as in the presets; then, for all alike, options drawn from the policy and the best of a few thresholds.
_SETTINGS = replace(PRESETS["mask_regression"], rule="lowest", thresholds=4)
_CHECKPOINTS = 8


class AgentComparison(Study):
    """Settings of the study.

    Attributes:
        dataset: name of the dataset.
        splits: seeds.
        agents: names of `AGENTS`.
        trainings: inner trainings that each may spend.
        masks: sampled masks that a policy is judged by on its way; what all are compared with, p = 1/2, by 16 times as many.
    """

    kind: Literal["agents"] = "agents"
    dataset: Dataset = "no2"
    splits: Seeds = (0, 1, 2, 3, 4)
    agents: tuple[Annotated[str, one_of(tuple(AGENTS), "agent")], ...] = tuple(AGENTS)
    trainings: PositiveInt = 1024
    masks: PositiveInt = 64

    def cells(self) -> list[Cell]:
        """One an agent and split."""
        return self.grid(self._cell, dataset=(self.dataset,), split_seed=self.splits, agent=self.agents)

    def _cell(self, dataset: str, split: int, name: str) -> list[Row]:
        m, make_agent = AGENTS[name]
        settings = replace(_SETTINGS, dataset=dataset, trainings=self.trainings)
        envs = gym.make_vec(settings.env_id, m, "vector_entry_point", split_seed=split, **settings.env_settings())
        assert isinstance(envs, MixRLVectorEnv)
        judge = _Judge(envs.problem, self.masks if make_agent else 16 * self.masks, split)
        alike = np.full(judge.shape, 0.5)
        if name == NO_AUGMENTATION:
            rows = [judge.final(None, settings)]
        elif make_agent is None:
            rows = [judge.look(alike), judge.final(alike, settings)]
        else:
            agent = make_agent(split)
            watch = _Watch(agent, judge, self.trainings)
            agent.learn(envs, self.trainings, watch)
            spent = watch.spent()
            rows = [*watch.rows, judge.final(judge.probabilities(agent), settings) | spent]
        return [{"trainings": 0, "seconds": 0.0, "cpu_seconds": 0.0, **row} for row in rows]

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Learning curves, then final regressors."""
        return agents_shown.tables(_ordered(results.rows))

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Learning curves, and what the final regressors gain."""
        return agents_shown.draw(_ordered(results.rows), out)


class _Judge:
    """Looks at policies: on their way by masks drawn from them, at the end by the regressors that are made with them."""

    def __init__(self, problem: MixingProblem, masks: int, split: int) -> None:
        self.problem, self.split = problem, split
        n_train, num_options = self.shape = len(problem.x_train), len(problem.options)
        every = problem.observe(problem.every_row_and_option()).reshape(n_train, num_options, -1)
        # Whole batches, for policies that see them as a whole: each offers all rows, with all options in turn.
        self._rows = np.arange(n_train)
        self._options = (self._rows + np.arange(num_options)[:, None]) % num_options
        self._batches = every[self._rows, self._options]
        rng = stream(split, "judged masks")
        self._drawn = [(problem.sample_batch(rng), rng.random(problem.num_rows), rng.integers(2**63)) for _ in range(masks)]

    def probabilities(self, agent: Agent) -> FloatArray:
        """P of every row and option, shape (n_train, |N|)."""
        p = np.empty(self.shape)
        p[self._rows, self._options] = agent.probabilities(self._batches)
        return p

    def look(self, p: FloatArray) -> Row:
        """Validation RMSE of regressors trained as rewards are, on masks drawn from p; all policies see the same draws."""
        batches = [batch for batch, _, _ in self._drawn]
        masks = [uniform < p[batch.rows, batch.options] for batch, uniform, _ in self._drawn]
        outcomes, _ = self.problem.evaluate(batches, masks, [stream(seed, "mask trainings") for *_, seed in self._drawn])
        val_rmse = float(np.mean([outcome.val_loss**0.5 for outcome in outcomes]))
        return {"level": "masks", "val_rmse": val_rmse, "mean_p": p.mean(), "sd_p": p.std()}

    def final(self, p: FloatArray | None, settings: Settings) -> Row:
        """Mean over final regressors: trained from scratch to the early stop, the threshold chosen on validation rows."""
        problem = self.problem
        kept, sets = "", [(problem.x_train, problem.data.y_train)]
        if p is not None:
            candidates = candidates_of(Trial(problem, settings, self.split), p)
            choice = choose_plan(problem, list(candidates.values()), settings.tuning_repeats, self.split)
            kept, sets = list(candidates)[choice.kept[0]], choice.sets
        scores = pd.DataFrame(final_scores(problem, sets, self.split, settings.final_trainings)).drop(columns="seed")
        means = {str(name): float(mean) for name, mean in scores.mean().items()}
        num_rows = round(sum(len(x) for x, _ in sets) / len(sets))
        return {"level": "final", "plan": kept, "num_rows": num_rows, **means}


class _Watch:
    """Looks at a policy now and then while it is learned; the time that this takes does not count.

    Args:
        agent: that learns.
        judge: of its policy.
        trainings: its budget.

    Attributes:
        rows: one a look.
    """

    def __init__(self, agent: Agent, judge: _Judge, trainings: int) -> None:
        self.rows: list[Row] = []
        self._agent, self._judge, self._budget = agent, judge, trainings
        self._done, self._looks = 0, 0
        self._started = _clocks()

    def __call__(self, done: int, metrics: dict[str, float]) -> None:
        """Called by the agent after every update; looks at the policy at checkpoints."""
        self._done, looks = done, done * _CHECKPOINTS // self._budget
        if looks > self._looks:
            self._looks, spent, began = looks, self.spent(), _clocks()
            self.rows.append(self._judge.look(self._judge.probabilities(self._agent)) | spent)
            self._started += _clocks() - began

    def spent(self) -> Row:
        """Trainings, wall time and CPU time of learning so far."""
        wall, cpu = _clocks() - self._started
        return {"trainings": self._done, "seconds": round(float(wall), 1), "cpu_seconds": round(float(cpu), 1)}


def _clocks() -> FloatArray:
    """Wall time and this process's CPU time, seconds."""
    return np.array([time.monotonic(), time.process_time()])


def _ordered(stored: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of `AGENTS`."""
    return stored.sort_values("agent", key=lambda names: names.map([*AGENTS].index), kind="stable")

"""Agents on many generated tables: what is each policy worth on tables that it has never seen, without a reward there?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import PositiveInt

from experiments.experience import MOST_ROWS
from experiments.methods import Trial, method_of
from experiments.presets import PRESETS, SMALL_REGRESSOR
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, ORANGE, draw_differences, save_figure
from experiments.show.statistics import mean_interval, ratio_of_means
from experiments.show.tables import Titled
from experiments.study import Seeds, Study, one_of
from mixrl import (
    Agent,
    CreditRegression,
    MaskRegression,
    PlanSearchConfig,
    RandomSearch,
    ReinforceVariant,
    ReinforceVariantConfig,
    SB3Agent,
    SB3Config,
)
from mixrl_env import MixingProblem, MixRLTablesVectorEnv, NeighborOption, ProblemConfig
from mixrl_env.datasets.generated import Part
from mixrl_env.features import FEATURES
from mixrl_env.many_tables import Instance, instance
from mixrl_env.plans import KS, options_above
from mixrl_env.problem import Batch
from mixrl_env.streams import stream

Policy = Callable[[Instance], tuple[Batch, float]]
"""What to mix in a table, and the gain in log RMSE that is to be expected, NaN if that is not known."""
_REINFORCE = ReinforceVariantConfig(learning_rate=0.01, baseline="leave_one_out", normalize=True, hidden_sizes=(64, 64))
AGENTS: dict[str, Callable[[int], Agent]] = {
    "REINFORCE": lambda seed: ReinforceVariant(_REINFORCE, seed),
    "PPO, RowPolicy": lambda seed: SB3Agent(SB3Config("ppo"), seed),
    "Regression on masks": lambda seed: MaskRegression(seed=seed),
    "Random search": lambda seed: RandomSearch(seed=seed),
}
FIXED_RULE = "Fixed rule"
"""One k in one or both distances, for mixed rows whose labels agree with cross-fitted regressors; chosen on training tables."""
ORACLE = "Oracle"
"""Plan search that sees the test rows: what learning on the table itself could reach, and 1 of the normalised score."""
SHIPPED = "Pretrained"
"""The policy that ships with the package."""


def _shipped(own: Instance) -> tuple[Batch, float]:
    return CreditRegression.load().plan(own.problem)


def _adapted(trainings: int, own: Instance) -> tuple[Batch, float]:
    """The policy that ships, after so many rewards on the table's validation rows."""
    config = ProblemConfig(options=own.problem.options, regressor=SMALL_REGRESSOR)
    rng = stream(0, "rewards on unseen tables")
    return CreditRegression.load().adapt(own.problem, MixingProblem(own.data, config), trainings, rng).plan(own.problem)


def _plan_search(trainings: int, prior: bool, own: Instance, true_risk: bool = False) -> tuple[Batch, float]:
    """Plan search with so many rewards, from scratch or from the policy that ships, and full trainings of its candidates.

    Its rewards are losses on the table's validation rows, or with `true_risk` on its noise-free test rows.
    """
    data = own.data
    if true_risk:
        assert data.x_test is not None
        assert data.y_test is not None
        data = replace(data, x_val=data.x_test, y_val=data.y_test)
    settings = replace(
        PRESETS["plan_search"],
        trainings=trainings,
        env_id="MixRL-v0",
        regressor=SMALL_REGRESSOR,
        plan_search=PlanSearchConfig(prior=prior),
    )
    env: Any = gym.make(settings.env_id, **settings.env_settings() | {"data": data})
    plan = method_of(settings.mixrl_name)(Trial(env.unwrapped.problem, settings, 0)).tables["plan"]
    options = [own.problem.options.index(NeighborOption(*each)) for each in zip(plan["space"], plan["k"], strict=True)]
    return Batch(plan["row"].to_numpy(), np.array(options, dtype=np.int64)), np.nan


BY_TABLE: dict[str, Policy] = {
    SHIPPED: _shipped,
    "Adapted, 50 rewards": partial(_adapted, 50),
    "Plan search from the policy, 50 rewards": partial(_plan_search, 50, True),
    "Plan search, 350 rewards": partial(_plan_search, 350, False),
    ORACLE: partial(_plan_search, 350, False, true_risk=True),
}
"""Nothing is learned on training tables; all but the first spend rewards on the table itself."""
_MASKS = 16
"""m: masks of an update, on the same table, so that their rewards can be compared."""
_LIMITS = (0.5, 1.0, 2.0, np.inf)
"""Largest label_error of the fixed rule, before it is squashed."""
_PARTS: tuple[Part, ...] = ("test", "held out")


class ManyTables(Study):
    """Settings of the study.

    Attributes:
        agents: names of `AGENTS`, `BY_TABLE` or `FIXED_RULE`.
        seeds: of agents that learn on training tables, and of the order of their tables.
        num_tables: that the agents learn on.
        trainings: rewards of each.
        unseen: tables that each policy is judged on, of the parts "test" and "held out" each.
        repeats: regressors without and with mixing, of each of these; their averaged predictions are compared.
    """

    kind: Literal["many_tables"] = "many_tables"
    agents: tuple[Annotated[str, one_of((*BY_TABLE, FIXED_RULE, *AGENTS), "agent")], ...] = (SHIPPED, FIXED_RULE)
    seeds: Seeds = (0,)
    num_tables: PositiveInt = 256
    trainings: PositiveInt = 4096
    unseen: PositiveInt = 50
    repeats: PositiveInt = 8
    MAY_GROW = frozenset({"agents", "seeds"})

    def cells(self) -> list[Cell]:
        """One an agent and seed; what does not learn on training tables has the first seed alone."""
        cells = self.grid(self._cell, agent=self.agents, seed=self.seeds)
        return [cell for cell in cells if cell.labels["agent"] not in BY_TABLE or cell.labels["seed"] == self.seeds[0]]

    def _cell(self, name: str, seed: int) -> list[Row]:
        began = time.monotonic()
        if name in BY_TABLE:
            policy = BY_TABLE[name]
        else:
            policy = self._fixed_rule(seed) if name == FIXED_RULE else self._learned(AGENTS[name](seed), seed)
        seconds = round(time.monotonic() - began, 1)
        tables = [(part, table_seed) for part in _PARTS for table_seed in range(self.unseen)]
        return [self._judge(policy, _instance(table_seed, part)) | {"seconds": seconds} for part, table_seed in tables]

    def _learned(self, agent: Agent, seed: int) -> Policy:
        arguments: dict[str, Any] = {"num_tables": self.num_tables, "regressor": SMALL_REGRESSOR}
        agent.learn(MixRLTablesVectorEnv(_MASKS, tables_seed=seed, **arguments), self.trainings)
        return partial(_most_probable, agent)

    def _fixed_rule(self, seed: int) -> Policy:
        """The rule with the highest mean reward, on as many training tables as the budget pays for."""
        rules = [*product(KS, ("data", "label", "both"), _LIMITS)]
        rewards = np.zeros(len(rules))
        for table_seed in range(max(1, min(self.num_tables, self.trainings // len(rules)))):
            own = _instance(table_seed, "training")
            for index, rule in enumerate(rules):
                loss, _ = own.train(_by_rule(*rule, own)[0], stream(seed, "fixed rules", table_seed))
                rewards[index] += np.log(own.loss / loss)
        return partial(_by_rule, *rules[int(rewards.argmax())])

    def _judge(self, policy: Policy, own: Instance) -> Row:
        began = time.monotonic()
        plan, expected = policy(own)
        seconds = round(time.monotonic() - began, 1)
        part, _, table_seed = own.table.data.name.rpartition(" ")
        return {
            "part": part,
            "table_seed": int(table_seed),
            "family": own.table.family,
            "noise": own.table.noise,
            "num_rows": len(own.data.x_train),
            "seconds_here": seconds,
            "mixed_share": len(plan.rows) / 2 / len(own.data.x_train),
            "expected": -expected,
            "log_ratio": -float(own.gain([plan], self.repeats)[0]),
        }

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Log ratios on unseen tables."""
        lines = []
        means = results.rows.pivot_table("log_ratio", "table_seed", ["agent", "part"])
        for (agent, part), own in results.rows.groupby(["agent", "part"], sort=False):
            of_table = means[(agent, part)]
            score = {"Score": ratio_of_means(-of_table, -means[(ORACLE, part)]).score} if (ORACLE, part) in means else {}
            lines.append(
                {
                    "Agent": agent,
                    "Tables": f"{len(of_table)}, {part}",
                    "Log ratio of the RMSE": mean_interval(100 * of_table).rounded(1),
                    **score,
                    "Worse than +2": f"{(own['log_ratio'] > 0.02).mean():.0%}",
                    "Rows mixed": f"{own['mixed_share'].mean():.0%}",
                    "Minutes to learn": f"{own['seconds'].mean() / 60:.0f}",
                    "Seconds a table": f"{own['seconds_here'].mean():.0f}",
                }
            )
        return [
            ("RMSE with mixing against without, averaged predictions, percent, unseen tables", pd.DataFrame(lines)),
            ("Log ratio of the RMSE that was expected, and that it was, percent", _calibration(results.rows)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """A dot for each unseen table."""
        figure = Figure(figsize=(9, 0.5 * results.rows["agent"].nunique() + 1.2), layout="constrained")
        for axes, part in zip(figure.subplots(1, 2, sharex=True, sharey=True), _PARTS, strict=True):
            own = results.rows[results.rows["part"] == part]
            by_agent = {str(agent): 100 * rows["log_ratio"] for agent, rows in own.groupby("agent", sort=False)}
            draw_differences(axes, by_agent)
            axes.set(title=f"tables of the part {part!r}", xlabel="log ratio of the RMSE to no mixing, percent")
        written = [save_figure(figure, out / "unseen.png")]
        known = results.rows.dropna(subset="expected")
        if len(known):
            figure = Figure(figsize=(5, 4), layout="constrained")
            axes = figure.subplots()
            for (name, own), colour in zip(known.groupby("part", sort=False), (BLUE, ORANGE), strict=True):
                axes.scatter(100 * own["expected"], 100 * own["log_ratio"], s=8, alpha=0.35, color=colour, linewidths=0)
                for number, some in enumerate(_quarters(own)):
                    mean, low, high = mean_interval(100 * some["log_ratio"])
                    place = 100 * some["expected"].mean()
                    axes.plot([place, place], [low, high], color=colour, linewidth=2)
                    axes.plot(place, mean, "o", color=colour, markersize=6, label=None if number else name)
            axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":")
            axes.set(xlabel="expected log ratio of the RMSE, percent", ylabel="log ratio that it was")
            axes.legend(fontsize="small")
            written.append(save_figure(figure, out / "expected.png"))
        return written


def _calibration(rows: pd.DataFrame) -> pd.DataFrame:
    """Tables by what was expected of them, in quarters."""
    lines = []
    for (agent, part), own in rows.dropna(subset="expected").groupby(["agent", "part"], sort=False):
        for some in _quarters(own):
            lines.append(
                {
                    "Agent": agent,
                    "Tables": f"{len(some)}, {part}",
                    "Expected": f"{100 * some['expected'].mean():+.1f}",
                    "Was": mean_interval(100 * some["log_ratio"]).rounded(1),
                }
            )
    return pd.DataFrame(lines)


def _quarters(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Of the tables that are mixed, by what was expected of them."""
    mixed = rows[rows["expected"] < 0]
    return [some for _, some in mixed.groupby(pd.qcut(mixed["expected"], 4, duplicates="drop"), observed=True)]


def _instance(table_seed: int, part: Part) -> Instance:
    return instance(part, table_seed, MOST_ROWS, SMALL_REGRESSOR)


def _most_probable(agent: Agent, own: Instance) -> tuple[Batch, float]:
    """In each distance the most probable option, if it is chosen more often than not."""
    problem = own.problem
    p = agent.probabilities(problem.observe(problem.every_row_and_option())).reshape(len(problem.x_train), -1)
    return options_above(problem, p, 0.5), np.nan


def _by_rule(k: int, distance: str, limit: float, own: Instance) -> tuple[Batch, float]:
    """Every row with one k, where the mixed labels agree with the cross-fitted regressors."""
    taken = np.array([option.k == k and distance in (option.space, "both") for option in own.problem.options])
    error = own.problem.features[..., FEATURES.index("label_error")]
    return Batch(*np.nonzero(taken & (error < (limit / (1 + limit) if np.isfinite(limit) else 2)))), np.nan

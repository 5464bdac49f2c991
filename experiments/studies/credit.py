"""What carries a policy for all tables: rounds of plans, how many tables and parameters, what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import PositiveInt

from experiments.experience import PLANS, TriedPlans, judged, learn
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import draw_differences, save_figure
from experiments.show.statistics import mean_interval
from experiments.show.tables import Titled
from experiments.study import Study
from mixrl import CreditRegression, CreditRegressionConfig
from mixrl.credit_regression import WORSE, share_kept
from mixrl_env.features import CONTEXT, FEATURES

WHOLE = "whole"
_MEANS = len(CONTEXT) - 3  # the first columns of the context are the means of the first features


class Credit(Study):
    """Settings of the study.

    Attributes:
        num_tables: that policies learn on; the most are those of the whole.
        num_features: of policies; the most are those of the whole.
        judged_on: tables of the part "validation".
        experience: folder of plans that were tried, as that of the verb pretrain.
    """

    kind: Literal["credit"] = "credit"
    num_tables: tuple[PositiveInt, ...] = (100, 300, 800)
    num_features: tuple[PositiveInt, ...] = (30, 100, 300, 1000)
    judged_on: PositiveInt = 100
    experience: Path = Path("runs/experience")
    MAY_GROW = frozenset({"experience"})

    def cells(self) -> list[Cell]:
        """One: all policies learn from the same plans, and are judged on the same tables."""
        return self.grid(self._cell, seed=(0,))

    def _cell(self, seed: int) -> list[Row]:
        most = max(self.num_tables)
        tried, whole = TriedPlans(self.experience / f"{most}-{seed}", most), self._policy(seed)
        learn(whole, tried, lambda words, number: lambda done: None)
        agents = {("", WHOLE): whole}
        for rounds in range(1, len(PLANS)):
            agents["rounds", str(rounds)] = self._policy(seed).fit(tried.experiences(rounds))
        for count in self.num_tables:
            if count < most:
                agents["tables", str(count)] = self._policy(seed).fit(tried.experiences(tables=count))
        for size in self.num_features:
            if size < max(self.num_features):
                agents["random features", str(size)] = self._policy(seed, size).fit(tried.experiences())
        for name, columns in _groups().items():
            agents["without", name] = self._policy(seed, without=columns).fit(tried.experiences())
        promised, gains = judged([*agents.values()], "validation", self.judged_on, lambda done: None)
        return [
            {
                "changed": changed,
                "to": to,
                "table_seed": table_seed,
                "promised": promised[table_seed, index],
                "gain": gains[table_seed, index],
            }
            for index, (changed, to) in enumerate(agents)
            for table_seed in range(self.judged_on)
        ]

    def _policy(self, seed: int, size: int | None = None, without: Sequence[int] = ()) -> CreditRegression:
        config = CreditRegressionConfig(num_features=size or max(self.num_features), without=tuple(without))
        return CreditRegression(config, seed)

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """A line for each policy."""
        rows, lines = results.rows, []
        whole = rows[rows["to"] == WHOLE].set_index("table_seed")["gain"]
        for (changed, to), own in rows.groupby(["changed", "to"], sort=False):
            gain = own.set_index("table_seed")["gain"]
            lines.append(
                {
                    "Policy": f"{changed} {to}".strip(),
                    "Log ratio of the RMSE": mean_interval(-100 * gain).rounded(1),
                    "Minus the whole": "" if to == WHOLE else mean_interval(-100 * (gain - whole)).rounded(1),
                    "Worse than +2": f"{(gain < -WORSE).mean():.0%}",
                    "Kept of its promise": f"{share_kept(own['promised'].to_numpy(), own['gain'].to_numpy()):.0%}",
                    "Correlation with it": f"{np.corrcoef(own['promised'], own['gain'])[0, 1]:.2f}",
                }
            )
        return [("RMSE with mixing against without, averaged predictions, percent, no table left alone", pd.DataFrame(lines))]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """The log ratio of each policy with its interval."""
        groups = results.rows.groupby(["changed", "to"], sort=False)
        by_policy = {f"{changed} {to}".strip(): -100 * own["gain"] for (changed, to), own in groups}
        figure = Figure(figsize=(6, 0.3 * len(by_policy) + 1), layout="constrained")
        axes = figure.subplots()
        draw_differences(axes, by_policy)
        axes.set(xlabel="log ratio of the RMSE to no mixing, percent")
        return [save_figure(figure, out / "carried.png")]


def _groups() -> dict[str, list[int]]:
    """Columns of an observation row that tell the same, by name: a feature and its mean over the table; the whole context."""
    width = len(FEATURES)
    own = {name: [column, width + column] for column, name in enumerate(FEATURES[:_MEANS])}
    return own | {"context": [*range(width, width + len(CONTEXT))]}

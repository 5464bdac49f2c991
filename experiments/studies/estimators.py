"""The estimators on measured tables: what they gain, whether the gain they show is right, and what other models reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import draw_differences, save_figure
from experiments.show.statistics import mean_interval
from experiments.show.tables import Titled
from experiments.study import Datasets, Seeds, Study
from mixrl import MixRLRegressor
from mixrl.estimators.base import Strategy
from mixrl_env import load_dataset
from mixrl_env.metrics import rmse
from mixrl_env.plans import NO_MIXING

NONE, SEARCH = "No mixing", "MixRL (search)"
STRATEGIES: dict[str, Strategy] = {NONE: "none", "MixRL (pretrained)": "pretrained", SEARCH: "search"}
"""Ten networks, averaged alike; only their mixed rows differ."""
OTHERS: dict[str, Callable[[int], Any]] = {
    "Boosted trees": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "Random forest": lambda seed: RandomForestRegressor(random_state=seed),
    "Gaussian process": lambda seed: make_pipeline(
        StandardScaler(),
        GaussianProcessRegressor(ConstantKernel() * RBF(3.0) + WhiteKernel(0.1), normalize_y=True, random_state=seed),
    ),
}
MIXED = "Random forest, MixRL"
"""The forest on its own rows and those that a search of ten seconds chose for it."""
_BUDGET = 10.0
_FARTHEST = -40  # percent; values beyond are drawn at the edge


class Estimators(Study):
    """Settings of the study.

    Attributes:
        datasets: names for `mixrl_env.load_dataset`.
        splits: seeds. On the first, the search is done a second time with another seed.
    """

    kind: Literal["estimators"] = "estimators"
    datasets: Datasets = ("no2",)
    splits: Seeds = (0,)

    def cells(self) -> list[Cell]:
        """One a table and split."""
        return self.grid(self._cell, split_seed=self.splits, dataset=self.datasets)

    def _cell(self, split: int, dataset: str) -> list[Row]:
        data = load_dataset(dataset, split).with_standardized_labels()
        assert data.x_test is not None
        assert data.y_test is not None
        x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])[:, 0]
        models: dict[str, Any] = {
            name: MixRLRegressor(strategy=strategy, random_state=split) for name, strategy in STRATEGIES.items()
        }
        models |= {name: make(split) for name, make in OTHERS.items()}
        models[MIXED] = MixRLRegressor(OTHERS["Random forest"](split), time_budget=_BUDGET, random_state=split)
        rows = []
        for name, model in models.items():
            began = time.monotonic()
            predicted = model.fit(x, y).predict(data.x_test)
            seconds = round(time.monotonic() - began, 1)
            gain = getattr(model, "gain_", (np.nan,) * 3)
            row = {"method": name, "test_rmse": rmse(data.y_test, predicted[:, None]), "num_rows": len(x), "seconds": seconds}
            row |= {"chosen": getattr(model, "chosen_", ""), **dict(zip(("gain", "low", "high"), gain, strict=True))}
            rows.append(row | {"again": ""})
        if split == 0:
            again = MixRLRegressor(strategy="search", random_state=1000 + split).fit(x, y)
            rows[list(models).index(SEARCH)]["again"] = again.chosen_
        return rows

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Log ratios on each table, over all of them; what was chosen; gains that were shown and that were had."""
        rows = results.rows
        return [
            ("Log ratio of the test RMSE to that of no mixing, percent, 95% intervals", _ratios(rows)),
            ("What the search chose: lower RMSE as shown and on test rows, percent of the label's SD", _verdicts(rows)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Log ratios in percent, a panel for each method."""
        logs = log_ratios(results.rows)
        shown = {name: (name, NONE) for name in logs if name != MIXED} | {MIXED: (MIXED, "Random forest")}
        figure = Figure(figsize=(11, 0.24 * logs.index.get_level_values("dataset").nunique() + 1.6), layout="constrained")
        for axes, (name, (ours, theirs)) in zip(figure.subplots(1, len(shown), sharey=True), shown.items(), strict=True):
            against = logs[ours] - logs.get(theirs, 0.0)
            percent = 100 * against.clip(_FARTHEST / 100, -_FARTHEST / 100)
            draw_differences(axes, {str(table): own.to_numpy() for table, own in percent.groupby("dataset", sort=False)})
            axes.set_xlim(_FARTHEST, -_FARTHEST)
            axes.set_title(f"{name}\nagainst {theirs}", fontsize=8)
        figure.supxlabel("log ratio of the test RMSE, percent; left of 0 is better", fontsize=9)
        return [save_figure(figure, out / "estimators.png")]


def log_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Log of the test RMSE over that of no mixing: methods across, (dataset, split_seed) down, tables in the given order."""
    wide = rows.pivot(index=["dataset", "split_seed"], columns="method", values="test_rmse")
    wide = wide.reindex(rows["dataset"].unique(), level="dataset")
    logs: pd.DataFrame = wide.div(wide[NONE], axis=0).map(np.log)
    return logs[[name for name in rows["method"].unique() if name != NONE]]


def _ratios(rows: pd.DataFrame) -> pd.DataFrame:
    logs = 100 * log_ratios(rows)
    lines = [
        {"Table": str(dataset), **{str(name): f"{own[name].mean():+.1f}" for name in logs}}
        for dataset, own in logs.groupby("dataset", sort=False)
    ]
    means = logs.groupby("dataset", sort=False).mean()
    spectra = means[means.index.str.startswith("tecator")]
    for name, some in ((f"mean of {len(means)}", means), (f"mean of {len(spectra)} spectra", spectra)):
        if len(some):
            lines.append({"Table": name, **{str(method): mean_interval(some[method]).rounded(1) for method in means}})
    lines.append({"Table": "worst", **{str(method): f"{means[method].max():+.1f}" for method in means}})
    seconds = {str(method): f"{own['seconds'].mean():.0f}" for method, own in rows.groupby("method")}
    return pd.DataFrame([*lines, {"Table": "seconds a fit", **{str(method): seconds[str(method)] for method in means}}])


def _verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs of the search by their verdict: how often the interval holds the gain on test rows, and another seed agrees."""
    own = rows[rows["method"] == SEARCH].set_index(["dataset", "split_seed"])
    none = rows[rows["method"] == NONE].set_index(["dataset", "split_seed"])["test_rmse"]
    had, again = none - own["test_rmse"], own[own["again"] != ""]
    agrees = (again["again"] == NO_MIXING) == (again["chosen"] == NO_MIXING)
    lines = []
    for verdict, some in (("mix", own[own["chosen"] != NO_MIXING]), ("do not mix", own[own["chosen"] == NO_MIXING])):
        if not len(some):
            continue
        gained, twice = had[some.index], agrees[agrees.index.isin(some.index)]
        lines.append(
            {
                "Verdict": verdict,
                "Runs": str(len(some)),
                "Shown": mean_interval(100 * some["gain"]).rounded(1) if verdict == "mix" else "",
                "Gain on test rows": mean_interval(100 * gained).rounded(1),
                "Gained": f"{(gained > 0).sum()} of {len(some)}" if verdict == "mix" else "",
                "Within the interval": f"{gained.between(some['low'], some['high']).sum()} of {len(some)}",
                "The same with another seed": f"{twice.sum()} of {len(twice)}",
            }
        )
    return pd.DataFrame(lines)

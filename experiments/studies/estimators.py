"""The estimators on measured tables: what they gain, whether the gain they show is right, and what other models reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, draw_differences, save_figure
from experiments.show.statistics import mean_interval
from experiments.show.tables import Titled
from experiments.study import Datasets, Seeds, Study, one_of
from mixrl import MixRLRegressor
from mixrl_env import load_dataset
from mixrl_env.metrics import rmse
from mixrl_env.plans import NO_MIXING

NONE, SEARCH, AGAIN = "No mixing", "MixRL (search)", "MixRL (search), another seed"
FOREST, PROCESS, CATBOOST = "Random forest", "Gaussian process", "CatBoost"
MIXED = {f"{alone}, MixRL": alone for alone in (FOREST, PROCESS, CATBOOST)}
"""The model that is fitted to its own rows and to mixed ones, by the name of both together."""
_BUDGET = 10.0  # seconds of a search before another model
_FARTHEST = -40  # percent; values beyond are drawn at the edge


def _catboost(seed: int) -> Any:
    from catboost import CatBoostRegressor  # an extra, as are all rivals that are not scikit-learn's

    return CatBoostRegressor(random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False)


def _realmlp(seed: int) -> Any:
    from pytabkit import RealMLP_TD_Regressor

    return RealMLP_TD_Regressor(device="cpu", random_state=seed, n_cv=1, n_refit=0, n_threads=1, verbosity=0)


def _gaussian_process(seed: int) -> Any:
    kernel = ConstantKernel() * RBF(3.0) + WhiteKernel(0.1)
    return make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed))


def _with_mixrl(alone: str, seed: int) -> MixRLRegressor:
    return MixRLRegressor(METHODS[alone](seed), time_budget=_BUDGET, random_state=seed)


METHODS: dict[str, Callable[[int], Any]] = {
    NONE: lambda seed: MixRLRegressor(strategy="none", random_state=seed),
    "MixRL (pretrained)": lambda seed: MixRLRegressor(strategy="pretrained", random_state=seed),
    SEARCH: lambda seed: MixRLRegressor(strategy="search", random_state=seed),
    "Boosted trees": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    FOREST: lambda seed: RandomForestRegressor(random_state=seed),
    PROCESS: _gaussian_process,
    CATBOOST: _catboost,
    "RealMLP": _realmlp,
    **{name: partial(_with_mixrl, alone) for name, alone in MIXED.items()},
    AGAIN: lambda seed: MixRLRegressor(strategy="search", random_state=1000 + seed),
}
"""Regressors by name, from a seed, with their own defaults.

The first three and the last are means of ten networks, averaged alike; only their mixed rows differ."""
Method = Annotated[str, one_of([*METHODS], "method")]


class Estimators(Study):
    """Settings of the study.

    Attributes:
        datasets: names for `mixrl_env.load_dataset`.
        splits: seeds.
        methods: of `METHODS`. The search with another seed is done on the first split alone.
    """

    MAY_GROW = Study.MAY_GROW | {"methods"}
    kind: Literal["estimators"] = "estimators"
    datasets: Datasets = ("no2",)
    splits: Seeds = (0,)
    methods: tuple[Method, ...] = tuple(METHODS)

    def cells(self) -> list[Cell]:
        """One a method, table and split."""
        cells = self.grid(self._cell, split_seed=self.splits, dataset=self.datasets, method=self.methods)
        return [cell for cell in cells if cell.labels["method"] != AGAIN or cell.labels["split_seed"] == self.splits[0]]

    def _cell(self, split: int, dataset: str, method: str) -> list[Row]:
        data = load_dataset(dataset, split).with_standardized_labels()
        assert data.x_test is not None
        assert data.y_test is not None
        x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])[:, 0]
        model = METHODS[method](split)
        began = time.monotonic()
        predicted = np.asarray(model.fit(x, y).predict(data.x_test)).reshape(len(data.x_test), 1)
        seconds = round(time.monotonic() - began, 1)
        gain = getattr(model, "gain_", (np.nan,) * 3)
        row = {"test_rmse": rmse(data.y_test, predicted), "num_rows": len(x), "seconds": seconds}
        return [row | {"chosen": getattr(model, "chosen_", ""), **dict(zip(("gain", "low", "high"), gain, strict=True))}]

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
        """Log ratios in percent, a panel for each method; and mean ranks with Nemenyi's critical difference."""
        logs = log_ratios(results.rows)
        figure = Figure(figsize=(14, 0.24 * logs.index.get_level_values("dataset").nunique() + 1.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, logs.shape[1], sharey=True), logs, strict=True):
            theirs = MIXED.get(str(name), NONE)
            against = logs[name] - logs.get(theirs, 0.0)
            percent = 100 * against.clip(_FARTHEST / 100, -_FARTHEST / 100)
            draw_differences(axes, {str(table): own.to_numpy() for table, own in percent.groupby("dataset", sort=False)})
            axes.set_xlim(_FARTHEST, -_FARTHEST)
            axes.set_title(f"{name}\nagainst {theirs}", fontsize=8)
        figure.supxlabel("log ratio of the test RMSE, percent; left of 0 is better", fontsize=9)
        return [save_figure(figure, out / "estimators.png"), save_figure(_draw_ranks(logs), out / "ranks.png")]


def log_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Log of the test RMSE over that of no mixing: methods across, (dataset, split_seed) down, tables in the given order."""
    rows = rows[rows["method"] != AGAIN]
    wide = rows.pivot(index=["dataset", "split_seed"], columns="method", values="test_rmse")
    wide = wide.reindex(rows["dataset"].unique(), level="dataset")
    logs: pd.DataFrame = wide.div(wide[NONE], axis=0).map(np.log)
    return logs[[name for name in rows["method"].unique() if name != NONE]]


def critical_difference(methods: int, tables: int) -> float:
    """Mean ranks that differ by more differ at the level of 5% by Nemenyi's test (Demsar 2006, section 3.2.2)."""
    quantile = float(stats.studentized_range.ppf(0.95, methods, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * tables)))


def _draw_ranks(logs: pd.DataFrame) -> Figure:
    """Mean rank over tables of each method, its mean over splits on each; bars that do not overlap differ."""
    means = logs.groupby("dataset").mean().assign(**{NONE: 0.0})
    ranks = means.rank(axis=1).mean().sort_values()
    half = critical_difference(means.shape[1], len(means)) / 2
    figure = Figure(figsize=(8, 0.28 * len(ranks) + 1.0), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(ranks, range(len(ranks)), xerr=half, fmt="o", color=BLUE, ecolor=GREY, linewidth=4, markersize=6)
    axes.set_yticks(range(len(ranks)), [str(name) for name in ranks.index])
    axes.yaxis.set_inverted(True)
    axes.set_xlabel(f"mean rank over {len(means)} tables; apart where bars do not overlap (Nemenyi, 5%)")
    return figure


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
    had, again = none - own["test_rmse"], rows[rows["method"] == AGAIN].set_index(["dataset", "split_seed"])["chosen"]
    agrees = (again == NO_MIXING) == (own.loc[again.index, "chosen"] == NO_MIXING)
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

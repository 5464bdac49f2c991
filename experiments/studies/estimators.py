"""The estimators on public tables: what they gain over not mixing, over other ways to mix, and over boosted trees."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from experiments.methods import Trial, method_of
from experiments.presets import Settings
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import draw_differences, save_figure
from experiments.show.statistics import mean_interval
from experiments.show.tables import Titled
from experiments.study import Datasets, Seeds, Study
from mixrl import MixRLRegressor
from mixrl.estimators.models import deal, fit_networks, folds_stream
from mixrl.estimators.search import default_config, models_stream
from mixrl_env import MixingProblem, load_dataset
from mixrl_env.data import FloatArray
from mixrl_env.datasets.known import KNOWN
from mixrl_env.metrics import rmse
from mixrl_env.plans import NO_MIXING

NETWORKS = ("No Augmentation", "Original Mixup", "C-Mixup")
"""Five networks of `MixRLRegressor`'s own kind, one a fold, averaged alike; only their mixed rows differ."""
MIXRL = "MixRL"
TREES: dict[str, Callable[[int], Any]] = {
    "Boosted trees": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "Random forest": lambda seed: RandomForestRegressor(random_state=seed),
}
_FOLDS = 5
_FARTHEST = -30  # percent; values beyond are written at the edge
PAIRS = (
    *((MIXRL, other) for other in (*NETWORKS, "Boosted trees")),
    *((f"{name}, {MIXRL}", name) for name in TREES),
)


class Estimators(Study):
    """Settings of the study.

    Attributes:
        datasets: names for `mixrl_env.load_dataset`.
        splits: seeds.
    """

    kind: Literal["estimators"] = "estimators"
    datasets: Datasets = ("no2",)
    splits: Seeds = (0,)

    def cells(self) -> list[Cell]:
        """One a table and split."""
        return self.grid(self._cell, dataset=self.datasets, split_seed=self.splits)

    def _cell(self, dataset: str, split: int) -> list[Row]:
        data = load_dataset(dataset, split).with_standardized_labels()
        assert data.x_test is not None
        assert data.y_test is not None
        x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
        rows = []
        methods: dict[str, Callable[[], tuple[FloatArray, list[str]]]] = {
            name: partial(_networks, name, x, y, data.x_test, split) for name in NETWORKS
        }
        methods[MIXRL] = partial(_estimator, MixRLRegressor(random_state=split, folds=_FOLDS), x, y, data.x_test)
        for name, make in TREES.items():
            methods[name] = partial(_estimator, make(split), x, y, data.x_test)
            methods[f"{name}, {MIXRL}"] = partial(
                _estimator, MixRLRegressor(make(split), random_state=split, folds=_FOLDS), x, y, data.x_test
            )
        for name, predict in methods.items():
            began = time.monotonic()
            predicted, chosen = predict()
            rows.append(
                {
                    "method": name,
                    "test_rmse": rmse(data.y_test, predicted),
                    "chosen": chosen,
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
        return rows

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Errors; differences on each table and over all that were measured; what was chosen, and what it gained."""
        stored = _ordered(results.rows)
        return [
            ("Test RMSE in standard deviations of the label, means over splits", _errors(stored)),
            ("Differences of test RMSE in percent of the second, paired by split, 95% intervals", _differences(stored)),
            ("How often MixRL chose not to mix, and minutes a fit", _answers(stored)),
            ("MixRL - No Augmentation in percent, by how many ways to mix were chosen", _by_answer(stored)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Differences in percent, a panel for each pair of methods."""
        stored = _ordered(results.rows)
        figure = Figure(figsize=(11, 5.6), layout="constrained")
        names = [*dict.fromkeys(stored["dataset"])]
        for axes, (ours, theirs) in zip(figure.subplots(2, 3, sharey=True).flat, PAIRS, strict=True):
            percent = {name: _percent(stored[stored["dataset"] == name], ours, theirs) for name in names}
            draw_differences(axes, percent)
            axes.set_xlim(left=max(axes.get_xlim()[0], _FARTHEST))
            for place, values in enumerate(percent.values()):
                if values.mean() < _FARTHEST:
                    axes.text(
                        0.02,
                        place,
                        f"\N{LEFTWARDS ARROW} {values.mean():.0f}",
                        transform=axes.get_yaxis_transform(),
                        va="center",
                    )
            axes.set_title(f"{ours}\nagainst {theirs}", fontsize=9)
        figure.supxlabel("difference of test RMSE in percent; left of 0 is better", fontsize=9)
        return [save_figure(figure, out / "estimators.png")]


def _networks(method: str, x: FloatArray, y: FloatArray, x_test: FloatArray, split: int) -> tuple[FloatArray, list[str]]:
    """The mean prediction of networks on the folds, weights and batches of `MixRLRegressor`; and the chosen parameters."""
    seed = int(check_random_state(split).randint(2**31 - 1))  # as the estimator draws it
    scaler, predictions, chosen = StandardScaler().fit(y), [], list[str]()
    for number, fold in enumerate(deal(x, scaler.transform(y), _FOLDS, folds_stream(seed))):
        config = replace(default_config(len(fold.data.x_train)), pretrained=False)
        problem = MixingProblem(fold.data, config)
        settings = Settings(agent="none", final_trainings=1, regressor=config.regressor)
        augmented = method_of(method)(Trial(problem, settings, split))
        (predict,) = fit_networks(config)(fold, augmented.sets[:1], [models_stream(seed, number)])
        predictions.append(predict(x_test))
        chosen += [f"{name} = {value:g}" for name, value in augmented.choice.parameters.items()]
    mean: FloatArray = scaler.inverse_transform(np.mean(predictions, axis=0))
    return mean, list(dict.fromkeys(chosen))


def _estimator(model: Any, x: FloatArray, y: FloatArray, x_test: FloatArray) -> tuple[FloatArray, list[str]]:
    predicted = np.asarray(model.fit(x, y[:, 0]).predict(x_test))[:, None]
    return predicted, list(getattr(model, "chosen_", ()))


def _percent(stored: pd.DataFrame, ours: str, theirs: str) -> np.ndarray:
    """Difference of the errors of two methods in percent of the second's, one for each split that has both."""
    by_split = stored.pivot(index="split_seed", columns="method", values="test_rmse")
    percent: np.ndarray = (100 * (by_split[ours] / by_split[theirs] - 1)).dropna().to_numpy()
    return percent


def _ordered(stored: pd.DataFrame) -> pd.DataFrame:
    """Measured tables first, then generated ones."""
    return stored.sort_values("dataset", key=lambda names: names.isin(list(KNOWN)), kind="stable")


def _errors(stored: pd.DataFrame) -> pd.DataFrame:
    means = stored.pivot_table(index="dataset", columns="method", values="test_rmse", sort=False)
    table = pd.DataFrame(
        {"Table": means.index, "Splits": stored.groupby("dataset", sort=False)["split_seed"].nunique().to_numpy()}
    )
    for method in dict.fromkeys(stored["method"]):
        table[method] = [f"{value:.3f}" for value in means[method]]
    return table


def _differences(stored: pd.DataFrame) -> pd.DataFrame:
    by_table = {str(name): rows for name, rows in stored.groupby("dataset", sort=False)}
    measured = [name for name in by_table if name not in KNOWN]
    lines: list[dict[str, str]] = [{"Table": name} for name in by_table] + [{"Table": f"mean of {len(measured)} measured"}]
    for ours, theirs in PAIRS:
        means = []
        for line, rows in zip(lines, by_table.values(), strict=False):
            percent = _percent(rows, ours, theirs)
            means.append(percent.mean())
            line[f"{ours} - {theirs}"] = mean_interval(percent).rounded(1)
        lines[-1][f"{ours} - {theirs}"] = mean_interval(means[: len(measured)]).rounded(1)
    return pd.DataFrame(lines)


def _answers(stored: pd.DataFrame) -> pd.DataFrame:
    table = []
    for dataset, rows in stored.groupby("dataset", sort=False):
        line: dict[str, object] = {"Table": dataset}
        for method in (MIXRL, *(f"{name}, {MIXRL}" for name in TREES)):
            own = rows[rows["method"] == method]
            unmixed = own["chosen"].map(lambda chosen: chosen == [NO_MIXING]).sum()
            line[f"{method}: not to mix"] = f"{unmixed} of {len(own)}"
            line[f"{method}: minutes"] = f"{own['seconds'].mean() / 60:.1f}"
        table.append(line)
    return pd.DataFrame(table)


def _by_answer(stored: pd.DataFrame) -> pd.DataFrame:
    """Without mixing both sides are the same networks; with one way they are as many, and with several MixRL's are more."""
    own = stored[stored["method"] == MIXRL].set_index(["dataset", "split_seed"])
    other = stored[stored["method"] == NETWORKS[0]].set_index(["dataset", "split_seed"])
    percent = 100 * (own["test_rmse"] / other["test_rmse"] - 1)
    ways, unmixed = own["chosen"].map(len), own["chosen"].map(lambda chosen: chosen == [NO_MIXING])
    groups = {"no mixing": unmixed, "one": (ways == 1) & ~unmixed, "several": ways > 1}
    table = [
        {"Ways": name, "Splits": int(which.sum()), "Difference": mean_interval(percent[which]).rounded(1)}
        for name, which in groups.items()
        if which.any()
    ]
    return pd.DataFrame(table)

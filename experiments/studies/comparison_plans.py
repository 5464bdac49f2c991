"""Pictures of plans on tables of one or two features: where the mixed rows lie that a plan keeps and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.runner.store import Results
from experiments.show.figures import BLUE, GREY, ORANGE, save_figure
from experiments.studies.comparison_across import ORACLE
from mixrl_env import RegressionData, load_dataset
from mixrl_env.mixing import mix
from mixrl_env.neighbors import NeighborTable


def draw_plans(results: Results, out: Path) -> list[Path]:
    """One figure a table: the learned plan of its first split, and the oracle's beside it."""
    written = []
    for dataset in map(str, results.rows["dataset"].unique()):
        records = [
            record
            for record in results.where(dataset=dataset).records
            if "search" in record.labels["method"] or record.labels["method"] == ORACLE
        ]
        plans = {(r.labels["split_seed"], r.labels["method"]): results.file(r, "plan.csv") for r in records}
        plans = {key: path for key, path in plans.items() if path.exists()}
        if not plans:
            continue
        split = min(split for split, _ in plans)
        data = load_dataset(dataset, split)
        own = {method: pd.read_csv(path) for (of, method), path in plans.items() if of == split}
        if data.x_train.shape[1] > 2:
            continue
        figure = Figure(figsize=(4.2 * len(own), 3.8), layout="constrained")
        for axes, (method, plan) in zip(figure.subplots(1, len(own), squeeze=False)[0], own.items(), strict=True):
            _draw_plan(axes, data, plan)
            axes.set_title(method)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        written.append(save_figure(figure, out / f"{dataset}_mixed_rows.png"))
    return written


def _draw_plan(axes: Axes, data: RegressionData, plan: pd.DataFrame) -> None:
    x, n = data.standardize_x(data.x_train), len(data.x_train)
    chosen = set(zip(plan["space"], plan["k"], strict=True))
    options = sorted({*chosen, ("data", 16), ("label", 16)})
    neighbors = NeighborTable(x, data.standardize_y(data.y_train), options)
    every = np.arange(n)
    possible = {pair for option in range(len(options)) for pair in _pairs(neighbors, every, np.full(n, option))}
    numbers = {option: number for number, option in enumerate(options)}
    taken = np.array([numbers[option] for option in zip(plan["space"], plan["k"], strict=True)], dtype=np.int64)
    kept = _pairs(neighbors, plan["row"].to_numpy(dtype=np.int64), taken)
    for pairs, name, color, alpha in ((possible - kept, "refused", ORANGE, 0.25), (kept, "kept", BLUE, 0.5)):
        i, j = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
        axes.plot(
            *_places(*mix(data.x_train, data.y_train, i, j, 0.5)), ".", color=color, alpha=alpha, markersize=3, label=name
        )
    axes.plot(*_places(data.x_train, data.y_train), "o", color=GREY, markersize=4, label="training rows")
    axes.set_xlabel("first feature" if x.shape[1] > 1 else "feature")
    axes.set_ylabel("second feature" if x.shape[1] > 1 else "label")


def _pairs(neighbors: NeighborTable, rows: np.ndarray, options: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows that are mixed, the smaller index first."""
    i, j = neighbors.pairs(rows, options)
    return set(zip(np.minimum(i, j).tolist(), np.maximum(i, j).tolist(), strict=True))


def _places(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both features, or the feature and the label."""
    return (x[:, 0], x[:, 1]) if x.shape[1] > 1 else (x[:, 0], y[:, 0])

"""Figures from stored results, drawn as a reader of the paper would expect them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.curves import draw_curve, varied
from experiments.results import cell_folder, read_results, read_stored, slug, stored_table
from experiments.settings import MASK_REGRESSION
from experiments.statistics import BASELINE, paired_difference
from experiments.style import BLUE, GREY, ORANGE
from experiments.tables import read_curve
from mixrl_env import load_dataset

matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})
_SMOOTHING = 10  # updates of the moving mean in the learning curve


def draw_figures(folder: Path, out: Path) -> list[Path]:
    """Draw every figure that the stored results of a comparison allow.

    Args:
        folder: of the study.
        out: where the figures go.

    Returns:
        The files written.
    """
    results = read_results(folder)
    written = []
    for dataset in results["dataset"].unique():
        own = results[results["dataset"] == dataset]
        n_train, n_val = _num_rows(dataset, own)
        splits = sorted(own["split_seed"].unique())
        curves = {split: curve for split in splits if (curve := read_curve(folder, dataset, split)) is not None}
        plans = {split: plan for split in splits if (plan := _read_plan(folder, dataset, split)) is not None}
        if curves:
            written.append(save_figure(_learning_curves(curves), out / f"{dataset}_learning_curve.png"))
        if plans:
            written.append(save_figure(_option_histogram(plans, n_train), out / f"{dataset}_k_histogram.png"))
        for setting, rows in varied(own, {"lam": 0.5, "val_rows": n_val, "train_rows": n_train}).items():
            others = own[(own["method"] == BASELINE) | own["method"].str.startswith(f"{setting} from ")]
            written.append(save_figure(draw_curve(setting, rows, others), out / f"{dataset}_{setting}.png"))
        written.append(save_figure(_method_comparison(own), out / f"{dataset}_methods.png"))
    return written


def _num_rows(dataset: str, results: pd.DataFrame) -> tuple[int, int]:
    """Training and validation rows, as many on every split."""
    if table := stored_table(results):
        train, val, _ = table["sizes"]
        return train, val
    data = load_dataset(dataset, 0)
    return len(data.x_train), len(data.x_val)


def _learning_curves(curves: dict[int, pd.DataFrame]) -> Figure:
    """Validation RMSE of the sampled masks and the policy's health against inner trainings."""
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for (split, curve), shade in zip(curves.items(), np.linspace(1, 0.35, len(curves)), strict=True):
        x = curve["trainings"]
        if len(curves) == 1:
            left.plot(x, curve["env/val_rmse"], color=GREY, linewidth=0.7, alpha=0.6, label="mean of one update")
        smooth = curve["env/val_rmse"].rolling(_SMOOTHING, min_periods=1).mean()
        label = f"mean of {_SMOOTHING} updates" if len(curves) == 1 else f"split {split}"
        left.plot(x, smooth, color=BLUE, alpha=shade, linewidth=1.8, label=label)
        middle.plot(x, curve["policy/p_mean"], color=BLUE, alpha=shade)
        middle.fill_between(
            x,
            (curve["policy/p_mean"] - curve["policy/p_std"]).clip(0, 1),
            (curve["policy/p_mean"] + curve["policy/p_std"]).clip(0, 1),
            color=BLUE,
            alpha=0.08,
            linewidth=0,
        )
        right.plot(x, curve["policy/entropy"], color=ORANGE, alpha=shade)
    left.set(title="Sampled masks", ylabel="validation RMSE", xlabel="inner trainings")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    middle.set(title="Selection probability", ylabel="mean p ± SD over rows", xlabel="inner trainings", ylim=(0, 1))
    right.set(title="Policy entropy", ylabel="nats a row", xlabel="inner trainings", ylim=(0, 0.76))
    right.axhline(np.log(2), color=GREY, linewidth=0.8, linestyle=":")
    right.text(0, np.log(2) + 0.01, "p = ½ everywhere", color=GREY, fontsize=8, va="bottom")
    return figure


def _option_histogram(plans: dict[int, pd.DataFrame], num_rows: int) -> Figure:
    """How often each k was chosen in each space, k = 0 for rows that are not mixed (Fig. 6a)."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes: Axes = figure.subplots()
    full = [plan for plan in plans.values() if len(plan)]  # empty ones have no types, which pandas 2 warns of
    together = pd.concat(full or plans.values())
    ks = np.array(sorted({0, *together["k"]}))
    for space, color, shift in (("data", BLUE, -0.2), ("label", ORANGE, 0.2)):
        chosen = together.loc[together["space"] == space, "k"]
        counts = chosen.value_counts().reindex(ks, fill_value=0)
        counts[0] += len(plans) * num_rows - len(chosen)
        axes.bar(np.arange(len(ks)) + shift, counts, width=0.4, color=color, label=f"{space} distance")
    axes.set(xlabel="k nearest neighbours to mix with (0: not mixed)", ylabel="training rows")
    axes.set_xticks(range(len(ks)), ks, rotation=90 if len(ks) > 20 else 0)
    splits = f"split {next(iter(plans))}" if len(plans) == 1 else f"{len(plans)} splits together"
    axes.set_title(f"Chosen options, {splits}")
    axes.legend(frameon=False)
    return figure


def _method_comparison(results: pd.DataFrame) -> Figure:
    """Test RMSE of every final training, beside its difference to No Augmentation split by split."""
    methods = list(results["method"].unique())
    figure = Figure(figsize=(10, 0.55 * len(methods) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    by_split = results.groupby(["method", "split_seed"])["test_rmse"].mean().unstack("split_seed")
    for position, method in enumerate(methods):
        values = results.loc[results["method"] == method, "test_rmse"]
        left.scatter(values, np.full(len(values), position), s=14, color=BLUE, alpha=0.4, linewidths=0)
        left.scatter(values.mean(), position, marker="|", s=260, color="black")
        if BASELINE in by_split.index and method != BASELINE:
            difference = (by_split.loc[method] - by_split.loc[BASELINE]).dropna()
            right.scatter(difference, np.full(len(difference), position), s=22, color=ORANGE, alpha=0.8, linewidths=0)
            right.scatter(difference.mean(), position, marker="|", s=260, color="black")
    left.set(yticks=range(len(methods)), yticklabels=methods, xlabel="test RMSE of each final training; bar: mean")
    left.set_ylim(len(methods) - 0.5, -0.5)
    right.axvline(0, color=GREY, linewidth=0.8)
    right.set(xlabel=f"difference to {BASELINE}, one dot a split")
    right.tick_params(left=False)
    return figure


def _read_plan(folder: Path, dataset: str, split_seed: int) -> pd.DataFrame | None:
    """The plan of MixRL on a split, or None; of several policies' plans the last, which is the one that learned most."""
    cell = cell_folder(folder, dataset, split_seed)
    folders = (cell, cell / slug("MixRL"), cell / slug(MASK_REGRESSION))
    path = next((path for path in (folder / "plan.csv" for folder in folders) if path.exists()), None)
    if path is None:
        return None
    plan = read_stored(path, ("policy", "space", "k"))
    return plan[plan["policy"] == plan["policy"].iloc[-1]] if len(plan) else plan


def draw_differences(axes: Axes, differences: Mapping[str, npt.ArrayLike]) -> None:
    """One line a name, the first on top: a dot a split, the mean and its 95% interval; a dotted line marks no difference."""
    for place, given in enumerate(differences.values()):
        values = np.asarray(given, dtype=np.float64)
        mean, low, high = paired_difference(values.tolist(), [0.0] * len(values))
        axes.scatter(values, np.full(len(values), place), s=8, color=GREY, alpha=0.6, linewidths=0)
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2)
        axes.plot(mean, place, "o", color=BLUE, markersize=5)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(differences)), differences)
    axes.yaxis.set_inverted(True)


def check_picture(path: Path) -> None:
    """Raise a ValueError, before the work, unless a figure can be written to the path that --out names."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out must end in .png, .svg or .pdf, got {path}")
    if path.is_dir():
        raise ValueError(f"--out is a folder: {path}")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure; returns its path. In place of PNG, it is written in the format of matplotlib's `savefig.format`."""
    if path.suffix == ".png":
        path = path.with_suffix("." + matplotlib.rcParams["savefig.format"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)  # same input, same bytes
    return path

"""Tables and figures of the study that compares agents."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from experiments.show.figures import BLUE, GREY, draw_differences, save_figure
from experiments.show.statistics import Difference, interquartile_difference, paired_difference

NO_AUGMENTATION, NOTHING_LEARNED = "No Augmentation", "nothing learned"
"""The controls: no mixed rows, and every row with options drawn alike (p = 1/2)."""
ALGORITHM_1 = "Algorithm 1"
_SHOWN = (0.25, 0.5, 1.0)
"""Parts of the budget that the table of curves shows."""


def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Learning curves; final regressors."""
    budget = stored["trainings"].max()
    return [
        (
            "Validation RMSE of sampled masks against p = 1/2, interquartile mean over splits, 95% bootstrap intervals",
            _curve_table(curves(stored), budget),
        ),
        ("Final regressors, means over splits; differences paired by split, 95% intervals", _final_table(stored)),
    ]


def curves(stored: pd.DataFrame) -> pd.DataFrame:
    """Of every agent and checkpoint: trainings, gain with low and high, splits, and p.

    The gain is the validation RMSE of masks drawn from the policy, minus that of masks of p = 1/2 on the same split: its
    interquartile mean over splits and a 95% interval. mean_p and sd_p are over rows and options, means over splits.
    """
    masks = stored[stored["level"] == "masks"]
    start = masks[masks["agent"] == NOTHING_LEARNED].set_index("split_seed")["val_rmse"]
    learned = masks[(masks["agent"] != NOTHING_LEARNED) & masks["split_seed"].isin(start.index)]
    rows = []
    for (agent, trainings), own in learned.groupby(["agent", "trainings"], sort=False):
        gain = interquartile_difference(own["val_rmse"].tolist(), start.loc[own["split_seed"]].tolist())
        rows.append((agent, trainings, *gain, len(own), *own[["mean_p", "sd_p"]].mean()))
    return pd.DataFrame(rows, columns=["agent", "trainings", "gain", "low", "high", "splits", "mean_p", "sd_p"])


def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
    """Learning curves, one panel an agent; and what the final regressors gain on validation and on test rows.

    Nothing is drawn before there is an agent and what it is compared with.
    """
    found = curves(stored)
    if found.empty:
        return []
    return [save_figure(_draw_curves(found), out / "curves.png"), save_figure(_draw_final(stored), out / "final.png")]


def _curve_table(found: pd.DataFrame, budget: int) -> pd.DataFrame:
    table = []
    for agent, own in found.groupby("agent", sort=False):
        line: dict[str, object] = {"Agent": agent, "Splits": int(own["splits"].min())}
        for part in _SHOWN:
            reached = own[own["trainings"] <= part * budget]
            nearest = reached.iloc[-1] if len(reached) else None
            text = "" if nearest is None else Difference(*nearest[["gain", "low", "high"]]).text
            line[f"{part * budget:.0f} trainings"] = text
        line["p at the end, mean ± SD"] = f"{own['mean_p'].iloc[-1]:.2f} ± {own['sd_p'].iloc[-1]:.2f}"
        table.append(line)
    return pd.DataFrame(table)


def _final_table(stored: pd.DataFrame) -> pd.DataFrame:
    final = stored[stored["level"] == "final"]
    by_agent = {str(agent): own.set_index("split_seed") for agent, own in final.groupby("agent", sort=False)}
    table = []
    for agent, own in by_agent.items():
        line: dict[str, object] = {
            "Agent": agent,
            "Splits": len(own),
            "Trainings": f"{own['trainings'].mean():.0f}",
            "Minutes": f"{own['seconds'].mean() / 60:.1f}",
            "CPU min.": f"{own['cpu_seconds'].mean() / 60:.1f}",
            "Val. RMSE": f"{own['val_rmse'].mean():.4f}",
            "Test RMSE": f"{own['test_rmse'].mean():.4f}",
            "Averaged": f"{own['test_rmse_averaged'].mean():.4f}",
        }
        for reference in (NOTHING_LEARNED, ALGORITHM_1):
            text = ""
            if agent != reference and reference in by_agent:
                ours, theirs = own["test_rmse"].align(by_agent[reference]["test_rmse"], join="inner")
                text = paired_difference(ours.tolist(), theirs.tolist()).text
            line[f"Test, against {reference}"] = text
        table.append(line)
    return pd.DataFrame(table)


def _draw_curves(found: pd.DataFrame) -> Figure:
    names, columns = list(dict.fromkeys(found["agent"])), 5
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.1 * lines + 0.3), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for name, axes in zip(names, panels.flat, strict=False):
        for other, own in found.groupby("agent", sort=False):
            x, y = [0, *own["trainings"]], [0, *own["gain"]]
            if other == name:
                axes.fill_between(own["trainings"], own["low"], own["high"], color=BLUE, alpha=0.25, linewidth=0)
                axes.plot(x, y, color=BLUE, linewidth=2, zorder=3)
            else:
                axes.plot(x, y, color=GREY, linewidth=0.5, alpha=0.5)
        axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=9)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("inner trainings", fontsize=9)
    figure.supylabel("validation RMSE of sampled masks,\nagainst p = 1/2", fontsize=9)
    return figure


def _draw_final(stored: pd.DataFrame) -> Figure:
    final = stored[stored["level"] == "final"]
    reference = final[final["agent"] == NOTHING_LEARNED].set_index("split_seed")
    names = [name for name in dict.fromkeys(final["agent"]) if name not in (NOTHING_LEARNED, NO_AUGMENTATION)]
    figure = Figure(figsize=(9, 0.32 * len(names) + 1.2), layout="constrained")
    titles = {"val_rmse": "validation rows, which pay the rewards", "test_rmse": "test rows"}
    for axes, (column, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        differences = {}
        for name in names:
            own = final[(final["agent"] == name) & final["split_seed"].isin(reference.index)].set_index("split_seed")
            differences[name] = own[column] - reference.loc[own.index, column]
        draw_differences(axes, differences)
        axes.set(title=title, xlabel=f"RMSE of final regressors, against {NOTHING_LEARNED}")
    return figure

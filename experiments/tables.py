"""Tables from stored results: the paper's figures beside ours, paired differences, and whether REINFORCE learned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from experiments.across import across_tables
from experiments.failures import TLE, methods_beyond_time
from experiments.methods import REFERENCES
from experiments.paper import PUBLISHED
from experiments.results import cell_folder, read_results, read_stored, stored_table
from experiments.statistics import BASELINE, Difference, bootstrap_interval, paired_difference

_LEARNING_SHARE = 10  # the first and the last tenth of a run's updates are compared


def study_tables(folder: Path, splits: Sequence[int] = ()) -> list[tuple[str, pd.DataFrame]]:
    """Every table of a study, with its title.

    Args:
        folder: of the study.
        splits: only these; all if empty.

    Raises:
        ValueError: if the folder holds no results, or none of these splits.
    """
    tables = []
    stored = read_results(folder)
    if splits:
        stored = stored[stored["split_seed"].isin(splits)]
        if stored.empty:
            raise ValueError(f"{folder} holds none of the splits {', '.join(map(str, splits))}")
    if stored["dataset"].nunique() > 1:
        tables += across_tables(stored)
    for dataset, results in stored.groupby("dataset", sort=False):
        tables += [
            (
                f"{dataset}: accuracy, {_which(results)}{' (Tables 2 to 6)' if dataset in PUBLISHED else ''}",
                accuracy_table(results, methods_beyond_time(folder, str(dataset), list(results["method"].unique()))),
            ),
            (f"{dataset}: RMSE differences, paired by split, 95% intervals; negative is better", difference_table(results)),
            (f"{dataset}: the same, averaged predictions on both sides", difference_table(results, averaged=True)),
            (
                f"{dataset}: validation MSE of sampled masks, first and last tenth of learning",
                learning_table(folder, results),
            ),
            (f"{dataset}: averaged predictions, differences to the first variant", variants_table(results)),
        ]
    return [(title, table) for title, table in tables if len(table)]


def _which(results: pd.DataFrame) -> str:
    """The splits of one dataset in words: where a table of the user's own gives its split, seeds are no splits."""
    seeds, own = results["split_seed"].unique(), stored_table(results)
    if own is not None and own["split"]:
        return "the given split" + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")
    return f"split {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} splits"


def accuracy_table(results: pd.DataFrame, beyond_time: Sequence[str] = ()) -> pd.DataFrame:
    """Table 2 for one dataset: one row a method, the paper's figures beside ours where the paper has the dataset.

    "Averaged" is the test RMSE of the mean prediction of a split's final trainings, "Inner runs" the inner trainings that were
    spent to choose the training set.

    With one split, ± is the standard deviation over its final trainings, as in the paper; with several, each split's figure is
    the mean over its final trainings and ± the standard deviation over splits.

    The paper's figures are not printed beside the regression on masks, which is not the paper's.

    Args:
        results: stored rows of one dataset.
        beyond_time: methods that took longer than the time limit; their rows say TLE, as in Tables 4 and 6.
    """
    rows: list[dict[str, object]] = []
    for method, ours in results.groupby("method", sort=False):
        published = PUBLISHED.get(ours["dataset"].iloc[0], {}).get(str(method))
        if json.loads(ours["settings"].iloc[0]).get("agent") == "mask_regression":
            published = None
        minutes = ours.drop_duplicates("split_seed")["seconds"].median() / 60
        rows.append(
            {
                "Method": method,
                "Paper RMSE": "" if published is None else f"{published.rmse:.4f}",
                "Test RMSE": _mean_and_sd(ours, "test_rmse"),
                "Averaged": f"{ours['test_rmse_averaged'].mean():.4f}",
                "Paper R²": "" if published is None else f"{published.r2:.4f}",
                "Test R²": _mean_and_sd(ours, "test_r2"),
                "Val. RMSE": _mean_and_sd(ours, "val_rmse"),
                "Inner runs": f"{ours['trainings'].mean():.0f}",
                "Min.": f"{minutes:.1f}",
            }
        )
    for method in beyond_time:
        rows.append({**dict.fromkeys(rows[0], ""), "Method": method, "Test RMSE": TLE, "Test R²": TLE})
    table = pd.DataFrame(rows)
    return table if results["dataset"].iloc[0] in PUBLISHED else table.drop(columns=["Paper RMSE", "Paper R²"])


def difference_table(results: pd.DataFrame, averaged: bool = False) -> pd.DataFrame:
    """RMSE differences on the same split, mean and 95% interval, for one dataset.

    Every method against No Augmentation, then MixRL against the other baselines.

    Args:
        results: stored rows of one dataset.
        averaged: of the mean prediction of a split's final regressors; False takes their mean RMSE, as the paper does.
    """
    by_split = _by_split(results, averaged)
    methods = list(results["method"].unique())
    learned = [method for method in methods if method not in REFERENCES]
    baselines = [method for method in methods if method in REFERENCES and method != BASELINE]
    pairs = [(method, BASELINE) for method in (*baselines, *learned) if BASELINE in methods]
    pairs += [(method, baseline) for method in learned for baseline in baselines]
    return _differences((f"{method} - {other}", by_split[method], by_split[other]) for method, other in pairs)


def variants_table(results: pd.DataFrame) -> pd.DataFrame:
    """Every further MixRL of a study against its first, mean predictions on both sides; empty if there is one."""
    by_split = _by_split(results, averaged=True)
    first, *others = [method for method in results["method"].unique() if method not in REFERENCES] or [""]
    return _differences((f"{method} - {first}", by_split[method], by_split[first]) for method in others)


def _by_split(results: pd.DataFrame, averaged: bool) -> dict[str, pd.DataFrame]:
    """Of each method test_rmse and val_rmse by split: mean over final regressors, or of their mean prediction."""
    suffix = "_averaged" if averaged else ""
    columns = {f"{part}_rmse{suffix}": f"{part}_rmse" for part in ("test", "val")}
    return {
        str(method): rows.groupby("split_seed", sort=False)[list(columns)].mean().rename(columns=columns)
        for method, rows in results.groupby("method", sort=False)
    }


def _differences(pairs: Iterable[tuple[str, pd.DataFrame, pd.DataFrame]]) -> pd.DataFrame:
    """One row for each pair, from its name and what `_by_split` has of either side, over the splits that both have.

    Intervals of differences are Student's t; "Bootstrap" is that of the test RMSE by resampling splits.
    """
    rows = []
    for name, ours, reference in pairs:
        ours, reference = ours.align(reference, join="inner")  # an interrupted study is still readable
        if not len(ours):
            continue
        test = paired_difference(ours["test_rmse"].tolist(), reference["test_rmse"].tolist())
        val = paired_difference(ours["val_rmse"].tolist(), reference["val_rmse"].tolist())
        drawn = bootstrap_interval(ours["test_rmse"].tolist(), reference["test_rmse"].tolist())
        bootstrap = {} if drawn is None else {"Bootstrap": "[{:+.4f}, {:+.4f}]".format(*drawn)}
        rows.append(
            {
                "Methods": name,
                "Test RMSE difference": test.text,
                **bootstrap,
                "Percent": f"{100 * test.mean / reference['test_rmse'].mean():+.1f}%",
                "Val. RMSE difference": val.text,
                "Splits won (test)": f"{int((ours['test_rmse'] < reference['test_rmse']).sum())} of {len(ours)}",
            }
        )
    return pd.DataFrame(rows).fillna("")


def learning_table(folder: Path, results: pd.DataFrame) -> pd.DataFrame:
    """Mean validation MSE of the sampled masks in the first and the last tenth of REINFORCE's updates, split by split.

    A split's interval is Welch's, over updates; the last row is the paired difference over splits.
    """
    starts, ends, rows = [], [], []
    for split in results["split_seed"].unique():
        curve = read_curve(folder, results["dataset"].iloc[0], split)
        if curve is None:
            continue
        part = max(1, len(curve) // _LEARNING_SHARE)
        first, last = curve["env/val_loss"].iloc[:part], curve["env/val_loss"].iloc[-part:]
        starts.append(float(first.mean()))
        ends.append(float(last.mean()))
        difference = Difference(ends[-1] - starts[-1], np.nan, np.nan)
        if part > 1:
            interval = stats.ttest_ind(last, first, equal_var=False).confidence_interval(0.95)
            difference = difference._replace(low=float(interval.low), high=float(interval.high))
        rows.append((str(split), f"{starts[-1]:.4f}", f"{ends[-1]:.4f}", difference.text))
    if len(rows) > 1:
        paired = paired_difference(ends, starts)
        rows.append(("all, paired", f"{np.mean(starts):.4f}", f"{np.mean(ends):.4f}", paired.text))
    return pd.DataFrame(rows, columns=["Split", "MSE at start", "MSE at end", "Difference"])


def read_curve(folder: Path, dataset: str, split_seed: int) -> pd.DataFrame | None:
    """The learning curve of REINFORCE on a split, or None if there is none: a regression on masks learns at the very end."""
    path = cell_folder(folder, dataset, split_seed) / "progress.csv"
    curve = read_stored(path) if path.exists() else pd.DataFrame()
    return curve if "policy/entropy" in curve else None


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown."""
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_rich(title: str, table: pd.DataFrame, width: int) -> Table:
    """A table for a terminal of so many columns; where it is too wide, cells wrap between words."""
    out = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    cells = [[str(column), *map(str, table[column])] for column in table.columns]
    fits = sum(max(map(len, column)) + 1 for column in cells) <= width
    for column in cells:
        out.add_column(column[0], width=None if fits else max(map(len, " ".join(column).split())))
    for row in zip(*(column[1:] for column in cells), strict=True):
        out.add_row(*row)
    return out


def print_tables(tables: Iterable[tuple[str, pd.DataFrame]], console: Console, markdown: bool) -> None:
    """Print titles and tables, for the terminal or as Markdown."""
    for title, table in tables:
        if markdown:
            print(f"{title}\n\n{to_markdown(table)}\n")
        else:
            console.print(to_rich(title, table, console.width))


def _mean_and_sd(rows: pd.DataFrame, column: str) -> str:
    by_split = rows.groupby("split_seed")[column].mean()
    spread = (by_split if len(by_split) > 1 else rows[column]).std(ddof=1)
    return f"{rows[column].mean():.4f} ± {spread:.4f}"

"""Tables from stored results: the paper's figures beside ours, paired differences, and whether REINFORCE learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from experiments.paper import TABLE_2
from experiments.results import cell_folder, read_results

BASELINE = "No Augmentation"
_LEARNING_SHARE = 10  # the first and the last tenth of a run's updates are compared


class Difference(NamedTuple):
    """Mean of paired differences over splits with a 95% t interval; the interval is NaN for a single split."""

    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Mean and, where there is one, the interval."""
        if np.isnan(self.low):
            return f"{self.mean:+.4f}"
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Values minus reference, pair by pair.

    Args:
        values: one number a split.
        reference: one number a split, in the same order.
    """
    differences = np.subtract(values, reference)
    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean, np.nan, np.nan)
    if np.ptp(differences) == 0:
        return Difference(mean, mean, mean)
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high))


def accuracy_table(folder: Path) -> pd.DataFrame:
    """Table 2 for each dataset of a study: one row a method, figures as text.

    Each split's figure is the mean over its final trainings. With one split, +- is the standard deviation over its final
    trainings, as in the paper; with several it is the standard deviation over splits.
    """
    results = read_results(folder)
    rows = []
    for dataset, of_dataset in results.groupby("dataset", sort=False):
        for method, ours in of_dataset.groupby("method", sort=False):
            published = TABLE_2.get(str(dataset), {}).get(str(method))
            minutes = ours.drop_duplicates("split_seed")["seconds"].mean() / 60
            row = {
                "Dataset": dataset,
                "Method": method,
                "Paper RMSE": "" if published is None else f"{published.rmse:.4f} ± {published.rmse_sd:.4f}",
                "Test RMSE": _mean_and_sd(ours, "test_rmse"),
                "Paper R²": "" if published is None else f"{published.r2:.4f} ± {published.r2_sd:.4f}",
                "Test R²": _mean_and_sd(ours, "test_r2"),
                "Validation RMSE": _mean_and_sd(ours, "val_rmse"),
                "Splits": str(ours["split_seed"].nunique()),
                "Inner trainings": f"{ours['trainings'].mean():.0f}",
                "Minutes": f"{minutes:.1f}",
            }
            rows.append(row)
    return pd.DataFrame(rows)


def difference_table(folder: Path) -> pd.DataFrame:
    """RMSE of each method minus that of No Augmentation, paired by split, with 95% intervals; negative is better."""
    results = read_results(folder)
    rows = []
    for dataset, of_dataset in results.groupby("dataset", sort=False):
        by_split = of_dataset.groupby(["method", "split_seed"], sort=False)[["test_rmse", "val_rmse"]].mean()
        if BASELINE not in by_split.index.get_level_values("method"):
            continue
        reference = by_split.loc[BASELINE]
        for method in of_dataset["method"].unique():
            if method == BASELINE:
                continue
            ours = by_split.loc[method]
            splits = ours.index.intersection(reference.index)
            if not len(splits):
                continue
            ours, paired = ours.loc[splits], reference.loc[splits]
            test = paired_difference(ours["test_rmse"].tolist(), paired["test_rmse"].tolist())
            rows.append(
                {
                    "Dataset": dataset,
                    "Method": method,
                    "Test RMSE difference": test.text,
                    "in percent": f"{100 * test.mean / paired['test_rmse'].mean():+.1f}%",
                    "Validation RMSE difference": paired_difference(
                        ours["val_rmse"].tolist(), paired["val_rmse"].tolist()
                    ).text,
                    "Splits won": f"{int((ours['test_rmse'] < paired['test_rmse']).sum())} of {len(splits)}",
                }
            )
    return pd.DataFrame(rows)


def learning_table(folder: Path) -> pd.DataFrame:
    """Mean validation MSE of the sampled masks in the first and the last tenth of REINFORCE's updates, split by split.

    The last row is the paired difference over splits with its 95% interval.
    """
    rows = []
    cells = read_results(folder)[["dataset", "split_seed"]].drop_duplicates()
    for dataset, split in zip(cells["dataset"], cells["split_seed"], strict=True):
        curve = read_curve(folder, dataset, split)
        if curve is None:
            continue
        part = max(1, len(curve) // _LEARNING_SHARE)
        loss = curve["env/val_loss"]
        rows.append((dataset, str(split), loss.iloc[:part].mean(), loss.iloc[-part:].mean()))
    if not rows:
        return pd.DataFrame()
    start, end = [row[2] for row in rows], [row[3] for row in rows]
    table = [(d, s, f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}") for d, s, a, b in rows]
    table.append((rows[0][0], "all", f"{np.mean(start):.4f}", f"{np.mean(end):.4f}", paired_difference(end, start).text))
    return pd.DataFrame(table, columns=["Dataset", "Split", "MSE at start", "MSE at end", "Difference"])


def read_curve(folder: Path, dataset: str, split_seed: int) -> pd.DataFrame | None:
    """The learning curve of MixRL on a split, or None if there is none."""
    path = cell_folder(folder, dataset, split_seed) / "progress.csv"
    return pd.read_csv(path) if path.exists() else None


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown."""
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean_and_sd(rows: pd.DataFrame, column: str) -> str:
    by_split = rows.groupby("split_seed")[column].mean()
    spread = (by_split if len(by_split) > 1 else rows[column]).std(ddof=1)
    return f"{rows[column].mean():.4f} ± {spread:.4f}"

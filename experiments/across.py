"""One study, many datasets: who wins how often, and whether the preset ever loses."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.methods import REFERENCES
from experiments.statistics import BASELINE, paired_difference

_SAFE = (BASELINE, "Global kNN")
"""What somebody would have used otherwise: MixRL should not lose to the better of the two."""


def across_tables(results: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Titles and tables over all datasets of a study."""
    return [
        ("All datasets: test RMSE, mean over splits; the mean prediction of the final regressors in brackets", _means(results)),
        ("All datasets: splits won on test rows by averaged predictions, of all pairs of methods", _wins(results)),
        ("Does MixRL lose? Averaged predictions against the better of No Augmentation and Global kNN", never_loses(results)),
    ]


def _means(results: pd.DataFrame) -> pd.DataFrame:
    """Datasets down, methods across."""
    table = []
    for dataset, rows in results.groupby("dataset", sort=False):
        line: dict[str, object] = {"Dataset": dataset, "Splits": rows["split_seed"].nunique()}
        for method, own in rows.groupby("method", sort=False):
            line[str(method)] = f"{own['test_rmse'].mean():.4f} ({own['test_rmse_averaged'].mean():.4f})"
        table.append(line)
    return pd.DataFrame(table).fillna("")


def _wins(results: pd.DataFrame) -> pd.DataFrame:
    """How often the row's method has a lower test RMSE than the column's, over datasets and splits."""
    wide = results.groupby(["dataset", "split_seed", "method"])["test_rmse_averaged"].mean().unstack("method")
    methods = list(results["method"].unique())
    table = []
    for ours in methods:
        line = {"Method": ours}
        for other in methods:
            both = wide[[ours, other]].dropna() if ours != other else pd.DataFrame()
            line[f"beats {other}"] = f"{int((both[ours] < both[other]).sum())} of {len(both)}" if len(both) else ""
        table.append(line)
    return pd.DataFrame(table)


def never_loses(results: pd.DataFrame) -> pd.DataFrame:
    """Every MixRL against the better baseline of each dataset, beside what re-training alone does to a test RMSE.

    "Noise of re-training" is the standard deviation of the test RMSE between trainings on the same rows, pooled over the splits
    of the baseline.
    """
    table = []
    for dataset, rows in results.groupby("dataset", sort=False):
        safe = [method for method in _SAFE if method in set(rows["method"])]
        by_method = {method: own.groupby("split_seed")["test_rmse_averaged"].mean() for method, own in rows.groupby("method")}
        if not safe:
            continue
        best = min(safe, key=lambda method: float(by_method[method].mean()))
        repeats = rows[rows["method"] == best].groupby("split_seed")["test_rmse"]
        noise = float(np.sqrt(repeats.var(ddof=1).mean()))
        for method in (name for name in rows["method"].unique() if name not in REFERENCES):
            ours, reference = by_method[method].align(by_method[best], join="inner")
            difference = paired_difference(ours.tolist(), reference.tolist())
            within = "" if np.isnan(difference.high) else "yes" if difference.high <= noise else "no"
            table.append(
                {
                    "Dataset": dataset,
                    "Method": method,
                    "Better baseline": best,
                    "Difference": difference.text,
                    "Noise of re-training": f"{noise:.4f}",
                    "Upper bound within noise": within,
                }
            )
    return pd.DataFrame(table)

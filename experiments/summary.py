"""All comparisons on one table: every MixRL beside No Augmentation, the best baseline and the paper's figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.methods import REFERENCES
from experiments.results import read_results
from experiments.settings import MASK_REGRESSION
from experiments.statistics import BASELINE
from experiments.tables import accuracy_table, difference_table

_OF_TABLE_2 = ("MixRL", "MixRL + AdaMixUp", "MixRL (Algorithm 1)", MASK_REGRESSION, f"{MASK_REGRESSION} + AdaMixUp")


def summary_table(folders: Sequence[Path]) -> pd.DataFrame:
    """One row for each MixRL of each dataset of each comparison, from the studies' own tables; empty if none compares.

    Of a study of variants only MixRL itself is shown, or the first variant where none has that name.
    Differences are of averaged predictions on both sides. The best baseline is the one whose averaged predictions have the
    lowest RMSE on the test rows, a choice in its favour.
    """
    rows = []
    for folder in folders:
        if (folder / "results.csv").exists():
            for dataset, results in read_results(folder).groupby("dataset", sort=False):
                rows += [{"Study": folder.name, "Dataset": dataset, **row} for row in _rows(results)]
    return pd.DataFrame(rows)


def _rows(results: pd.DataFrame) -> list[dict[str, object]]:
    accuracy = accuracy_table(results).set_index("Method")
    differences = difference_table(results, averaged=True)
    texts = dict(zip(differences["Methods"], differences["Test RMSE difference"], strict=True)) if len(differences) else {}
    means = results.groupby("method")[["test_rmse", "test_rmse_averaged"]].mean()
    baselines = means.loc[means.index.isin(REFERENCES), "test_rmse_averaged"]
    learned = [str(method) for method in accuracy.index if method not in REFERENCES]
    best = str(baselines.idxmin()) if len(baselines) else ""
    return [
        {
            "Method": method,
            "Splits": results.loc[results["method"] == method, "split_seed"].nunique(),
            "Paper RMSE": accuracy.loc[method].get("Paper RMSE", ""),
            "Test RMSE": f"{float(means['test_rmse'][method]):.4f}",
            f"Difference to {BASELINE}": texts.get(f"{method} - {BASELINE}", ""),
            "Best baseline": best,
            "Difference to it": texts.get(f"{method} - {best}", ""),
        }
        for method in [name for name in learned if name in _OF_TABLE_2] or learned[:1]
    ]

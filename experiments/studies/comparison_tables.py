"""Tables of a comparison: the paper's figures beside ours, paired differences, and whether REINFORCE learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from experiments.methods import REFERENCES
from experiments.presets import MASK_REGRESSION
from experiments.published import PUBLISHED
from experiments.runner.store import Record, Results
from experiments.show.statistics import BASELINE, Difference, bootstrap_interval, paired_difference
from experiments.show.tables import Titled

TLE = "TLE"
"""The paper's word for a method that took longer than the time limit."""
MAIN = ("MixRL", MASK_REGRESSION)
_LEARNING_SHARE = 10  # the first and the last tenth of a run's updates are compared


def comparison_tables(results: Results) -> list[Titled]:
    """Every table of a comparison, with its title; empty ones left out."""
    rows = results.rows
    tables: list[Titled] = []
    for dataset, own in rows.groupby("dataset", sort=False):
        of_dataset = results.where(dataset=dataset)
        stopped = [str(record.labels["method"]) for record in of_dataset.failed if (record.failure or {})["kind"] == TLE]
        beyond_time = [method for method in dict.fromkeys(stopped) if method not in set(own["method"])]
        paper = " (Tables 2 to 6)" if dataset in PUBLISHED else ""
        tables += [
            (f"{dataset}: accuracy, {_which(of_dataset)}{paper}", accuracy_table(own, beyond_time)),
            (f"{dataset}: RMSE differences, paired by split, 95% intervals; negative is better", difference_table(own)),
            (f"{dataset}: the same, averaged predictions on both sides", difference_table(own, averaged=True)),
            (f"{dataset}: validation MSE of sampled masks, first and last tenth of learning", learning_table(of_dataset)),
            (f"{dataset}: averaged predictions, differences to the first variant", variants_table(own)),
        ]
    return [(title, table) for title, table in tables if len(table)]


def _which(results: Results) -> str:
    """The splits of one dataset in words: where a table of the user's own gives its split, seeds are no splits."""
    seeds, own = results.rows["split_seed"].unique(), results.records[0].settings.get("table")
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
        if ours["agent"].iloc[0] == "mask_regression":
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


def learning_table(results: Results) -> pd.DataFrame:
    """Mean validation MSE of the sampled masks in the first and the last tenth of REINFORCE's updates, split by split.

    A split's interval is Welch's, over updates; the last row is the paired difference over splits.

    Args:
        results: of one dataset.
    """
    starts, ends, rows = [], [], []
    for split, curve in learning_curves(results).items():
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


def learning_curves(results: Results) -> dict[int, pd.DataFrame]:
    """The learning curve of REINFORCE by split: of the only MixRL, or of the one that is called so.

    A regression on masks has no curve: it learns at the very end.
    """
    curves = {}
    for record in mixrl_records(results):
        path = results.file(record, "progress.csv")
        curve = pd.read_csv(path) if path.exists() else pd.DataFrame()
        if "policy/entropy" in curve:
            curves[int(record.labels["split_seed"])] = curve
    return curves


def mixrl_records(results: Results) -> list[Record]:
    """The records of a comparison's only learned method, or of those called "MixRL" or "MixRL (mask regression)"."""
    learned = [record for record in results.records if record.labels["method"] not in REFERENCES]
    names = {record.labels["method"] for record in learned}
    return [record for record in learned if len(names) == 1 or record.labels["method"] in MAIN]


def _mean_and_sd(rows: pd.DataFrame, column: str) -> str:
    by_split = rows.groupby("split_seed")[column].mean()
    spread = (by_split if len(by_split) > 1 else rows[column]).std(ddof=1)
    return f"{rows[column].mean():.4f} ± {spread:.4f}"

"""Numbers in tables, and that the documents show what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.results import read_results
from experiments.tables import accuracy_table, difference_table, learning_table, paired_difference, study_tables, to_markdown

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "results" / "no2-default"


def some_results() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"dataset": "no2", "method": method, "split_seed": split, "seed": seed, "trainings": 3, "seconds": 60.0 * (split + 1)}
        for method in ("No Augmentation", "Global kNN", "MixRL")
        for split in range(4)
        for seed in range(2)
    ]
    numbers = {name: rng.normal(0.5, 0.02, len(rows)) for name in ("val_rmse", "test_rmse", "test_r2")}
    return pd.DataFrame(rows).assign(**numbers)


def test_paired_difference_is_the_t_interval() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=7), rng.normal(size=7)
    d = a - b
    half = stats.t.ppf(0.975, 6) * d.std(ddof=1) / np.sqrt(7)
    assert paired_difference(a.tolist(), b.tolist()) == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))


def test_paired_difference_without_spread_or_with_one_split() -> None:
    assert paired_difference([2.0, 3.0], [1.0, 2.0]) == (1.0, 1.0, 1.0)
    assert paired_difference([2.0], [1.5]).text == "+0.5000"


def test_accuracy_table_against_a_loop() -> None:
    results = some_results()
    table = accuracy_table(results).set_index("Method")
    for method in ("No Augmentation", "MixRL"):
        of_method = [row for row in results.to_dict("records") if row["method"] == method]
        by_split = [np.mean([row["test_rmse"] for row in of_method if row["split_seed"] == split]) for split in range(4)]
        assert table.loc[method, "Test RMSE"] == f"{np.mean(by_split):.4f} ± {np.std(by_split, ddof=1):.4f}"
    assert table.loc["MixRL", "Paper RMSE"] == "0.5012"
    assert table.loc["MixRL", "Min."] == "2.5"
    one = results[results["split_seed"] == 0]
    values = one.loc[one["method"] == "MixRL", "test_rmse"]
    assert accuracy_table(one).set_index("Method").loc["MixRL", "Test RMSE"] == f"{values.mean():.4f} ± {values.std():.4f}"


def test_difference_table_pairs_by_split() -> None:
    results = some_results()
    table = difference_table(results).set_index("Methods")
    assert list(table.index) == ["Global kNN - No Augmentation", "MixRL - No Augmentation", "MixRL - Global kNN"]
    mean = results.groupby(["method", "split_seed"])["test_rmse"].mean()
    expected = paired_difference(mean["MixRL"].tolist(), mean["Global kNN"].tolist())
    assert table.loc["MixRL - Global kNN", "Test RMSE difference"] == expected.text
    # A method that lacks a split is compared on the splits that both have.
    fewer = results[(results["method"] != "MixRL") | (results["split_seed"] < 3)]
    assert difference_table(fewer).set_index("Methods").loc["MixRL - No Augmentation", "Splits won (test)"].endswith("of 3")


def test_stored_study_is_complete_and_its_claims_hold() -> None:
    """REINFORCE learns on splits 1 to 4, where the sampled masks' loss falls; on split 0 the policy collapses at the end."""
    results = read_results(STUDY)
    assert set(results["split_seed"]) == set(range(5))
    assert (results.groupby(["method", "split_seed"]).size() == 5).all()
    assert results["preset"].eq("default").all()
    learning = learning_table(STUDY, results).set_index("Split")["Difference"]
    assert list(learning.index) == ["0", "1", "2", "3", "4", "all, paired"]
    highs = [float(difference.split(",")[1].rstrip("]")) for difference in learning[["1", "2", "3", "4"]]]
    assert max(highs) < 0


def test_readme_shows_the_stored_tables() -> None:
    readme = (ROOT / "README.md").read_text()
    for title, table in study_tables(STUDY):
        assert to_markdown(table) in readme, f"README.md lacks the table '{title}' of {STUDY}"

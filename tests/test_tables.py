"""Numbers in tables, and that the documents show what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.benchmark.run import Benchmark
from experiments.kinds import KINDS, kind_of
from experiments.pages import filled, tables_of
from experiments.show.statistics import bootstrap_interval, paired_difference
from experiments.studies.comparison_tables import (
    accuracy_table,
    difference_table,
    variants_table,
)

ROOT = Path(__file__).parent.parent


def some_results() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"dataset": "no2", "method": method, "split_seed": split, "seed": seed, "trainings": 3, "seconds": 60.0 * (split + 1)}
        for method in ("No Augmentation", "Global kNN", "MixRL")
        for split in range(4)
        for seed in range(2)
    ]
    names = ("val_rmse", "test_rmse", "test_r2", "val_rmse_averaged", "test_rmse_averaged")
    return pd.DataFrame(rows).assign(**{name: rng.normal(0.5, 0.02, len(rows)) for name in names}, agent="")


def test_bootstrap_interval_agrees_with_resampling_by_hand() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=40) + 0.3, rng.normal(size=40)
    means = (a - b)[rng.integers(40, size=(20_000, 40))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    interval = bootstrap_interval(a.tolist(), b.tolist())
    assert interval == pytest.approx((low, high), abs=0.03)  # symmetric data: BCa is close to plain percentiles
    assert interval == bootstrap_interval(a.tolist(), b.tolist())


def test_bootstrap_needs_five_splits_and_bears_constant_differences() -> None:
    assert bootstrap_interval([1, 2, 3, 4], [0, 0, 0, 0]) is None
    assert bootstrap_interval([1.5] * 5, [1.0] * 5) == (0.5, 0.5)


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
    ours = accuracy_table(results.assign(agent="mask_regression")).set_index("Method")
    assert (ours["Paper RMSE"] == "").all()  # the paper has no regression on masks
    other = accuracy_table(results.assign(dataset="auto"))
    assert not [column for column in other if "Paper" in column]
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


def test_averaged_predictions_have_their_own_differences() -> None:
    results = some_results()
    mean = results.groupby(["method", "split_seed"])["test_rmse_averaged"].mean()
    expected = paired_difference(mean["MixRL"].tolist(), mean["Global kNN"].tolist())
    table = difference_table(results, averaged=True).set_index("Methods")
    assert table.loc["MixRL - Global kNN", "Test RMSE difference"] == expected.text


def test_variants_are_compared_with_the_first() -> None:
    results = some_results()
    assert variants_table(results).empty  # one MixRL has nobody to be compared with
    results.loc[results["method"] == "Global kNN", "method"] = "another"  # comes before MixRL
    table = variants_table(results)
    assert table["Methods"].tolist() == ["MixRL - another"]
    ours, first = (
        results[results["method"] == name].groupby("split_seed")["test_rmse_averaged"].mean() for name in ("MixRL", "another")
    )
    assert table["Test RMSE difference"].item() == paired_difference(ours.tolist(), first.tolist()).text
    assert table["Splits won (test)"].item() == f"{(ours < first).sum()} of 4"
    late = results[(results["method"] != "MixRL") | (results["split_seed"] > 1)]  # an interrupted study
    assert variants_table(late)["Splits won (test)"].item().endswith("of 2")


def test_every_kind_of_stored_study_opens() -> None:
    folders = {kind_of(path.parent): path.parent for path in sorted((ROOT / "results").glob("*/study.toml"))}
    assert set(folders) == set(KINDS)
    for kind, folder in folders.items():
        assert all(len(table) for _, table in tables_of(folder)) or kind is Benchmark  # which had no GPU


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_pages_show_the_stored_tables(page: str) -> None:
    text = (ROOT / page).read_text()
    assert filled(text, ROOT) == text, f"python -m experiments pages {page}"


def test_a_page_that_asks_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        filled("<!-- tables: nowhere -->\n<!-- /tables -->", tmp_path)
    with pytest.raises(ValueError, match="no number 99"):
        filled("<!-- tables: results/no2 99 -->\n<!-- /tables -->", ROOT)

"""Log ratios and normalised scores over many tables, against loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.studies.comparison_across import ORACLE, SINGLE, across_tables, draw_across, log_ratios

SEARCH = "MixRL (plan search)"
METHODS = ("No Augmentation", SINGLE, ORACLE, SEARCH)


def some_rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"dataset": dataset, "split_seed": split, "method": method, "seed": seed, "test_rmse_averaged": value}
        for dataset in ("a", "b")
        for split in range(6)
        for method, factor in zip(METHODS, (1.0, 0.9, 0.5, 0.7), strict=True)
        for value in [factor * rng.uniform(0.95, 1.05)]
        for seed in range(2)
    )


def test_ratios_and_scores_against_loops() -> None:
    rows = some_rows()
    rmse = {key: own["test_rmse_averaged"].iloc[0] for key, own in rows.groupby(["dataset", "split_seed", "method"])}
    (_, ratios), (_, against), (_, scores) = across_tables(rows)
    for line, dataset in zip(ratios.to_dict("records"), ("a", "b"), strict=False):
        expected = [100 * np.log(rmse[dataset, split, SEARCH] / rmse[dataset, split, METHODS[0]]) for split in range(6)]
        assert line[SEARCH].startswith(f"{np.mean(expected):+.1f} [")
        single, oracle, ours = (
            np.mean([np.log(rmse[dataset, split, name] / rmse[dataset, split, METHODS[0]]) for split in range(6)])
            for name in (SINGLE, ORACLE, SEARCH)
        )
        score = scores.set_index("Table").loc[dataset, SEARCH]
        assert score.startswith(f"{(single - ours) / (single - oracle):.2f} [")
    assert set(against["Against"]) == {"No Augmentation", SINGLE, ORACLE}
    assert ratios["Table"].tolist() == ["a", "b", "mean of 2"]


def test_splits_that_lack_a_method_are_left_out(tmp_path: Path) -> None:
    rows = some_rows()
    rows = rows[(rows["method"] != SEARCH) | (rows["split_seed"] > 1)]
    assert len(log_ratios(rows)) == 2 * 4
    assert draw_across(rows, tmp_path).stat().st_size > 1000

"""Curves over one setting: which rows they are made of, and what they show."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments.studies.comparison_figures import draw_curve, varied


def some_results(methods: dict[str, dict[int, float]]) -> pd.DataFrame:
    """Two final trainings for every method and split, around the RMSE given for it."""
    rows = [
        {"method": method, "split_seed": split, "test_rmse": rmse + shift, "seconds": 120.0}
        for method, by_split in methods.items()
        for split, rmse in by_split.items()
        for shift in (-0.01, 0.01)
    ]
    return pd.DataFrame(rows)


def test_variants_of_one_setting_are_found_in_the_order_of_their_values() -> None:
    found = varied(
        some_results(
            {
                "No Augmentation": {0: 0.5},
                "val_rows = 100": {0: 0.4},
                "val_rows = 25": {0: 0.45},
                "MixRL": {0: 0.4},
                "lam from Beta(2, 2)": {0: 0.4},
            }
        ),
        {"val_rows": 200, "train_rows": 300},
    )
    assert list(found) == ["val_rows"]
    assert found["val_rows"]["value"].tolist() == [25, 25, 100, 100, 200, 200]


def test_the_mean_is_over_the_splits_that_have_every_value() -> None:
    results = some_results(
        {"No Augmentation": {0: 0.5, 1: 0.7}, "lam = 0.1": {0: 0.4, 1: 0.6, 2: 9.0}, "MixRL": {0: 0.3, 1: 0.4}}
    )
    rows = varied(results, {"lam": 0.5})["lam"]
    figure = draw_curve("lam", rows, results[results["method"] == "No Augmentation"])
    [left] = figure.axes
    *splits, mean, reference = left.lines
    assert [line.get_ydata().tolist() for line in splits] == [pytest.approx([0.4, 0.3]), pytest.approx([0.6, 0.4])]
    assert mean.get_xdata().tolist() == [0.1, 0.5]
    assert mean.get_ydata().tolist() == pytest.approx([0.5, 0.35])
    assert reference.get_ydata()[0] == pytest.approx(0.6)
    assert left.get_ylim()[0] < 0.3  # all lines are in sight
    assert left.get_ylim()[1] > 0.6
    runtime = draw_curve("train_rows", rows, results[:0]).axes[1]
    assert runtime.lines[-1].get_ydata().tolist() == [2.0, 2.0]

"""Log ratios, normalised scores and shown gains over many tables, against loops; figures of plans and curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.runner.store import Record, Results
from experiments.studies.comparison_across import ORACLE, SINGLE, across_tables, draw_across, draw_learning, log_ratios
from experiments.studies.comparison_plans import _pairs, draw_plans
from mixrl_env import load_dataset
from mixrl_env.neighbors import NeighborTable

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


def test_gains_that_are_shown_against_test_rows() -> None:
    """In percent of the validation loss without mixing; a gain of 0.2 is shown, and 0.2 or nothing is there."""
    rows = some_rows().assign(val_rmse=2.0, parameters=[{}] * 96)
    rows["test_rmse"] = np.where((rows["method"] == SEARCH) & (rows["dataset"] == "a"), 0.8**0.5, 1.0)
    shown = {"gain": 0.2, "gain_low": 0.1, "gain_high": 0.3}
    rows["parameters"] = [shown if method == SEARCH else {} for method in rows["method"]]
    *_, (_, table) = across_tables(rows)
    assert table.to_dict("records") == [
        {
            "Method": SEARCH,
            "Table": dataset,
            "Shown": "+5.0 [+5.0, +5.0]",
            "On test rows": test,
            "Within the interval shown": covered,
        }
        for dataset, test, covered in (("a", "+5.0 [+5.0, +5.0]", "6 of 6"), ("b", "+0.0 [+0.0, +0.0]", "0 of 6"))
    ]


def results_with_files(folder: Path) -> Results:
    """Two tables, of two features and of four, with a curve and a plan each."""
    records = []
    for name in ("noisy_corner", "growing_noise"):
        for method in ("No Augmentation", SEARCH, ORACLE):
            cell = f"{name}-{method}"
            (folder / "files" / cell).mkdir(parents=True)
            if method == SEARCH:
                curve = {"trainings": [16, 32], "seconds": [0.1, 0.2], "env/val_rmse": [0.9, 0.8]}
                pd.DataFrame(curve).to_csv(folder / "files" / cell / "progress.csv")
            if method != "No Augmentation":
                plan = {"row": [0, 0, 5], "space": ["data", "label", "data"], "k": [16, 4, 1]}
                of_plan = pd.DataFrame(plan)[: None if method == ORACLE else 0]  # the search may choose not to mix
                of_plan.to_csv(folder / "files" / cell / "plan.csv")
            labels = {"dataset": name, "split_seed": 3, "method": method}
            records.append(Record(cell, (0,), labels, {}, "0", "", 1.0, [{"seed": 0, "val_rmse": 1.0}]))
    return Results(folder, records)


def test_figures_of_plans_and_curves(tmp_path: Path) -> None:
    """Plans are drawn on tables of at most two features."""
    results = results_with_files(tmp_path)
    for path in (*draw_plans(results, tmp_path), *draw_learning(results, tmp_path)):
        assert path.stat().st_size > 1000
    assert {path.name for path in tmp_path.glob("*.png")} == {"noisy_corner_mixed_rows.png", "learning.png"}


def test_pairs_that_are_kept_and_refused() -> None:
    """Against loops: a pair is kept if one of its rows has the other among the neighbours that its plan mixes."""
    data = load_dataset("noisy_corner", 0)
    x = data.standardize_x(data.x_train)
    neighbors = NeighborTable(x, data.standardize_y(data.y_train), [("data", 2)])
    expected = set()
    for row in (3, 4):
        distance = np.linalg.norm(x - x[row], axis=1)
        expected |= {tuple(sorted((row, int(other)))) for other in np.argsort(distance)[1:3]}
    assert _pairs(neighbors, np.array([3, 4]), np.array([0, 0])) == expected


def test_splits_that_lack_a_method_are_left_out(tmp_path: Path) -> None:
    rows = some_rows()
    rows = rows[(rows["method"] != SEARCH) | (rows["split_seed"] > 1)]
    assert len(log_ratios(rows)) == 2 * 4
    assert draw_across(rows, tmp_path).stat().st_size > 1000

"""The study of the estimators on measured tables: one cell for real, and its tables against loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error

from experiments.studies import estimators as study
from experiments.studies.estimators import AGAIN, METHODS, MIXED, NONE, SEARCH, Estimators
from mixrl_env import load_dataset
from mixrl_env.plans import NO_MIXING
from tests.studies import as_results, compute


@pytest.mark.usefixtures("small_networks")
def test_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method once, on a small table, with a cheap model in place of the others."""
    for name in [name for name in METHODS if "MixRL" not in name and name != NONE]:
        monkeypatch.setitem(study.METHODS, name, lambda seed: Ridge())
    cells = Estimators(datasets=("noisy_corner",), splits=(0,)).cells()
    rows = pd.concat([compute(cell) for cell in cells]).set_index("method")
    assert tuple(rows.index) == tuple(METHODS)
    data = load_dataset("noisy_corner", 0).with_standardized_labels()
    assert data.x_test is not None
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    ridge = Ridge().fit(x, y[:, 0]).predict(data.x_test)
    assert rows.loc["Boosted trees", "test_rmse"] == pytest.approx(root_mean_squared_error(data.y_test, ridge))
    assert rows["test_rmse"].between(0, 1.5).all()
    assert rows.loc[NONE, "chosen"] == NO_MIXING
    assert rows["gain"].notna().tolist() == [name in (SEARCH, AGAIN, *MIXED) for name in METHODS]
    if rows.loc[SEARCH, "chosen"] == NO_MIXING:
        assert rows.loc[SEARCH, "test_rmse"] == rows.loc[NONE, "test_rmse"]  # the same networks


def test_another_seed_is_tried_on_the_first_split() -> None:
    cells = Estimators(datasets=("no2", "auto"), splits=(3, 4)).cells()
    assert len(cells) == 2 * (2 * len(METHODS) - 1)
    assert {cell.labels["split_seed"] for cell in cells if cell.labels["method"] == AGAIN} == {3}


def stored_rows() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for split in range(4):
        for dataset in ("tecator_fat", "auto"):
            for method in METHODS:
                if method == AGAIN and split > 1:
                    continue
                mixes = method == SEARCH and split > 0
                row = {"dataset": dataset, "split_seed": split, "method": method, "test_rmse": rng.uniform(0.4, 0.6)}
                row |= {"chosen": "label, k = 16" if mixes else NO_MIXING, "seconds": 3.0}
                row |= dict(zip(("gain", "low", "high"), (0.1, 0.0, 0.2) if mixes else (0.0,) * 3, strict=True))
                rows.append(row)
    return pd.DataFrame(rows)


def test_tables_against_loops(tmp_path: Path) -> None:
    stored = stored_rows()
    of = stored.set_index(["dataset", "method", "split_seed"])["test_rmse"]
    (_, ratios), (_, verdicts) = Estimators.tables(as_results(stored))
    table, means = ratios.set_index("Table"), []
    for dataset in ("tecator_fat", "auto"):
        percent = [100 * np.log(of[dataset, SEARCH, split] / of[dataset, NONE, split]) for split in range(4)]
        means.append(np.mean(percent))
        assert table.loc[dataset, SEARCH] == f"{means[-1]:+.1f}"
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    assert table.loc["mean of 2", SEARCH] == f"{np.mean(means):+.1f} [{low:+.1f}, {high:+.1f}]"
    assert table.loc["mean of 1 spectra", SEARCH] == f"{means[0]:+.1f}"
    assert table.loc["worst", SEARCH] == f"{max(means):+.1f}"
    had = [of[dataset, NONE, split] - of[dataset, SEARCH, split] for split in (1, 2, 3) for dataset in ("tecator_fat", "auto")]
    line = verdicts.set_index("Verdict").loc["mix"]
    assert line["Runs"] == "6"
    assert line["Gained"] == f"{sum(gain > 0 for gain in had)} of 6"
    assert line["Within the interval"] == f"{sum(0 <= gain <= 0.2 for gain in had)} of 6"
    assert line["The same with another seed"] == "0 of 2"
    assert verdicts.set_index("Verdict").loc["do not mix", "The same with another seed"] == "2 of 2"
    differences, ranks = Estimators.draw(as_results(stored), tmp_path)
    assert differences.read_bytes().startswith(b"\x89PNG")
    assert ranks.read_bytes().startswith(b"\x89PNG")


def test_critical_difference_is_that_of_the_textbook() -> None:
    """Demsar (2006), table 5 and the example of section 3.2.4: four methods on 14 tables."""
    assert study.critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)

"""The study of the estimators on public tables: one cell for real, and its tables against loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error

from experiments.studies import estimators as study
from experiments.studies.estimators import MIXRL, NETWORKS, PAIRS, TREES, Estimators
from mixrl import MixRLRegressor
from mixrl.estimators import search
from mixrl_env import load_dataset
from tests.studies import as_results, compute

METHODS = (*NETWORKS, MIXRL, *(method for name in TREES for method in (name, f"{name}, {MIXRL}")))


@pytest.mark.usefixtures("small_networks")
def test_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method once, on a table of 200 rows, with cheap models in place of the trees and nothing learned."""
    monkeypatch.setattr(study, "TREES", {name: lambda seed: Ridge() for name in TREES})
    monkeypatch.setattr(study, "MixRLRegressor", lambda *arguments, **more: MixRLRegressor(*arguments, **more, trainings=0))
    monkeypatch.setattr(study, "_FOLDS", 2)
    (cell,) = Estimators(datasets=("noisy_corner",), splits=(2,)).cells()
    rows = compute(cell).set_index("method")
    assert list(rows.index) == list(METHODS)
    data = load_dataset("noisy_corner", 2).with_standardized_labels()
    assert data.x_test is not None
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    ridge = Ridge().fit(x, y[:, 0]).predict(data.x_test)
    assert rows.loc["Boosted trees", "test_rmse"] == pytest.approx(root_mean_squared_error(data.y_test, ridge))
    assert rows["test_rmse"].between(0, 1).all()  # worse than predicting the mean would be above 1
    assert rows.loc[MIXRL, "chosen"]
    assert rows.loc["Random forest", "chosen"] == []
    assert rows.loc["C-Mixup", "chosen"][0].startswith("bandwidth = ")


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("way", ["no mixing", "every pair"])
def test_networks_of_both_sides_are_the_same(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for their mixed rows: where the estimator chooses what a baseline does, it predicts the same."""
    data = load_dataset("noisy_corner", 1)
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    monkeypatch.setattr(search, "compare", lambda errors: forced(errors, way))
    ours = MixRLRegressor(random_state=3, trainings=0).fit(x, y[:, 0]).predict(data.x_val)
    theirs, _ = study._networks("No Augmentation" if way == "no mixing" else "Original Mixup", x, y, data.x_val, 3)
    assert theirs[:, 0] == pytest.approx(ours, rel=1e-6 if way == "no mixing" else 1e-3)


def forced(errors: dict[str, np.ndarray], way: str) -> pd.DataFrame:
    return pd.DataFrame({"way": list(errors), "rmse": 1.0, "gain": 0.0, "standard_error": 0.0}).assign(
        chosen=[other == way for other in errors]
    )


def stored_rows(splits: int) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for dataset in ("gap", "no2", "auto"):
        for split in range(splits):
            for number, method in enumerate(METHODS):
                chosen = ["no mixing"] if MIXRL in method and split == 0 else ["k = 4"]
                error = rng.uniform(0.4, 0.6)
                row = {"dataset": dataset, "split_seed": split, "method": method, "test_rmse": error}
                rows.append({**row, "chosen": chosen, "seconds": 60.0 * number})
    return pd.DataFrame(rows)


def test_tables_against_loops(tmp_path: Path) -> None:
    stored = stored_rows(5)
    (_, errors), (_, differences), (_, answers), (_, by_answer) = Estimators.tables(as_results(stored))
    of = stored.set_index(["dataset", "method", "split_seed"]).sort_index()["test_rmse"]
    assert list(errors["Table"]) == ["no2", "auto", "gap"]  # measured ones first
    assert errors.set_index("Table").loc["auto", MIXRL] == f"{of['auto', MIXRL].mean():.3f}"
    for ours, theirs in PAIRS:
        column, means = differences.set_index("Table")[f"{ours} - {theirs}"], []
        for dataset in ("no2", "auto"):
            percent = [100 * (of[dataset, ours, split] / of[dataset, theirs, split] - 1) for split in range(5)]
            interval = stats.ttest_1samp(percent, 0).confidence_interval()
            assert column[dataset] == f"{np.mean(percent):+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
            means.append(np.mean(percent))
        assert column["mean of 2 measured"].startswith(f"{np.mean(means):+.1f} [")
    assert set(answers[f"{MIXRL}: not to mix"]) == {"1 of 5"}
    assert set(answers[f"{MIXRL}: minutes"]) == {"3.0"}
    unmixed = [100 * (of[dataset, MIXRL, 0] / of[dataset, NETWORKS[0], 0] - 1) for dataset in ("no2", "auto", "gap")]
    assert by_answer[["Ways", "Splits"]].to_numpy().tolist() == [["no mixing", 3], ["one", 12]]
    assert by_answer["Difference"][0].startswith(f"{np.mean(unmixed):+.1f} [")
    (picture,) = Estimators.draw(as_results(stored), tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")

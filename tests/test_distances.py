"""The study of distances: its bins against brute force, and labels and models on functions whose answer is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.show.statistics import paired_difference
from experiments.studies import distances
from experiments.studies.distance_bins import equal_bins, measure, pair_distances
from experiments.studies.distances import Distances
from mixrl_env import MixingProblem, ProblemConfig, RegressionData, RegressorConfig
from mixrl_env.streams import stream
from tests.studies import as_results, compute_all

SMALL = RegressorConfig(hidden_sizes=(32, 32), learning_rate=0.01, max_steps=1000)
TINY = RegressorConfig(hidden_sizes=(4,), max_steps=5)


def problem_of(regressor: RegressorConfig, curved: bool = True, columns: int = 1, test_rows: int = 30) -> MixingProblem:
    """40 rows in [-1, 1] without noise: the sum of squares, or a plane."""
    x = np.random.default_rng(0).uniform(-1, 1, (100 + test_rows, columns))
    y = (np.square(x) if curved else x @ np.diag(np.arange(1, columns + 1))).sum(axis=1)
    test = (x[100:], y[100:]) if test_rows else ()
    data = RegressionData(x[:40], y[:40], x[40:100], y[40:100], *test, name="rows")
    return MixingProblem(data, ProblemConfig(options=(("data", 1),), regressor=regressor))  # type: ignore[arg-type]


def bins_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for row in rows if row["what"] == "bin"])


@pytest.mark.parametrize(("count", "bins"), [(12, 3), (13, 4), (5, 5), (40, 1)])
def test_equal_bins_go_by_rank_with_any_ties(count: int, bins: int) -> None:
    values = np.random.default_rng(count).integers(4, size=count).astype(float)
    found = equal_bins(values, bins)
    assert sorted(index for members in found for index in members) == list(range(count))
    sizes = [len(members) for members in found]
    assert len(sizes) == bins
    assert max(sizes) - min(sizes) <= 1
    for near, far in pairwise(found):
        assert max(values[near]) <= min(values[far])


def test_distances_of_all_pairs_in_units_of_the_largest() -> None:
    problem = problem_of(TINY, columns=3)
    x, y = problem.data.x_train, problem.data.y_train[:, 0]
    i, j, found = pair_distances(problem)
    assert list(zip(i, j, strict=True)) == [(a, b) for a in range(40) for b in range(a + 1, 40)]
    data = [np.linalg.norm((x[a] - x[b]) / x.std(axis=0)) for a, b in zip(i, j, strict=True)]
    label = [abs(y[a] - y[b]) for a, b in zip(i, j, strict=True)]
    assert np.allclose(found["data"], np.array(data) / max(data))
    assert np.allclose(found["label"], np.array(label) / max(label))


def test_each_bin_trains_on_as_many_mixed_rows_of_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, calls = problem_of(TINY, columns=2), []
    fit = problem.fit
    monkeypatch.setattr(problem, "fit", lambda *args: calls.append(args) or fit(*args))
    rows = measure(problem, bins=3, repeats=2, seed=5)
    [(sets, *_)] = calls
    assert len(sets) == 2 * (1 + 2 * 3)
    assert all(len(x) == len(y) == 40 for x, y in sets[:2])
    i, j, by_space = pair_distances(problem)
    middles = (
        np.concatenate([problem.x_train[i] + problem.x_train[j], problem.data.y_train[i] + problem.data.y_train[j]], 1) / 2
    )
    bins = bins_of(rows)
    assert bins[["space", "bin"]].drop_duplicates().to_numpy().tolist() == [
        [s, b] for s in ("data", "label") for b in (1, 2, 3)
    ]
    assert len(bins) == 12
    for number, (x, y) in enumerate(sets[2:]):
        line = bins.iloc[number]
        assert len(x) == len(y) == 40 + 200
        assert np.array_equal(x[:40], problem.x_train)
        mixed = np.concatenate([x, y], axis=1)[40:]
        gaps = np.abs(middles[:, None] - mixed).max(axis=2)  # (pairs, mixed rows)
        pairs = gaps.argmin(axis=0)
        assert gaps.min(axis=0).max() < 1e-12
        assert len(set(pairs)) == 200
        assert by_space[line["space"]][pairs].min() >= line["low"]
        assert by_space[line["space"]][pairs].max() <= line["high"]
    # The scores are those of the regressors trained on these sets, repeat by repeat.
    rngs = [stream(5, "pair trainings", repeat) for repeat in range(2)]
    data = problem.data
    fitted = fit(sets[-2:], rngs)
    assert bins["val_rmse"].tolist()[-2:] == pytest.approx(np.sqrt(fitted.val_loss).tolist())
    assert data.x_test is not None
    errors = fitted.predict(data.standardize_x(data.x_test)) - data.y_test
    assert bins["test_rmse"].tolist()[-2:] == pytest.approx(np.sqrt(np.square(errors).mean(axis=(1, 2))).tolist())
    assert rows == measure(problem, bins=3, repeats=2, seed=5)


def test_labels_mixed_on_a_plane_are_right_at_every_distance() -> None:
    problem = problem_of(SMALL, curved=False, columns=2)
    bins = bins_of(measure(problem, bins=3, repeats=1, seed=0))
    assert bins["label_error"].max() < 0.05 * problem.data.y_train.std()
    assert bins["bend"].max() < 0.05 * problem.data.y_train.std()


def test_labels_mixed_on_a_parabola_are_as_wrong_as_its_chord() -> None:
    """The chord's middle lies a quarter of the squared distance above the parabola."""
    problem = problem_of(SMALL)
    rows = measure(problem, bins=3, repeats=1, seed=0)
    errors = bins_of(rows).groupby(["space", "bin"])[["label_error", "bend"]].mean()
    i, j, by_space = pair_distances(problem)
    x = problem.data.x_train[:, 0]
    order = np.argsort(by_space["data"])
    for number, members in enumerate(np.split(order, 3), start=1):
        chord = np.sqrt(np.mean(((x[i] - x[j])[members] ** 2 / 4) ** 2))
        assert errors.loc[("data", number), "label_error"] == pytest.approx(chord, abs=0.04)
        assert errors.loc[("data", number), "bend"] == pytest.approx(chord, abs=0.04)
    assert errors.loc[("data", 3), "label_error"] > errors.loc[("data", 1), "label_error"] + 0.3
    far = bins_of(rows).groupby(["space", "bin"])["test_rmse"].mean().loc["data"]
    assert far.loc[3] > far.loc[1]  # a model trained on wrong labels is worse


def test_tables_against_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        distances, "measure", lambda problem, bins, repeats, seed: measure(problem_of(TINY), bins, repeats, seed)
    )
    study = Distances(splits=(4, 0, 2), bins=3, repeats=2)
    stored = compute_all(study)
    records = stored.to_dict("records")

    def means(column: str, what: str, space: str = "", number: int = 0) -> list[float]:
        every = []
        for split in (0, 2, 4):
            ours = [row for row in records if row["split_seed"] == split and row["what"] == what]
            ours = [row for row in ours if what == "reference" or (row["space"], row["bin"]) == (space, number)]
            assert len(ours) == 2
            every.append(float(np.mean([row[column] for row in ours])))
        return every

    (_, data), (_, label), (_, ends), (_, correlation) = Distances.tables(as_results(stored))
    for space, table in (("data", data), ("label", label)):
        assert len(table) == 3
        for number, line in enumerate(table.to_dict("records"), start=1):
            here = ("bin", space, number)
            low, high, error = (np.mean(means(column, *here)) for column in ("low", "high", "label_error"))
            assert line["Distance (normalised)"] == f"{low:.2f} to {high:.2f}"
            assert line["Label error"] == f"{error:.3f}"
            for name, column in (("Test", "test_rmse"), ("Val.", "val_rmse")):
                expected = paired_difference(means(column, *here), means(column, "reference")).text
                assert line[f"{name} RMSE difference"] == expected
        last, first = (means("label_error", "bin", space, number) for number in (3, 1))
        assert ends.set_index("Distance").loc[space, "Label error"] == paired_difference(last, first).text
    ranks = [row["spearman"] for row in records if row["what"] == "all pairs"]
    assert correlation.to_dict("records")[0]["Mean"] == f"{np.mean(ranks):+.2f}"
    assert (stored["what"] == "pair").sum() == 3 * 400
    [figure] = Distances.draw(as_results(stored), tmp_path)
    assert figure.name == "distances_no2.png"
    assert figure.read_bytes().startswith(b"\x89PNG")

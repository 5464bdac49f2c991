"""The study of labels: minibatches of mixed rows against a plain loop, choices that see no test row, and its tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from experiments.presets import PRESETS
from experiments.published import REPORTED
from experiments.show.statistics import paired_difference
from experiments.studies import labels, mixed_minibatches
from experiments.studies.labels import LABELS, METHODS, RECIPES, Labels
from experiments.studies.mixed_minibatches import BATCH_SIZE, Draws, partners, predict, train
from mixrl_env import RegressorConfig, load_dataset
from tests.studies import as_results, compute

SCORES = ("val_rmse", "test_rmse", "test_rmse_averaged")


def some_draws(seed: int, num_rows: int = 70, num_features: int = 3, dtype: str = "float64") -> Draws:
    return Draws.of(num_rows, num_features, np.random.default_rng(seed), dtype)


def some_chances(seed: int, num_rows: int = 70) -> np.ndarray:
    chances = np.random.default_rng(seed).random((num_rows, num_rows)) ** 4
    return chances / chances.sum(axis=1, keepdims=True)


def plain_loop(x, y, x_val, y_val, chances, draws, rate):  # type: ignore[no-untyped-def]
    """One network, as anyone would write it."""
    network = nn.Sequential(nn.Linear(3, 128), nn.LeakyReLU(0.1), nn.Linear(128, 128), nn.LeakyReLU(0.1), nn.Linear(128, 1))
    network = network.double()
    with torch.no_grad():
        for parameter, initial in zip(network.parameters(), draws.initial, strict=True):
            parameter.copy_(initial[0].T if parameter.ndim == 2 else initial[0, 0])
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    x, y, x_val, y_val = map(torch.as_tensor, (x, y, x_val, y_val))
    j = torch.as_tensor(partners(chances, draws))
    lowest, best = np.inf, torch.empty(0)
    for epoch in range(len(draws.rows)):
        for step, rows in enumerate(draws.rows[epoch]):
            lam = draws.lam[epoch, step]
            mixed = [lam * part[rows] + (1 - lam) * part[j[epoch, step]] for part in (x, y)]
            optimizer.zero_grad()
            nn.functional.mse_loss(network(mixed[0]), mixed[1]).backward()
            optimizer.step()
        with torch.no_grad():
            predicted = network(x_val)
            if (loss := nn.functional.mse_loss(predicted, y_val).item()) < lowest:
                lowest, best = loss, predicted
    return best.numpy()


def test_networks_trained_at_once_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_minibatches, "EPOCHS", 12)
    rng = np.random.default_rng(0)
    x, x_val = rng.normal(size=(70, 3)), rng.normal(size=(20, 3))
    y, y_val = np.sin(x[:, :1]) + 3, np.sin(x_val[:, :1]) + 3 + rng.normal(size=(20, 1))
    draws = [some_draws(seed) for seed in (1, 2, 1)]
    chances = [some_chances(3), some_chances(4), np.eye(70)]
    together = predict(train((x, y), (x_val, y_val), chances, draws, 0.01), x_val)
    alone = [plain_loop(x, y, x_val, y_val, *one, 0.01) for one in zip(chances, draws, strict=True)]
    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together[0] - together[2]).max() > 1e-3  # the same numbers, other partners


def test_draws_are_shuffled_epochs_of_full_minibatches() -> None:
    draws = some_draws(0, num_rows=200)
    assert draws.rows.shape == draws.uniforms.shape == (100, 6, BATCH_SIZE)
    assert draws.lam.shape == (100, 6)
    assert all(len(set(epoch.ravel())) == 192 for epoch in draws.rows)
    assert set(draws.rows.ravel()) == set(range(200))
    assert abs(draws.lam.mean() - 0.5) < 4 * (0.05 / draws.lam.size) ** 0.5  # Beta(2, 2) has variance 1/20
    assert draws.lam.var() == pytest.approx(0.05, rel=0.2)


def test_partners_come_as_often_as_their_chances_say() -> None:
    draws = some_draws(0, num_rows=40)
    chances = some_chances(1, 40)
    chances[:, [0, 7, 39]] = 0  # at both ends too
    chances /= chances.sum(axis=1, keepdims=True)
    counted = np.zeros((40, 40))
    np.add.at(counted, (draws.rows, partners(chances, draws)), 1)
    assert (counted[chances == 0] == 0).all()
    total = counted.sum(axis=1, keepdims=True)
    assert (np.abs(counted - total * chances) <= 5 * np.sqrt(total * chances * (1 - chances)) + 1).all()
    assert np.array_equal(partners(np.eye(40), draws), draws.rows)
    last = replace(draws, uniforms=np.full(draws.rows.shape, np.nextafter(np.float32(1), np.float32(0))))
    assert np.array_equal(partners(np.eye(40), last), draws.rows)


def test_ways_to_draw_partners() -> None:
    data = load_dataset("no2", 0)
    ways = labels._ways(data)
    assert list(dict.fromkeys(way.method for way in ways)) == list(METHODS)
    x, y = data.standardize_x(data.x_train), data.standardize_y(data.y_train)
    for method, chosen, chances in ways:
        assert np.allclose(chances.sum(axis=1), 1)
        assert np.array_equal(np.diag(chances), np.full(200, float(method == METHODS[0])))
        if method == "Global kNN":
            for row in (0, 17):
                near = [np.argsort(np.linalg.norm(space - space[row], axis=1), kind="stable") for space in (x, y)]
                distances = [np.linalg.norm(space - space[row], axis=1) for space in (x, y)]
                within = np.zeros(200, dtype=bool)
                for order, distance in zip(near, distances, strict=True):  # ties of labels: any of those at the k-th distance
                    within |= distance <= distance[order[int(chosen)]]
                assert within[chances[row] > 0].all()
                assert set(np.round(chances[row] * 2 * chosen, 9)) <= {0, 1, 2}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few epochs, and our recipe with a tiny regressor and two options."""
    monkeypatch.setattr(mixed_minibatches, "EPOCHS", 3)
    monkeypatch.setattr(labels, "_TUNING", 1)
    tiny = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=40, eval_every=20, patience=2)
    options = (("data", 1), ("data", 4), ("label", 1), ("label", 4))
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], regressor=tiny, options=options, final_trainings=2))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("recipe", RECIPES)
def test_cells_hold_one_row_a_method(recipe: str) -> None:
    raw, standardised = (compute(cell) for cell in Labels(splits=(3,)).cells() if cell.labels["recipe"] == recipe)
    for rows, kind in ((raw, "raw"), (standardised, "standardised")):
        assert rows["method"].tolist() == list(METHODS)
        assert (rows[["recipe", "labels", "split_seed"]] == [recipe, kind, 3]).all(axis=None)
        assert np.isfinite(rows[list(SCORES)]).all(axis=None)
        assert (rows["test_rmse_averaged"] <= rows["test_rmse"] + 1e-9).all()  # the RMSE is convex in the prediction
        assert rows["chosen"].isna().tolist() == [True, True, False, False]
    assert (raw["test_rmse"] != standardised["test_rmse"]).all()
    assert (standardised["test_rmse"] < 1.5).all()  # in label units, and near labels of mean 3.7 after a few steps


@pytest.mark.usefixtures("quick")
def test_choices_of_c_mixups_recipe_see_no_test_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame(labels._cell(0, "C-Mixup's", "standardised"))
    data = load_dataset("no2", 0)
    assert data.y_test is not None
    monkeypatch.setattr(labels, "load_dataset", lambda name, split: replace(data, y_test=data.y_test + 1))
    other = pd.DataFrame(labels._cell(0, "C-Mixup's", "standardised"))
    kept = ["val_rmse", "chosen", "learning_rate"]
    pd.testing.assert_frame_equal(rows[kept], other[kept])
    assert (rows["test_rmse"] != other["test_rmse"]).all()


def stored_rows(splits: int) -> pd.DataFrame:
    """Mixing is worth 0.03 on raw labels and nothing on standardised ones, which are worth 0.05."""
    rng = np.random.default_rng(0)
    rows = []
    for recipe, kind, method, split in product(RECIPES, LABELS, METHODS, range(splits)):
        level = 0.55 - 0.05 * (kind == "standardised") - 0.03 * (kind == "raw" and method != METHODS[0])
        score = level + 0.02 * split + 0.001 * rng.normal()
        row = {"recipe": recipe, "labels": kind, "method": method, "split_seed": split, "val_rmse": score}
        row |= {"test_rmse": score, "test_rmse_averaged": score - 0.01, "chosen": 4.0, "learning_rate": 0.01}
        rows.append(row)
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def test_tables_pair_methods_by_split() -> None:
    stored = stored_rows(6)
    single, averaged, standardising, reported = (table for _, table in Labels.tables(as_results(stored)))
    assert len(single) == len(averaged) == len(RECIPES) * len(LABELS) * len(METHODS)
    for table, score in ((single, "test_rmse"), (averaged, "test_rmse_averaged")):
        for line in table.to_dict("records"):
            key = (stored["recipe"] == line["Recipe"]) & (stored["labels"] == line["Labels"])
            by_method = {
                method: rows.sort_values("split_seed")[score].tolist() for method, rows in stored[key].groupby("method")
            }
            assert line["Test RMSE"] == f"{np.mean(by_method[line['Method']]):.4f}"
            expected = paired_difference(by_method[line["Method"]], by_method[METHODS[0]]).text
            assert line["Minus No Augmentation"] == ("" if line["Method"] == METHODS[0] else expected)
    assert single["Rate (splits)"].unique().tolist() == ["0.01 (6)"]
    by_method = standardising.set_index(["Recipe", "Method"])["Standardised minus raw"]
    assert by_method["ours", METHODS[0]].startswith("-0.05")
    assert by_method["ours", "C-Mixup"].startswith("-0.0")
    assert len(reported) == len(REPORTED)

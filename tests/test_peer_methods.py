"""The peers of MixRL, each on something whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chisquare

from experiments.methods import PEERS, Augmented, Trial, ada, c_mixup, local_mixup, method_of
from experiments.methods.ada_mixup import _POLICY, Batch, PolicyRegion, fit_policy, losses, mixed_label, region
from experiments.methods.peers import DRAWS
from experiments.presets import PRESETS
from experiments.runner.store import read_results
from mixrl_env import MixingProblem, ProblemConfig, RegressionData, RegressorConfig
from mixrl_env.data import FloatArray
from mixrl_env.regressor import initial_weights
from tests.test_experiments import run

N_TRAIN = 24
TINY = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=40, eval_every=20)


def make_trial(split_seed: int = 0, lam: float | tuple[str, float] = 0.5) -> Trial:
    """A linear function of three features with two labels, so that every right mixture stays on it."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 3)) * [1, 10, 0.1] + [0, 5, 2]
    y = x @ rng.normal(size=(3, 2)) + 7
    part = {"x_test": x[45:], "y_test": y[45:]}
    data = RegressionData(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:45], y[N_TRAIN:45], **part)
    problem = MixingProblem(data, ProblemConfig(options=(("data", 1),), lam=lam, regressor=TINY))  # type: ignore[arg-type]
    settings = replace(PRESETS["smoke"], final_trainings=3, knn_repeats=2)
    return Trial(problem, settings, split_seed)


def same_sets(one: Augmented, other: Augmented) -> bool:
    return len(one.sets) == len(other.sets) and all(
        np.array_equal(a, b)
        for first, second in zip(one.sets, other.sets, strict=True)
        for a, b in zip(first, second, strict=True)
    )


# What all of them promise


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_sets_begin_with_the_training_rows_and_stay_on_a_linear_function(
    peer: Callable[[Trial], Augmented],
) -> None:
    trial = make_trial(lam=("beta", 0.4))
    data = trial.problem.data
    for x, y in peer(trial).sets:
        assert np.array_equal(x[:N_TRAIN], trial.problem.x_train)
        assert np.array_equal(y[:N_TRAIN], data.y_train)
        assert len(x) > N_TRAIN
        line, *_ = np.linalg.lstsq(np.c_[data.x_train, np.ones(N_TRAIN)], data.y_train, rcond=None)
        np.testing.assert_allclose(y, np.c_[data.restore_x(x), np.ones(len(x))] @ line, atol=1e-9)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_the_seed_alone_decides_and_global_generators_are_left_alone(
    peer: Callable[[Trial], Augmented],
) -> None:
    lam = ("beta", 2.0)
    np.random.seed(1)  # noqa: NPY002  what somebody else may have done
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = peer(make_trial(lam=lam))
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert same_sets(first, peer(make_trial(lam=lam)))
    assert not same_sets(first, peer(make_trial(split_seed=1, lam=lam)))


@pytest.mark.parametrize(
    ("name", "count", "sets"),
    [
        ("C-Mixup", len(c_mixup.BANDWIDTHS), 3),
        ("Local Mixup", len(local_mixup.SHARES), 1),
        ("Anchor Data Augmentation", len(ada.CLUSTERS) * len(ada.ALPHAS), 3),
    ],
)
def test_validation_rows_choose_and_every_training_counts(name: str, count: int, sets: int) -> None:
    augmented = method_of(name)(make_trial())
    trials = augmented.tables["candidates"]
    assert len(trials) == count
    assert augmented.trainings == 2 * count
    chosen = augmented.choice.parameters
    (best,) = (row for row in trials.to_dict("records") if chosen.items() <= row.items())
    assert best["val_rmse"] <= 1.02 * trials["val_rmse"].min()  # chosen by the mean squared error
    assert augmented.num_rows == best["num_rows"]
    assert len(augmented.sets) == sets
    assert len({x.tobytes() for x, _ in augmented.sets}) == sets


# C-Mixup


def brute_force_chances(labels: FloatArray, bandwidth: float) -> FloatArray:
    weights = np.zeros((len(labels), len(labels)))
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            if i != j:
                weights[i, j] = np.exp(-np.sum((one - other) ** 2) / (2 * bandwidth**2))
        weights[i] /= weights[i].sum()
    return weights


def test_partner_chances_are_the_kernel() -> None:
    labels = np.random.default_rng(0).normal(size=(12, 2))
    for bandwidth in (0.3, 1.0, 3.0):
        np.testing.assert_allclose(
            c_mixup.partner_chances(labels, bandwidth), brute_force_chances(labels, bandwidth), atol=1e-14
        )


def test_partners_are_drawn_as_often_as_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners are read off the mixed rows, whose lambda is known."""
    monkeypatch.setattr(c_mixup, "BANDWIDTHS", (0.5,))
    monkeypatch.setattr(c_mixup, "_LAM", 0.0)  # the mixed row is the partner
    trial = make_trial()
    trial = replace(trial, settings=replace(trial.settings, final_trainings=60))
    data = trial.problem.data
    chances = brute_force_chances(data.standardize_y(data.y_train), 0.5)
    found = np.zeros_like(chances)
    for x, _ in c_mixup.augment(trial).sets:
        partners = np.argmin(np.abs(x[N_TRAIN:, None] - trial.problem.x_train[None]).sum(axis=2), axis=1)
        np.add.at(found, (np.repeat(np.arange(N_TRAIN), DRAWS), partners), 1)
    expected = 60 * DRAWS * chances
    often = expected > 5  # where the chi-square distribution holds; the rest is one class a row
    assert found.sum() == expected.sum().round() == 60 * DRAWS * N_TRAIN
    p_values = []
    for row in range(N_TRAIN):
        classes = [np.r_[table[row, often[row]], table[row, ~often[row]].sum()] for table in (found, expected)]
        kept = classes[1] > 1
        p_values.append(chisquare(classes[0][kept], classes[1][kept] * classes[0][kept].sum() / classes[1][kept].sum()).pvalue)
    assert min(p_values) > 0.01 / N_TRAIN


# Local Mixup


def test_radius_decides_which_pairs_are_mixed() -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [10.0, 0.0]])
    assert len(local_mixup.pairs_within(x, 0.0)[0]) == 0
    assert np.stack(local_mixup.pairs_within(x, 5.0)).T.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert np.stack(local_mixup.pairs_within(x, 4.5)).T.tolist() == [[0, 2], [1, 2]]
    assert np.array_equal(local_mixup.pairs_within(x, np.inf), np.triu_indices(4, k=1))


def test_local_mixup_with_every_pair_is_original_mixup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_mixup, "SHARES", (1.0,))
    trial = make_trial()
    assert same_sets(local_mixup.augment(trial), method_of("Original Mixup")(trial))


# Anchor Data Augmentation


def test_moved_rows_are_the_formula() -> None:
    """Against the projection matrix of the one-hot anchors, row by row."""
    rng = np.random.default_rng(0)
    x, y, clusters, gamma = (
        rng.normal(size=(15, 3)),
        rng.normal(size=(15, 2)),
        rng.integers(5, size=15),
        rng.uniform(0.2, 4, 15),
    )
    anchors = np.eye(5)[clusters]
    projection = anchors @ np.linalg.pinv(anchors)
    for moved, values in zip(ada.move(x, y, clusters, gamma), (x, y), strict=True):
        for i, s in enumerate(np.sqrt(gamma) - 1):
            expected = (values[i] + s * projection[i] @ values) / (1 + s * projection[i].sum())
            np.testing.assert_allclose(moved[i], expected, atol=1e-12)


# AdaMixUp


def test_lambda_lies_in_the_region_and_fills_it() -> None:
    rng = np.random.default_rng(0)
    policy = PolicyRegion([2 * w for w in initial_weights(2, 3, _POLICY, rng)])  # far from (1/3, 1/3, 1/3)
    x = np.repeat(rng.normal(size=(30, 2)), 400, axis=0)
    low, high = policy.bounds(x)
    assert ((low >= 0) & (low <= high) & (high <= 1)).all()
    assert np.ptp(low) > 0.1
    lam = policy.draw_lam(x, x, rng)  # the point between a row and itself is the row
    place = ((lam - low) / (high - low)).reshape(30, 400)
    assert ((place >= -1e-9) & (place <= 1 + 1e-9)).all()
    np.testing.assert_allclose(place.mean(axis=1), 0.5, atol=0.08)


def test_losses_are_their_formulas_and_no_gradient_passes_the_mixed_label() -> None:
    rng = np.random.default_rng(0)
    config = RegressorConfig(hidden_sizes=(6,), dtype="float64")
    policy = [w.double().requires_grad_() for w in initial_weights(2, 3, _POLICY, rng)]
    regressor = [w.requires_grad_() for w in initial_weights(2, 2, config, rng)]
    x, y, unseen, draws = (torch.tensor(rng.random(shape)) for shape in ((5, 2), (5, 1), (5, 2), (2, 5, 1)))
    partners = np.array([1, 2, 3, 4, 0])
    task, intrusion = losses(policy, regressor, config, Batch(x, y, unseen), partners, draws)

    def outputs(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(rows @ regressor[0][0] + regressor[1][0])
        return (hidden @ regressor[2][0] + regressor[3][0]).split(1, dim=1)

    a, b = region(policy, draws[0] * x + (1 - draws[0]) * x[partners])
    lam = a[:, None] + draws[1] * b[:, None]
    x_mixed = lam * x + (1 - lam) * x[partners]
    known = (lam * y + (1 - lam) * y[partners]).detach().clone()  # numbers that know of no policy
    expected_task = (outputs(x_mixed)[0] - known).square().mean() + (outputs(x)[0] - y).square().mean()
    fake = torch.cat([outputs(rows)[1].sigmoid() for rows in (x_mixed, x, unseen)])
    expected_intrusion = -torch.cat([fake[:5].log(), (1 - fake[5:]).log()]).mean()
    torch.testing.assert_close(task, expected_task)
    torch.testing.assert_close(intrusion, expected_intrusion)
    gradients = torch.autograd.grad(task, policy, retain_graph=True)
    for got, wanted in zip(gradients, torch.autograd.grad(expected_task, policy), strict=True):
        torch.testing.assert_close(got, wanted)
    assert any(gradient.abs().max() > 0 for gradient in gradients)  # through the mixed features
    assert any(gradient.abs().max() > 0 for gradient in torch.autograd.grad(intrusion, policy))
    assert not mixed_label(lam, y, y[partners]).requires_grad


def one_sidedness(function: Callable[[FloatArray], FloatArray], seed: int) -> float:
    """Mean |2 lambda - 1| over all pairs of 100 rows; about 0.17 before anything is learned."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (150, 4))
    data = RegressionData(x[:100], function(x[:100]), x[100:], function(x[100:]))
    config = RegressorConfig(hidden_sizes=(32,), learning_rate=0.001, max_steps=800, patience=None)
    policy = fit_policy(data, config, rng)
    assert policy.train_steps == 800
    i, j = np.triu_indices(100, k=1)
    rows = data.standardize_x(data.x_train)
    return float(np.abs(2 * policy.draw_lam(rows[i], rows[j], rng) - 1).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_where_mixing_invents_wrong_labels_lambda_goes_to_one_side(seed: int) -> None:
    assert one_sidedness(lambda x: x.sum(axis=1), seed) < 0.17  # a line: halves are right, and easy to tell from real rows
    assert one_sidedness(lambda x: np.abs(x[:, 0]), seed) > 0.4  # a corner: what lies between two rows has another label


def test_joint_training_stops_early_and_keeps_the_best_look(tmp_path: Path) -> None:
    data = make_trial().problem.data
    config = RegressorConfig(hidden_sizes=(16,), learning_rate=0.01, eval_every=5, patience=3, max_steps=5000)
    policy = fit_policy(data, config, np.random.default_rng(0))
    assert policy.train_steps < 5000
    to_best = replace(config, patience=None, max_steps=policy.train_steps - 3 * 5)
    at_best = fit_policy(data, to_best, np.random.default_rng(0))
    assert policy.val_loss == at_best.val_loss
    assert all(torch.equal(one, other) for one, other in zip(policy.weights, at_best.weights, strict=True))


# Studies


def test_peers_and_ablations_run_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "smoke"\ndatasets = ["gap"]\n'
        'baselines = ["No Augmentation", "C-Mixup", "Local Mixup", "Anchor Data Augmentation", "AdaMixUp"]\n'
        'settings = {env_id = "MixRL-v0", knn_repeats = 1, regressor = {hidden_sizes = [4], max_steps = 20}}\n'
        "[variants.\"W/O Label & Data Dist. Limits\"]\noptions = [['all', 0]]\n"
        "[variants.\"W/O Data Dist. Limits\"]\noptions = [['label', 1], ['label', 4]]\n"
    )
    done = run("sweep", path, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    stored = read_results(tmp_path / "mine")
    results = stored.rows
    assert results["method"].nunique() == 7
    rows = results.drop_duplicates("method").set_index("method")["num_rows"]
    assert rows["AdaMixUp"] == 60 + 60 * 59 // 2
    assert rows["C-Mixup"] == rows["Anchor Data Augmentation"] == 60 * (1 + DRAWS)
    for variant, spaces in (("W/O Label & Data Dist. Limits", {"all"}), ("W/O Data Dist. Limits", {"label"})):
        (record,) = stored.where(method=variant).records
        assert set(pd.read_csv(stored.file(record, "policy.csv"))["space"]) == spaces

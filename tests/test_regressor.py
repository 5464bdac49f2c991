"""The batched regressors against a plain loop over torch.nn.Sequential, torch.optim.Adam and LambdaLR."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mixrl_env import FittedRegressors, RegressorConfig, fit_regressors
from mixrl_env.backends import NativeStack, TorchStack
from mixrl_env.data import LabelScale
from mixrl_env.regressor import Minibatches, initial_weights
from tests.backends import BACKENDS

SMALL = RegressorConfig(
    hidden_sizes=(16, 8),
    learning_rate=6e-3,
    batch_size=8,
    eval_every=20,
    patience=4,
    max_steps=3000,
    dtype="float64",
    device="cpu",
)
TRAIN_SIZES = (5, 40, 23)  # the first is smaller than a minibatch
UNITS = LabelScale(np.array([5.0, -3.0]), np.array([2e3, 0.5]))
Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(params=BACKENDS)
def small(request: pytest.FixtureRequest) -> RegressorConfig:
    """A training of moments, on each backend."""
    return replace(SMALL, backend=request.param)


def make_rows(n: int, seed: int) -> Rows:
    """Rows of a noisy curve with three features and two targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, np.column_stack([np.sin(2 * x[:, 0]) + x[:, 1], x[:, 2] * x[:, 0]]) + 0.3 * rng.normal(size=(n, 2))


X_VAL, Y_VAL = make_rows(60, seed=99)


def make_jobs(count: int, config: RegressorConfig) -> tuple[list[Rows], list[list[torch.Tensor]]]:
    """Training sets of different sizes, and initial weights for each."""
    sets = [make_rows(n, seed) for seed, n in enumerate(TRAIN_SIZES[-count:])]
    return sets, [initial_weights(3, 2, config, np.random.default_rng([7, m])) for m in range(count)]


def make_rngs(count: int) -> list[np.random.Generator]:
    """The generators of the minibatches; each call returns equal ones."""
    return [np.random.default_rng([8, m]) for m in range(count)]


def fit(sets: Sequence[Rows], config: RegressorConfig, initial: Sequence[list[torch.Tensor]] | None = None) -> FittedRegressors:
    """fit_regressors with the validation rows of this file and fresh generators."""
    return fit_regressors(sets, X_VAL, Y_VAL, config, make_rngs(len(sets)), initial)


def fit_in_units(sets: Sequence[Rows], config: RegressorConfig, labels: LabelScale | None, **changes: Any) -> FittedRegressors:
    """The same with all labels in `UNITS`."""
    sets = [(x, UNITS.to_labels(y)) for x, y in sets]
    return fit_regressors(sets, X_VAL, UNITS.to_labels(Y_VAL), config, make_rngs(len(sets)), labels=labels, **changes)


def make_network(config: RegressorConfig, weights: list[torch.Tensor]) -> torch.nn.Sequential:
    """The same network from torch's own layers."""
    sizes = (3, *config.hidden_sizes, 2)
    layers: list[torch.nn.Module] = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layers.append(torch.nn.Linear(fan_in, fan_out))
        if layer < len(config.hidden_sizes):
            layers += [torch.nn.LayerNorm(fan_out)] if config.layer_norm else []
            layers.append(torch.nn.ReLU())
    network = torch.nn.Sequential(*layers).to(getattr(torch, config.dtype))
    parameters = list(network.parameters())
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight[0].T if parameter.ndim == 2 else weight[0, 0])
    return network


def train_plainly(
    rows: Rows, config: RegressorConfig, weights: list[torch.Tensor], rng: np.random.Generator, units: LabelScale | None = None
) -> tuple[float, np.ndarray, int]:
    """One training on standardised labels: validation loss and predictions for X_VAL, both in the given units, and steps."""
    units = LabelScale.identity(2) if units is None else units
    scale, mean = torch.tensor(units.scale), torch.tensor(units.mean)
    x, y, x_val, y_val = (torch.tensor(a, dtype=getattr(torch, config.dtype)) for a in (*rows, X_VAL, Y_VAL))
    network = make_network(config, weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=False, foreach=False)
    falls = config.schedule == "annealed"
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: math.cos(math.pi / 2 * (done + 0.5) / config.max_steps) ** 2 if falls else 1.0
    )
    best_loss, best_predictions, checks_since_best = float("inf"), np.empty(0), 0
    stream = Minibatches(len(x), config.batch_size, rng)
    for step in range(1, config.max_steps + 1):
        batch = stream.take(1)[0]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(x[batch]), y[batch]).backward()
        optimizer.step()
        rates.step()
        if step % config.eval_every and step < config.max_steps:
            continue
        with torch.no_grad():
            predictions = network(x_val).double() * scale + mean
            loss = torch.nn.functional.mse_loss(predictions, y_val.double() * scale + mean).item()
        if config.patience is None or loss < best_loss:
            best_loss, best_predictions, checks_since_best = loss, predictions.numpy(), 0
        else:
            checks_since_best += 1
        if config.patience is not None and checks_since_best >= config.patience:
            break
    return best_loss, best_predictions, step


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_whole_training_equals_plain_torch_in_float64(count: int, layer_norm: bool, small: RegressorConfig) -> None:
    config = replace(small, layer_norm=layer_norm)
    sets, initial = make_jobs(count, config)
    fitted = fit(sets, config, initial)
    assert fitted.train_steps.max() < config.max_steps  # all stopped early
    assert len(set(fitted.train_steps.tolist())) == count  # and at different times
    predictions = fitted.predict(X_VAL)
    for m, (rows, weights, rng) in enumerate(zip(sets, initial, make_rngs(count), strict=True)):
        loss, expected, steps = train_plainly(rows, config, weights, rng)
        assert fitted.train_steps[m] == steps
        assert fitted.val_loss[m] == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(predictions[m], expected, rtol=1e-6, atol=1e-9)
    assert not fitted.diverged.any()


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_fifty_steps_equal_plain_torch_in_float32(count: int, layer_norm: bool, small: RegressorConfig) -> None:
    config = replace(small, dtype="float32", patience=None, max_steps=50, layer_norm=layer_norm)
    sets, initial = make_jobs(count, config)
    predictions = fit(sets, config, initial).predict(X_VAL)
    for m, (rows, weights, rng) in enumerate(zip(sets, initial, make_rngs(count), strict=True)):
        _, expected, _ = train_plainly(rows, config, weights, rng)
        error = np.linalg.norm(predictions[m] - expected) / np.linalg.norm(expected)
        assert error < 1e-4
        start = make_network(config, weights)(torch.tensor(X_VAL, dtype=torch.float32)).detach().numpy()
        assert np.linalg.norm(expected - start) / np.linalg.norm(expected) > 0.1  # 50 steps do change the predictions


@pytest.mark.parametrize("stops", [True, False], ids=["stops", "ends"])
@pytest.mark.parametrize(
    ("schedule", "units"),
    [("annealed", None), ("constant", UNITS), ("annealed", UNITS)],
    ids=["annealed", "standardised labels", "both"],
)
def test_schedules_and_label_units_equal_plain_torch(
    schedule: Any, units: LabelScale | None, stops: bool, small: RegressorConfig
) -> None:
    """Whole trainings in double precision, short ones in single precision."""
    changes: dict[str, Any] = {"patience": 4, "max_steps": 600} if stops else {"patience": None, "max_steps": 150}
    for dtype, limit in (("float64", 1e-6), ("float32", 1e-4)):
        single = {"patience": None, "max_steps": 60} if dtype == "float32" else {}
        config = replace(small, schedule=schedule, dtype=dtype, **changes | single)
        sets, initial = make_jobs(3, config)
        fitted = fit(sets, config, initial) if units is None else fit_in_units(sets, config, units, initial=initial)
        predictions = fitted.predict(X_VAL)
        for m, (rows, weights, rng) in enumerate(zip(sets, initial, make_rngs(3), strict=True)):
            loss, expected, steps = train_plainly(rows, config, weights, rng, units)
            assert fitted.train_steps[m] == steps
            assert fitted.val_loss[m] == pytest.approx(loss, rel=limit)
            errors = np.linalg.norm(predictions[m] - expected, axis=0) / np.linalg.norm(expected, axis=0)
            assert errors.max() < limit
        if config.patience is not None:
            assert len(set(fitted.train_steps.tolist())) > 1  # some stop early, at different times
            early = fitted.train_steps < config.max_steps
            assert (fitted.kept_steps[early] == fitted.train_steps[early] - 4 * config.eval_every).all()
            assert (fitted.kept_steps <= fitted.train_steps).all()


def test_labels_standardised_by_hand_give_the_same(small: RegressorConfig) -> None:
    config = replace(small, patience=None, max_steps=200)
    sets, _ = make_jobs(3, config)
    own, by_hand = fit_in_units(sets, config, UNITS), fit(sets, config)
    assert np.array_equal(own.train_steps, by_hand.train_steps)
    np.testing.assert_allclose(own.predict(X_VAL), UNITS.to_labels(by_hand.predict(X_VAL)), rtol=1e-6)
    errors = own.predict(X_VAL) - UNITS.to_labels(Y_VAL)
    np.testing.assert_allclose(own.val_loss, np.square(errors).mean(axis=(1, 2)), rtol=1e-10)


def test_targets_beyond_single_precision_are_trained_in_units_of_their_own(small: RegressorConfig) -> None:
    config, rows = replace(small, dtype="float32", max_steps=300), make_jobs(1, small)[0][0]
    huge = LabelScale(np.array([1e70, 0.0]), np.array([1e70, 1e-40]))
    one = fit_regressors([(rows[0], huge.to_labels(rows[1]))], X_VAL, huge.to_labels(Y_VAL), config, make_rngs(1), None, huge)
    assert not one.diverged[0]
    errors = one.predict(X_VAL)[0] - huge.to_labels(Y_VAL)
    assert one.val_loss[0] == pytest.approx(np.square(errors).mean(), rel=1e-4)
    assert np.abs(errors / huge.scale).mean() < 1.5  # both targets, though the loss sees the first alone


@pytest.mark.parametrize("layer_norm", [False, True])
def test_batch_equals_each_regressor_trained_alone(layer_norm: bool, small: RegressorConfig) -> None:
    # Fails if taking stopped regressors out of the stack disturbs the Adam moments of the others.
    config = replace(small, layer_norm=layer_norm)
    sets, _ = make_jobs(3, config)
    together = fit(sets, config)
    assert len(set(together.train_steps.tolist())) == 3
    predictions = together.predict(X_VAL)
    for m, rows in enumerate(sets):
        alone = fit_regressors([rows], X_VAL, Y_VAL, config, [make_rngs(3)[m]])
        assert together.train_steps[m] == alone.train_steps[0]
        assert together.val_loss[m] == pytest.approx(alone.val_loss[0], rel=1e-6)
        np.testing.assert_allclose(predictions[m], alone.predict(X_VAL)[0], rtol=1e-6, atol=1e-9)


def test_stopped_regressors_cost_nothing_more(small: RegressorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = NativeStack if small.backend == "native" else TorchStack
    advance = stack.advance
    advanced: list[tuple[int, int]] = []

    def counted(self: Any, rows: np.ndarray, rates: np.ndarray) -> None:
        advanced.append(rows.shape[:2])
        assert len(self.weights()[0]) == len(rows)
        advance(self, rows, rates)

    monkeypatch.setattr(stack, "advance", counted)
    sets, _ = make_jobs(3, small)
    fitted = fit(sets, small)
    assert sum(count * steps for count, steps in advanced) == fitted.train_steps.sum()
    assert {count for count, _ in advanced} == {1, 2, 3}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layer_norm", [False, True])
def test_cuda_agrees_with_the_cpu(layer_norm: bool, small: RegressorConfig) -> None:
    config = replace(small, layer_norm=layer_norm)
    sets, _ = make_jobs(3, config)
    on_cpu, on_cuda = fit(sets, config), fit(sets, replace(config, device="cuda"))
    assert on_cuda.weights[0].device.type == "cuda"
    assert np.array_equal(on_cpu.train_steps, on_cuda.train_steps)
    np.testing.assert_allclose(on_cuda.val_loss, on_cpu.val_loss, rtol=1e-4)
    np.testing.assert_allclose(on_cuda.predict(X_VAL), on_cpu.predict(X_VAL), rtol=1e-4, atol=1e-6)

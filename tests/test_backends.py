"""The C kernel against the torch stack for networks and row counts of every size, and what happens without a compiler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixrl_env import RegressorConfig, fit_regressors
from mixrl_env.backends import NativeStack, NetworkShape, Stack, TorchStack, TrainingRows, ValidationRows
from tests.backends import BACKENDS, needs_kernel

LONG_STRIDES = [128, 256]  # rows of 128 doubles or 256 floats are whole kilobytes: there the stride is a vector longer
SHAPE = NetworkShape((7, *LONG_STRIDES, 19, 3), layer_norm=True)
counts, seeds = st.integers(1, 70), st.integers(0, 2**32 - 1)


@st.composite
def shapes(draw: st.DrawFn) -> NetworkShape:
    rng, layer_norm = np.random.default_rng(draw(seeds)), draw(st.booleans())  # hypothesis' own lists are often short
    # A row normalised over one to three nodes is nearly constant: its gradient is rounding error, which Adam magnifies.
    hidden = rng.integers(4 if layer_norm else 1, 71, size=rng.integers(4))
    hidden = np.where(rng.random(len(hidden)) < 0.2, rng.choice(LONG_STRIDES, len(hidden)), hidden)
    return NetworkShape((int(rng.integers(1, 41)), *hidden.tolist(), int(rng.integers(1, 6))), layer_norm)


class Job:
    """Random weights, rows and minibatches for stacks of either backend."""

    def __init__(self, shape: NetworkShape, dtype: str, seed: int = 0, rows: int = 50, val_rows: int = 20) -> None:
        self.shape, self.rng, self.num_rows, self.count = shape, np.random.default_rng(seed), rows, 3
        train, val = ([self.rng.normal(size=(n, shape.sizes[end])) for end in (0, -1)] for n in (rows, val_rows))
        self.train, self.val = TrainingRows(*train), ValidationRows(*val, self.rng.uniform(0.1, 2, shape.sizes[-1]))
        self.weights = [  # gains and shifts are drawn too, so that one taken for another is seen
            torch.tensor(self.rng.uniform(-1, 1, (self.count, *size)) / max(2, size[0] ** 0.5), dtype=getattr(torch, dtype))
            for size in shape.parameters()
        ]

    def minibatches(self, steps: int, batch: int) -> np.ndarray:
        return self.rng.integers(self.num_rows, size=(self.count, steps, batch))

    def learning_rates(self, steps: int) -> np.ndarray:
        """Another one each step, so that one taken for another is seen."""
        return self.rng.uniform(5e-4, 1.5e-3, steps)

    def stack(self, backend: str, chosen: slice = slice(None)) -> Stack:
        start = [weight[chosen] for weight in self.weights], self.shape, self.train, self.val
        return NativeStack(*start) if backend == "native" else TorchStack(*start, torch.device("cpu"))


def differences(one: Stack, other: Stack) -> np.ndarray:
    """For each regressor the largest relative difference of a parameter table or of the losses, sorted."""
    weights = zip(one.weights(), other.weights(), strict=True)
    tables = [((a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).numpy() for a, b in weights]
    return np.sort(np.max([*tables, np.abs(one.losses() / other.losses() - 1)], axis=0))


def train_on_both(job: Job, steps: int, batch: int) -> tuple[Stack, Stack]:
    """Two calls: the second goes on with the moments and the step count of the first."""
    native, theirs = job.stack("native"), job.stack("torch")
    for part in (steps // 3, steps - steps // 3):
        rows, rates = job.minibatches(part, batch), job.learning_rates(part)
        native.advance(rows, rates)
        theirs.advance(rows, rates)
    assert not torch.allclose(native.weights()[-1], job.weights[-1], atol=1e-3)
    return native, theirs


@needs_kernel
@pytest.mark.parametrize(("dtype", "steps", "limit"), [("float64", 120, 1e-7), ("float32", 50, 1e-4)])
@settings(deadline=None, derandomize=True, max_examples=12)
@given(shapes(), counts, counts, seeds)
@example(SHAPE, 33, 70, 0)
def test_training_equals_torch(
    dtype: str, steps: int, limit: float, shape: NetworkShape, batch: int, rows: int, seed: int
) -> None:
    *others, last = differences(*train_on_both(Job(shape, dtype, seed, rows=rows), steps, batch))
    assert max(others) < limit
    # In single precision one regressor in a thousand meets a ReLU so near 0 that rounding switches it on or off.
    assert last < (limit if dtype == "float64" else 0.1)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(shapes(), st.integers(1, 300), st.sampled_from(["float64", "float32"]), seeds)
def test_losses_of_any_number_of_rows(backend: str, shape: NetworkShape, val_rows: int, dtype: str, seed: int) -> None:
    """Against the network written out in numpy."""
    job, expected = Job(shape, dtype, seed, val_rows=val_rows), []
    for m in range(job.count):
        tables, hidden = iter([weight[m].double().numpy() for weight in job.weights]), job.val.x
        for _ in shape.sizes[1:-1]:
            hidden = hidden @ next(tables) + next(tables)
            if shape.layer_norm:
                hidden = (hidden - hidden.mean(axis=1, keepdims=True)) / np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
                hidden = hidden * next(tables) + next(tables)
            hidden = np.maximum(hidden, 0)
        expected.append((job.val.weights * np.square(hidden @ next(tables) + next(tables) - job.val.y)).mean())
    np.testing.assert_allclose(job.stack(backend).losses(), expected, rtol=1e-10 if dtype == "float64" else 1e-4)


@needs_kernel
def test_the_order_of_the_columns_in_memory_changes_nothing() -> None:
    one, other = Job(SHAPE, "float32"), Job(SHAPE, "float32")
    other.train = TrainingRows(*map(np.asfortranarray, other.train))
    other.val = ValidationRows(*map(np.asfortranarray, other.val[:2]), other.val.weights)
    rows, rates = one.minibatches(5, batch=7), one.learning_rates(5)
    stacks = [job.stack("native") for job in (one, other)]
    for stack in stacks:
        stack.advance(rows, rates)
    assert_identical(*stacks, slice(None))


DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_identical(whole: Stack, part: Stack, chosen: slice) -> None:
    """The chosen regressors of a stack, and a stack of these alone, bit for bit."""
    assert all(torch.equal(a[chosen], b) for a, b in zip(whole.weights(), part.weights(), strict=True))
    assert np.array_equal(whole.losses()[chosen], part.losses())


@needs_kernel
@DTYPES
def test_numbers_depend_neither_on_the_others_nor_on_threads(dtype: str) -> None:
    job, before = Job(SHAPE, dtype), torch.get_num_threads()
    rows, rates = job.minibatches(20, batch=33), job.learning_rates(20)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            together, smaller = job.stack("native"), job.stack("native")
            together.advance(rows, rates)
            for chosen in (slice(0, 1), slice(1, 2), slice(1, 3)):
                part = job.stack("native", chosen)
                part.advance(rows[chosen], rates)
                assert_identical(together, part, chosen)
            smaller.advance(rows[:, :10], rates[:10])
            smaller.drop(np.array([True, False, False]))
            smaller.advance(rows[1:, 10:], rates[10:])
            assert_identical(together, smaller, slice(1, 3))
    finally:
        torch.set_num_threads(before)


@needs_kernel
@DTYPES
def test_backends_of_a_config(dtype: str) -> None:
    config = RegressorConfig(hidden_sizes=(9,), max_steps=40, patience=None, dtype=dtype, device="cpu")
    assert config.resolve_backend() == "native"
    assert replace(config, hidden_sizes=(1,) * 64).resolve_backend() == "torch"
    with pytest.raises(ValueError, match="at most 64 layers"):
        replace(config, hidden_sizes=(1,) * 64, backend="native")
    with pytest.raises(ValueError, match="backend must be 'auto', 'native' or 'torch', got 'numpy'"):
        replace(config, backend="numpy")  # type: ignore[arg-type]
    rows = Job(NetworkShape((2, 1), False), dtype).train
    native, theirs = (
        fit_regressors([rows], *rows, replace(config, backend=b), [np.random.default_rng(0)]) for b in ("native", "torch")
    )
    assert native.val_loss == pytest.approx(theirs.val_loss, rel=1e-5 if dtype == "float32" else 1e-9)

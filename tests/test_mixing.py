"""Mixed rows against a plain loop, and the mix ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixrl_env.data import LabelScale
from mixrl_env.mixing import check_ratio, draw_lam, mix

# The machine may be busy: no deadlines. The examples are the same in every run.
thorough = settings(deadline=None, derandomize=True, max_examples=200)


def plain_mix(table: np.ndarray, i: np.ndarray, j: np.ndarray, lam: list[float]) -> list[list[float]]:
    """One number at a time."""
    return [
        [ratio * float(table[a, c]) + (1 - ratio) * float(table[b, c]) for c in range(table.shape[1])]
        for a, b, ratio in zip(i.tolist(), j.tolist(), lam, strict=True)
    ]


@thorough
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 10), st.integers(1, 5), st.integers(1, 3)),
    pairs=st.integers(0, 20),
    fixed=st.none() | st.floats(0, 1),
)
def test_mix_against_a_loop(seed: int, shape: tuple[int, int, int], pairs: int, fixed: float | None) -> None:
    n, d, e = shape
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, e))
    i, j = rng.integers(n, size=pairs), rng.integers(n, size=pairs)
    lam = rng.uniform(size=pairs) if fixed is None else fixed
    x_mixed, y_mixed = mix(x, y, i, j, lam)
    each = np.broadcast_to(lam, pairs).tolist()
    assert x_mixed.shape == (pairs, d)
    assert y_mixed.shape == (pairs, e)
    assert x_mixed.tolist() == plain_mix(x, i, j, each)
    assert y_mixed.tolist() == plain_mix(y, i, j, each)


def test_mixing_standardised_labels_is_standardising_mixed_labels() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal([5, -300], [1e-3, 40], (20, 2))
    scale = LabelScale(y.mean(axis=0), y.std(axis=0))
    i, j = rng.integers(20, size=(2, 50))
    lam = rng.uniform(size=50)
    _, mixed = mix(y, y, i, j, lam)
    _, mixed_standard = mix(y, scale.to_standard(y), i, j, lam)
    np.testing.assert_allclose(scale.to_standard(mixed), mixed_standard, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scale.to_labels(mixed_standard), mixed, rtol=1e-12)


TEN = np.arange(10)


def test_an_array_holds_the_ratio_of_every_pair() -> None:
    lam = np.array([[0.5, 0.1], [0.9, 0.5]])
    checked = check_ratio(lam)
    lam[:] = 0  # what the caller does with the array afterwards changes nothing
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert draw_lam(checked, np.array([0, 1, 1]), np.array([1, 0, 1]), rng).tolist() == [0.1, 0.9, 0.5]
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_ratios_have_the_right_distribution(alpha: float) -> None:
    count = 20_000
    rows = np.zeros(count, dtype=np.int64)
    lam = draw_lam(("beta", alpha), rows, rows, np.random.default_rng(1))
    assert lam.shape == (count,)
    assert lam.min() >= 0
    assert lam.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(lam.mean() - 0.5) < 5 * math.sqrt(variance / count)
    assert lam.var() == pytest.approx(variance, rel=0.05)


def test_beta_ratios_come_from_the_given_generator_only() -> None:
    np.random.seed(0)  # noqa: NPY002  the global generator is what must not matter
    first = draw_lam(("beta", 0.5), TEN, TEN, np.random.default_rng(2))
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    again = draw_lam(("beta", 0.5), TEN, TEN, np.random.default_rng(2))
    after = np.random.get_state()  # noqa: NPY002
    other = draw_lam(("beta", 0.5), TEN, TEN, np.random.default_rng(3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]

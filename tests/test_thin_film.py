"""Thin films: the simulator against an independent package and limits that have formulas; the tasks made of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tmm import coh_tmm

import mixrl_env.datasets.thin_film
from mixrl_env import RegressionData, load_dataset
from mixrl_env.datasets.thin_film import Materials, materials, reflectance, spectra

SYNTHETIC, PRODUCT = "synthetic", "product"


def parts(data: RegressionData) -> list[tuple[np.ndarray, np.ndarray]]:
    assert data.x_test is not None
    assert data.y_test is not None
    return [(data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)]


def whole(data: RegressionData) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.concatenate(some) for some in zip(*parts(data), strict=True))
    return x, y


def random_stack(seed: int, absorbing: bool) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Three stacks of 1 to 6 layers at 4 wavelengths: thicknesses, layers, substrate, wavelengths."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    index = rng.uniform(1.2, 5, (count + 1, 4)) + 1j * (rng.uniform(0, 3, (count + 1, 4)) if absorbing else 0)
    return rng.uniform(0, 400, (3, count)), list(index[:-1]), index[-1], rng.uniform(250, 900, 4)


def by_tmm(thicknesses: np.ndarray, layers: list[np.ndarray], substrate: np.ndarray, wavelengths: np.ndarray) -> np.ndarray:
    """Reflectance and transmittance by the package tmm, one stack and one wavelength at a time, shape (2, n, w)."""
    results = np.empty((2, len(thicknesses), len(wavelengths)))
    for row, stack in enumerate(thicknesses):
        for column, wavelength in enumerate(wavelengths):
            indices = [1, *(complex(layer[column]) for layer in layers), complex(substrate[column])]
            theirs: dict[str, Any] = coh_tmm("s", indices, [math.inf, *stack, math.inf], 0, wavelength)
            results[:, row, column] = theirs["R"], theirs["T"]
    return results


@pytest.mark.parametrize("absorbing", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_reflectance_is_that_of_tmm(seed: int, absorbing: bool) -> None:
    stack = random_stack(seed, absorbing)
    np.testing.assert_allclose(reflectance(*stack), by_tmm(*stack)[0], rtol=0, atol=1e-10)


def test_spectra_of_the_tasks_are_those_of_tmm() -> None:
    rng = np.random.default_rng(0)
    for count, points in ((4, 226), (20, 580)):
        wavelengths, nitride, oxide, silicon = materials(points)
        thicknesses, some = rng.uniform(10, 100, (3, count)), rng.choice(points, 5, replace=False)
        expected = by_tmm(thicknesses, [m[some] for m in (nitride, oxide) * (count // 2)], silicon[some], wavelengths[some])
        np.testing.assert_allclose(spectra(thicknesses, points)[:, some], expected[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_lossless_stacks_conserve_energy(seed: int) -> None:
    thicknesses, layers, substrate, wavelengths = random_stack(seed, absorbing=False)
    ours = reflectance(thicknesses, layers, substrate, wavelengths)
    np.testing.assert_allclose(ours + by_tmm(thicknesses, layers, substrate, wavelengths)[1], 1, rtol=0, atol=1e-10)
    # As much passes one way as the other, so between air and air the stack reflects alike upside down.
    air = np.ones(4, dtype=complex)
    upside_down = reflectance(thicknesses[:, ::-1], layers[::-1], air, wavelengths)
    np.testing.assert_allclose(reflectance(thicknesses, layers, air, wavelengths), upside_down, rtol=0, atol=1e-12)


def test_wavelengths_are_evenly_spaced_in_energy() -> None:
    for points in (226, 580):
        wavelengths, *indices = materials(points)
        assert all(array.shape == (points,) for array in (wavelengths, *indices))
        assert wavelengths[[0, -1]] == pytest.approx([780, 285.6], abs=1e-9)
        np.testing.assert_allclose(np.diff(1 / wavelengths), (1 / 285.6 - 1 / 780) / (points - 1), rtol=1e-4)
    for bundled, same in zip(materials(226), read_indices(), strict=True):
        np.testing.assert_allclose(bundled, same, rtol=1e-9)
    np.testing.assert_allclose(materials(451).silicon[::2], materials().silicon, rtol=1e-9)


def read_indices() -> Materials:
    """The bundled file, not by the loader under test."""
    path = Path(mixrl_env.datasets.thin_film.__file__).with_name("thin_film_indices.csv")
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return Materials(table[:, 0], *(table[:, n] + 1j * table[:, n + 1] for n in (1, 3, 5)))


def test_synthetic_rows_are_distinct_stacks_with_uniform_noise() -> None:
    data = load_dataset(SYNTHETIC, 1)
    assert [(x.shape, y.shape) for x, y in parts(data)] == [((n, 226), (n, 4)) for n in (500, 300, 300)]
    assert data.target_names == ("layer_1", "layer_2", "layer_3", "layer_4")
    assert data.feature_names == tuple(str(point) for point in range(226))
    assert data.name == "Synthetic"
    x, y = whole(data)
    assert set(y.ravel()) == set(np.arange(10.0, 101.0, 10.0))
    assert len({tuple(row) for row in y}) == 1100
    assert stats.chisquare(np.unique(y, return_counts=True)[1]).pvalue > 1e-4
    assert data.y_train.std() == pytest.approx(28.7, abs=1)  # the paper's R2 and RMSE imply 29
    noise = (x - spectra(y)).ravel()
    assert np.abs(noise).max() <= 0.015
    assert stats.kstest(noise[:20_000], "uniform", (-0.015, 0.03)).pvalue > 1e-4
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] == pytest.approx(0, abs=0.01)


def test_product_has_the_sizes_and_the_spread_of_the_paper() -> None:
    data = load_dataset(PRODUCT, 1)
    assert [(x.shape, y.shape) for x, y in parts(data)] == [((n, 580), (n, 20)) for n in (300, 300, 234)]
    assert data.target_names == tuple(f"layer_{layer}" for layer in range(1, 21))
    assert data.name == "Product"
    x, y = whole(data)
    np.testing.assert_allclose(y.mean(axis=0), [30, 25] * 10, atol=0.4)
    np.testing.assert_allclose(y.std(axis=0), 2.6, rtol=0.1)
    noise = x - spectra(y, 580)
    assert np.abs(noise).max() <= 0.015
    assert noise.std() == pytest.approx(0.015 / 3**0.5, rel=0.01)

"""Thin films: the simulator against an independent package and limits that have formulas; the tasks made of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
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
            told: dict[str, Any] = coh_tmm("s", indices, [math.inf, *stack, math.inf], 0, wavelength)
            results[:, row, column] = told["R"], told["T"]
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


def test_layers_without_thickness_are_not_there() -> None:
    wavelengths, _, oxide, silicon = materials()
    fresnel = np.abs((1 - silicon) / (1 + silicon)) ** 2
    np.testing.assert_allclose(spectra(np.zeros((2, 4))), np.tile(fresnel, (2, 1)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(reflectance(np.empty((1, 0)), [], silicon, wavelengths)[0], fresnel, rtol=0, atol=1e-15)
    alone = reflectance([[70.0]], [oxide], silicon, wavelengths)
    np.testing.assert_allclose(spectra([[0, 30, 0, 40]]), alone, rtol=0, atol=1e-12)


def test_a_thick_absorbing_layer_hides_what_is_below() -> None:
    wavelengths, nitride, _, silicon = materials()
    metal = np.full(226, 1 + 5j)
    hidden = reflectance([[1e5, 50.0]], [metal, nitride], silicon, wavelengths)
    np.testing.assert_allclose(hidden, 25 / 29, rtol=1e-12)  # |1 - n|^2 / |1 + n|^2


def test_a_row_does_not_depend_on_the_others() -> None:
    thicknesses = np.random.default_rng(0).choice([10.0, 20.0, 35.5], (600, 4))
    together = spectra(thicknesses)
    for row in (0, 255, 256, 599):
        np.testing.assert_allclose(together[row], spectra(thicknesses[[row]])[0], rtol=0, atol=1e-14)
    assert together.shape == (600, 226)
    assert ((together >= 0) & (together <= 1)).all()


@pytest.mark.parametrize(
    ("thicknesses", "message"),
    [
        ([10.0, 20.0], r"must have shape \(stacks, 2\), one column a layer, got \(2,\)"),
        ([[10.0, 20.0, 30.0]], r"must have shape \(stacks, 2\), one column a layer, got \(1, 3\)"),
        ([[10.0, -1.0]], "finite and not negative"),
        ([[10.0, math.nan]], "finite and not negative"),
        ([[math.inf, 1.0]], "finite and not negative"),
    ],
)
def test_thicknesses_that_are_refused(thicknesses: Any, message: str) -> None:
    layer = np.full(3, 1.5 + 0j)
    with pytest.raises(ValueError, match=message):
        reflectance(thicknesses, [layer, layer], layer, np.array([400.0, 500.0, 600.0]))


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


def test_global_generators_are_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr,index]  # noqa: NPY002
    first = load_dataset(SYNTHETIC, 3)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert np.array_equal(first.x_train, load_dataset(SYNTHETIC, 3).x_train)


@pytest.mark.parametrize(
    ("env_id", "rows", "width", "options", "scale"),
    [
        ("MixRL-Synthetic-v0", 500, 226 + 4, range(1, 33), 0.001),
        ("MixRL-Product-v0", 300, 580 + 20, range(10, 271, 10), 0.5),
    ],
)
def test_environments_with_the_papers_settings(env_id: str, rows: int, width: int, options: range, scale: float) -> None:
    settings = gym.spec(env_id).kwargs
    assert settings["options"] == [*(["data", k] for k in options), *(["label", k] for k in options)]
    assert settings["regressor"] == {
        "hidden_sizes": [2048, 1024, 512, 256],
        "layer_norm": True,
        "learning_rate": 0.0001,
        "batch_size": 128,
    }
    tiny = {"hidden_sizes": [4], "batch_size": 8, "max_steps": 3}
    env = gym.make(env_id, split_seed=2, regressor=tiny)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (rows, width + 2 * len(options))
    again, reward, terminated, truncated, info = env.step(np.arange(rows) % 50 == 0)
    assert (again.shape, terminated, truncated) == (observation.shape, True, False)
    assert info["num_selected"] == rows // 50
    assert reward == pytest.approx(-scale * info["val_loss"])


def test_a_vector_environment_of_synthetic() -> None:
    tiny = {"hidden_sizes": [4], "batch_size": 8, "max_steps": 2, "layer_norm": True}
    envs = gym.make_vec("MixRL-Synthetic-v0", 2, "vector_entry_point", regressor=tiny)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (2, 500, 226 + 4 + 64)
    assert np.isfinite(envs.step(np.ones((2, 500), dtype=np.int8))[1]).all()

"""Reflectance spectra of thin-film stacks at normal incidence, and two tasks made of them: tell thicknesses from a spectrum.

Synthetic is the simulator behind the paper's public task (DACON 235554) as far as its printed rows tell; docs/datasets.md
has the residuals. Product is a stand-in: the paper's table of that name is proprietary, and not a number of it is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, RegressionData
from mixrl_env.streams import data_stream

ComplexArray = npt.NDArray[np.complex128]

NOISE = 0.015
"""Reflectance carries noise that is uniform within this, as in the DACON table."""
SYNTHETIC_SIZES = (500, 300, 300)
"""Training, validation and test rows (Table 1)."""
SYNTHETIC_THICKNESSES = np.arange(10.0, 101.0, 10.0)
"""Thicknesses of each layer in nm: the part of the DACON table that the paper takes (App. B.1)."""
PRODUCT_SIZES = (300, 300, 234)
"""Training, validation and test rows (Table 1)."""
PRODUCT_POINTS = 580
"""Points of a Product spectrum (Table 1), over the same photon energies."""
PRODUCT_NOMINAL = np.tile([30.0, 25.0], 10)
"""Nominal thicknesses in nm of the 20 layers of Product, Si3N4 and SiO2 in turn; chosen here."""
PRODUCT_SPREAD = 2.6
"""Standard deviation in nm of a thickness of Product around its nominal one: what R2 and RMSE of the paper's Table 2 imply."""
_STACKS_AT_ONCE = 256  # so that the arrays of the recursion stay in the cache


class Materials(NamedTuple):
    """Complex refractive indices n + ik of the three materials.

    Attributes:
        wavelengths: in nm, shape (w,), evenly spaced in photon energy, longest first.
        nitride: of Si3N4, shape (w,).
        oxide: of SiO2, shape (w,).
        silicon: of crystalline Si, shape (w,).
    """

    wavelengths: FloatArray
    nitride: ComplexArray
    oxide: ComplexArray
    silicon: ComplexArray


@cache
def _bundled() -> Materials:
    import pandas as pd  # slow to import; listing the datasets does not need it

    with files("mixrl_env.datasets").joinpath("thin_film_indices.csv").open() as table:
        columns = pd.read_csv(table).to_numpy().T
    return Materials(columns[0], *(n + 1j * k for n, k in columns[1:].reshape(3, 2, -1)))


def materials(points: int = 226) -> Materials:
    """The bundled indices at so many points evenly spaced in photon energy, from 780 to 285.6 nm.

    226 points are the bundled ones themselves; for another number they are interpolated linearly in photon energy.
    """
    bundled = _bundled()
    energy = 1 / bundled.wavelengths  # in units of hc
    at = np.linspace(energy[0], energy[-1], points)
    return Materials(1 / at, *(np.interp(at, energy, index) for index in bundled[1:]))


def reflectance(
    thicknesses: npt.ArrayLike, layers: Sequence[ComplexArray], substrate: ComplexArray, wavelengths: FloatArray
) -> FloatArray:
    """Reflected share of the intensity of light that falls on stacks from air at normal incidence.

    The recursion over interfaces gives what the product of transfer matrices gives, and cannot overflow in absorbing layers.

    Args:
        thicknesses: in nm, shape (n, l), the layer next to the air first.
        layers: l arrays of complex refractive indices n + ik, each of shape (w,).
        substrate: index of the half space below the last layer, shape (w,).
        wavelengths: in nm, in vacuum, shape (w,).

    Returns:
        Shape (n, w).

    Raises:
        ValueError: if there is not one thickness a layer, or a thickness is negative or not finite.
    """
    thicknesses = np.asarray(thicknesses, dtype=np.float64)
    if thicknesses.ndim != 2 or thicknesses.shape[1] != len(layers):
        raise ValueError(f"thicknesses must have shape (stacks, {len(layers)}), one column a layer, got {thicknesses.shape}")
    if not (np.isfinite(thicknesses) & (thicknesses >= 0)).all():
        raise ValueError("thicknesses must be finite and not negative")
    result = np.empty((len(thicknesses), len(wavelengths)))
    for start in range(0, len(result), _STACKS_AT_ONCE):
        part = slice(start, start + _STACKS_AT_ONCE)
        amplitude = _amplitude(thicknesses[part], layers, substrate, wavelengths)
        result[part] = amplitude.real**2 + amplitude.imag**2
    return result


def _amplitude(
    thicknesses: FloatArray, layers: Sequence[ComplexArray], substrate: ComplexArray, wavelengths: FloatArray
) -> ComplexArray:
    """Complex amplitude of the reflected wave, shape (n, w): from the lowest interface upwards, one layer at a time."""
    media = [np.ones(len(wavelengths), dtype=np.complex128), *layers]
    below, amplitude = substrate, np.zeros((len(thicknesses), len(wavelengths)), dtype=np.complex128)
    for layer in range(len(layers), -1, -1):
        interface = (media[layer] - below) / (media[layer] + below)  # Fresnel, from above
        amplitude = (interface + amplitude) / (1 + interface * amplitude)
        if layer:
            # Down through the layer and up again. Thicknesses on a grid have few values: one exponential for each.
            values, which = np.unique(thicknesses[:, layer - 1], return_inverse=True)
            amplitude *= np.exp(4j * np.pi * values[:, None] * (media[layer] / wavelengths))[which]
        below = media[layer]
    return amplitude


def spectra(thicknesses: npt.ArrayLike, points: int = 226) -> FloatArray:
    """Noise-free spectra of air / Si3N4 / SiO2 / Si3N4 / SiO2 / ... / Si.

    Args:
        thicknesses: in nm, shape (n, l), the layer next to the air first.
        points: of a spectrum; see `materials`.

    Returns:
        Shape (n, points).

    Raises:
        ValueError: as `reflectance` does.
    """
    thicknesses = np.asarray(thicknesses, dtype=np.float64)
    wavelengths, nitride, oxide, silicon = materials(points)
    layers = [oxide if layer % 2 else nitride for layer in range(thicknesses.shape[-1])]
    return reflectance(thicknesses, layers, silicon, wavelengths)


def load_synthetic(split_seed: int) -> RegressionData:
    """The Synthetic task: 226 reflectances; labels are the thicknesses of four layers in nm.

    Rows are distinct combinations of thicknesses, drawn anew for every seed.

    Args:
        split_seed: the same seed draws the same 500 / 300 / 300 rows with the same noise.
    """
    rng = data_stream(split_seed)
    choices = len(SYNTHETIC_THICKNESSES)
    drawn = rng.choice(choices**4, sum(SYNTHETIC_SIZES), replace=False)
    thicknesses = SYNTHETIC_THICKNESSES[np.stack(np.unravel_index(drawn, (choices,) * 4), axis=1)]
    return _measured(thicknesses, 226, SYNTHETIC_SIZES, rng, "Synthetic")


def load_product(split_seed: int) -> RegressionData:
    """A stand-in for the Product task: 580 reflectances; labels are the thicknesses of 20 layers in nm.

    The real table is proprietary. This one has its sizes and the spread of its labels, and the optics of Synthetic: normal
    distributions around nominal thicknesses, drawn anew for every seed.

    Args:
        split_seed: the same seed draws the same 300 / 300 / 234 rows with the same noise.
    """
    rng = data_stream(split_seed)
    thicknesses = rng.normal(PRODUCT_NOMINAL, PRODUCT_SPREAD, (sum(PRODUCT_SIZES), len(PRODUCT_NOMINAL)))
    return _measured(thicknesses, PRODUCT_POINTS, PRODUCT_SIZES, rng, "Product")


def _measured(
    thicknesses: FloatArray, points: int, sizes: tuple[int, int, int], rng: np.random.Generator, name: str
) -> RegressionData:
    """Spectra with noise as features, thicknesses as labels, rows in the order they were drawn."""
    clean = spectra(thicknesses, points)
    x = np.split(clean + rng.uniform(-NOISE, NOISE, clean.shape), np.cumsum(sizes)[:2])
    y = np.split(thicknesses, np.cumsum(sizes)[:2])
    return RegressionData(
        x[0],
        y[0],
        x[1],
        y[1],
        x[2],
        y[2],
        feature_names=tuple(map(str, range(points))),
        target_names=tuple(f"layer_{layer}" for layer in range(1, thicknesses.shape[1] + 1)),
        name=name,
    )

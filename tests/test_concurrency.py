"""Environments in threads and in subprocesses give the numbers that they give one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from mixrl import MixRLRegressor
from tests.backends import BACKENDS
from tests.rewards import rewards_of

ROOT = Path(__file__).parent.parent
THREADS = (1, 4)
PATIENCE = 120  # seconds until a program counts as hanging


@pytest.fixture
def _torch_threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def program(*arguments: str, threads: int = 1, **environment: str) -> subprocess.Popen[str]:
    """Python, with every warning an error, in its subprocesses too."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), **environment},
    )


def printed(process: subprocess.Popen[str]) -> Any:
    """What it has printed last, as JSON."""
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


# Subprocesses


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_subprocesses_give_the_rewards_of_one_process_to_the_bit() -> None:
    """Also forked ones of a parent whose OpenMP threads have worked before: they would wait forever for threads they lack."""
    # Forking with threads is what Gymnasium does by default and what Python warns of, from 3.12 on.
    warnings = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    found = printed(program(*warnings, "-m", "tests.start_methods"))
    expected = found.pop("one after the other")
    assert len(found) == 2
    assert len(set(np.ravel(expected))) == 4
    for name, rewards in found.items():
        assert rewards == expected, name


# Threads


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_with_an_environment_each_give_the_numbers_of_one_after_the_other(backend: str) -> None:
    sizes = [1, 2, 3, 2]
    expected = [rewards_of(size, backend) for size in sizes]
    together = Barrier(len(sizes))

    def work(size: int) -> list[list[float]]:
        together.wait(timeout=PATIENCE)
        return rewards_of(size, backend)

    with ThreadPoolExecutor(len(sizes)) as pool:
        assert list(pool.map(work, sizes)) == expected


def fitted_predictions(estimator: Any) -> np.ndarray:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=60)
    predictions: np.ndarray = MixRLRegressor(estimator, cv=2, random_state=0).fit(x, y).predict(x)
    return predictions


@pytest.mark.usefixtures("small_networks")
def test_estimators_are_fitted_in_threads() -> None:
    expected = fitted_predictions(None)
    with ThreadPoolExecutor(2) as pool:
        for predictions in pool.map(fitted_predictions, [None, None]):
            np.testing.assert_array_equal(predictions, expected)


@pytest.mark.usefixtures("_torch_threads_kept")
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_rewards_do_not_depend_on_the_number_of_threads(backend: str, num_envs: int) -> None:
    found = {}
    for threads in THREADS:
        torch.set_num_threads(threads)
        found[threads] = rewards_of(num_envs, backend)
    for threads in THREADS[1:]:
        if backend == "native":
            assert found[threads] == found[1]
        np.testing.assert_allclose(found[threads], found[1], rtol=1e-6)

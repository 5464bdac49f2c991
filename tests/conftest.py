"""One thread for all tests: their networks are tiny, and threads that wait for each other on a busy machine take minutes."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch and scikit-learn when they are imported, after this line


@pytest.fixture
def _global_generators_kept() -> Iterator[None]:
    """For tests that run code which seeds the global generators, as scripts do."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`mixrl augment`, which returns what it prints. Plans are judged by a tree, which gains much by mixing on a plane."""
    from mixrl.estimators.command import main
    from tests.test_command import judge_by
    from tests.test_estimator_input import ENCODED

    del folder
    judge_by(monkeypatch, ENCODED)

    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mixrl", "augment", *arguments])
        main()
        return capsys.readouterr().out

    return command


@pytest.fixture
def any_gain_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimators choose a plan even where its gain is within its standard error: tests of what is then mixed."""
    from mixrl.estimators import search

    monkeypatch.setattr(search, "_CERTAIN", 0.0)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimators' networks of the same kind, but quick to train."""
    from mixrl.estimators import models
    from mixrl_env import features

    small = {"hidden_sizes": (8,), "max_steps": 50}
    monkeypatch.setattr(models, "NETWORK", replace(models.NETWORK, learning_rate=0.05, **small))
    monkeypatch.setattr(features, "CROSS_FITTED", replace(features.CROSS_FITTED, **small))

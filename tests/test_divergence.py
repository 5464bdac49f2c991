"""Trainings whose numbers overflow are flagged, end early, and leave the others of their stack alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from mixrl_env import RegressorConfig, fit_regressors
from tests.backends import BACKENDS

CONFIG = RegressorConfig(
    hidden_sizes=(16, 8), learning_rate=3e-3, batch_size=8, eval_every=20, patience=4, max_steps=100, device="cpu"
)


def make_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """30 rows with three features and two targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 3))
    return x, np.column_stack([np.sin(x[:, 0]), x[:, 2] * x[:, 0]])


X_VAL, Y_VAL = make_rows(99)


def make_rngs() -> list[np.random.Generator]:
    """Two generators; each call returns equal ones."""
    return [np.random.default_rng(0), np.random.default_rng(1)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("patience", [4, None])
def test_huge_learning_rate_is_flagged(patience: int | None, layer_norm: bool, backend: Literal["torch", "native"]) -> None:
    config = replace(CONFIG, learning_rate=1e30, patience=patience, layer_norm=layer_norm, backend=backend)
    fitted = fit_regressors([make_rows(0), make_rows(1)], X_VAL, Y_VAL, config, make_rngs())
    assert fitted.diverged.tolist() == [True, True]
    assert fitted.predict(X_VAL).shape == (2, 30, 2)  # useless, but no error


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("patience", [4, None])
def test_the_others_of_the_stack_do_not_notice(patience: int | None, backend: Literal["torch", "native"]) -> None:
    config = replace(CONFIG, patience=patience, backend=backend)
    (x, y), calm = make_rows(0), make_rows(1)
    fitted = fit_regressors([(x, y * 1e38), calm], X_VAL, Y_VAL, config, make_rngs())
    assert fitted.diverged.tolist() == [True, False]
    if patience is not None:
        assert fitted.train_steps[0] == config.eval_every  # a diverged training ends at the first look
    alone = fit_regressors([calm], X_VAL, Y_VAL, config, make_rngs()[1:])
    assert fitted.train_steps[1] == alone.train_steps[0]
    assert fitted.val_loss[1] == pytest.approx(alone.val_loss[0], rel=1e-4)


def test_no_uninitialised_memory_gets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a new tensor holds is up to chance; a training that never had a finite loss must not hand that on as its weights.
    junk = 12345.0
    monkeypatch.setattr(torch, "empty_like", lambda tensor: torch.full_like(tensor, junk))
    config = replace(CONFIG, learning_rate=1e30)
    fitted = fit_regressors([make_rows(0)], X_VAL, Y_VAL, config, make_rngs()[:1])
    assert fitted.diverged.tolist() == [True]
    assert not any((weight == junk).any() for weight in fitted.weights)

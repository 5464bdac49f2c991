"""What a step spends on anything but training: steps after a stop, batches, mixing, the update of h."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pandas as pd

from agents import Reinforce
from experiments.benchmark.plain import SIZES
from experiments.benchmark.throughput import backends
from experiments.settings import PRESETS
from mixrl_env import FittedRegressors, fit_regressors
from mixrl_env.backends import NativeStack, TorchStack

_UPDATES = 10
_STACK = 16


def wasted_steps(report: Callable[[str], None]) -> pd.DataFrame:
    """Model-steps of 16 early-stopped trainings, counted where they are taken, and those up to the stops."""
    size = SIZES["NO2"]
    rows = []
    for backend in backends():
        report(f"early stops: {backend}")
        stack = NativeStack if backend == "native" else TorchStack
        taken: list[int] = []

        def counted(self: Any, minibatches: np.ndarray, advance: Any = stack.advance, taken: list[int] = taken) -> None:
            taken.append(minibatches.shape[0] * minibatches.shape[1])
            advance(self, minibatches)

        config = replace(size.config, backend=backend, device="cpu", max_stack=_STACK, learning_rate=1e-3, patience=2)
        rngs = [np.random.default_rng(m) for m in range(_STACK)]
        with patch.object(stack, "advance", counted):
            fitted = fit_regressors([size.rows()] * _STACK, *size.rows(), config, rngs)
        needed = int(fitted.train_steps.sum())
        rows.append(
            {
                "training": backend,
                "first_stop": int(fitted.train_steps.min()),
                "last_stop": int(fitted.train_steps.max()),
                "model_steps": sum(taken),
                "share_after_stopping": (sum(taken) - needed) / sum(taken),
            }
        )
    return pd.DataFrame(rows)


def around_training(report: Callable[[str], None]) -> pd.DataFrame:
    """Share of the default agent's time on NO2 outside fit_regressors: batches, observations, mixing, the update of h."""
    settings = PRESETS["default"]
    envs = gym.make_vec(
        settings.env_id, num_envs=settings.num_envs, vectorization_mode="vector_entry_point", **settings.env_settings()
    )
    training: list[float] = []

    def timed(*arguments: Any) -> FittedRegressors:
        start = time.perf_counter()
        fitted = fit_regressors(*arguments)
        training.append(time.perf_counter() - start)
        return fitted

    def progress(done: int, _: dict[str, float]) -> None:
        report(f"around the training: {done} trainings")

    agent = Reinforce(settings.reinforce)
    with patch("mixrl_env.problem.fit_regressors", timed):
        agent.learn(envs, settings.num_envs)  # warm-up
        training.clear()
        start = time.perf_counter()
        agent.learn(envs, _UPDATES * settings.num_envs, progress)
        total = time.perf_counter() - start
    row = {"m": settings.num_envs, "seconds_per_update": total / _UPDATES, "share_around_training": 1 - sum(training) / total}
    return pd.DataFrame([row])

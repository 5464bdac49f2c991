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

from experiments.benchmark.plain import SIZES
from experiments.benchmark.throughput import backends, train
from experiments.presets import PRESETS
from mixrl import ReinforceVariant
from mixrl_env import fit_regressors
from mixrl_env.backends import NativeStack, TorchStack
from mixrl_env.regressor import Minibatches
from mixrl_env.streams import stream

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

        def counted(
            self: Any, minibatches: np.ndarray, *more: Any, advance: Any = stack.advance, taken: list[int] = taken
        ) -> None:
            taken.append(minibatches.shape[0] * minibatches.shape[1])
            advance(self, minibatches, *more)

        config = replace(size.config, backend=backend, device="cpu", max_stack=_STACK, learning_rate=1e-3, patience=2)
        rngs = [stream(m, "early stops") for m in range(_STACK)]
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


def training_profile(report: Callable[[str], None]) -> pd.DataFrame:
    """Where the time of fit_regressors goes, as shares: steps, looks at the validation rows, minibatch indices, all else."""
    rows = []
    for size_name, m in (("NO2", 16), ("Synthetic", 8)):
        for backend in backends():
            report(f"profile: {size_name} size, {backend}")
            stack = NativeStack if backend == "native" else TorchStack
            spent = {"steps": 0.0, "looks": 0.0, "indices": 0.0}
            train(size_name, backend, m)  # warm-up
            start = time.perf_counter()
            with (
                patch.object(stack, "advance", _timed(stack.advance, spent, "steps")),
                patch.object(stack, "losses", _timed(stack.losses, spent, "looks")),
                patch.object(Minibatches, "take", _timed(Minibatches.take, spent, "indices")),
            ):
                train(size_name, backend, m)
            total = time.perf_counter() - start
            shares = {name: seconds / total for name, seconds in spent.items()}
            rows.append({"size": size_name, "training": backend, "M": m, **shares, "else": 1 - sum(shares.values())})
    return pd.DataFrame(rows)


def _timed(method: Any, spent: dict[str, float], name: str) -> Any:
    """The method, adding its seconds to spent[name]."""

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = method(*arguments)
        spent[name] += time.perf_counter() - start
        return result

    return timed


def around_training(report: Callable[[str], None]) -> pd.DataFrame:
    """Share of the default preset's time on NO2 outside fit_regressors: batches, observations, mixing, the update of h."""
    settings = PRESETS["default"]
    envs = gym.make_vec(
        settings.env_id, num_envs=settings.num_envs, vectorization_mode="vector_entry_point", **settings.env_settings()
    )
    spent = {"training": 0.0}

    def progress(done: int, _: dict[str, float]) -> None:
        report(f"around the training: {done} trainings")

    agent = ReinforceVariant(settings.reinforce)
    agent.learn(envs, settings.num_envs)  # warm-up
    with patch("mixrl_env.problem.fit_regressors", _timed(fit_regressors, spent, "training")):
        start = time.perf_counter()
        agent.learn(envs, _UPDATES * settings.num_envs, progress)
        total = time.perf_counter() - start
    row = {
        "m": settings.num_envs,
        "seconds_per_update": total / _UPDATES,
        "share_around_training": 1 - spent["training"] / total,
    }
    return pd.DataFrame([row])

"""Model-steps per second of the inner training, against the plain loop and against the arithmetic alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import pandas as pd

from experiments.benchmark.plain import SIZES, Floor, PlainLoop
from experiments.benchmark.timing import ratio, time_in_turn
from mixrl_env import FittedRegressors, RegressorConfig, fit_regressors
from mixrl_env.regressor import resolve_device
from mixrl_env.streams import stream

ROUNDS = 5
STACKS = {"NO2": (1, 2, 4, 8, 16), "Synthetic": (1, 2, 4, 8)}
CUDA_STACKS = (1, 4, 16, 64, 256, 1024)
_FLOOR_STACKS = (1, 4)
Backend = Literal["native", "torch"]
_Works = dict[str, Callable[[], object]]


def train(size_name: str, backend: Backend, count: int, device: str = "cpu") -> FittedRegressors:
    """What is timed: `count` regressors for the size's steps, all at once, with one validation check."""
    size = SIZES[size_name]
    every = size.steps
    config = replace(
        size.config, backend=backend, device=device, max_stack=count, max_steps=every, eval_every=every, patience=None
    )
    rngs = [stream(m, "throughput") for m in range(count)]
    return fit_regressors([size.rows()] * count, *size.rows(), config, rngs)


def throughput(report: Callable[[str], None]) -> pd.DataFrame:
    """One row for the plain loop, the floor, and each backend and M, at each size.

    ms_per_step is of one model, the median over rounds. times_plain: model-steps per second as a multiple of the plain loop's;
    times_floor: time as a multiple of the floor's; both are medians of the ratios within a round.
    """
    tables = []
    for size_name, size in SIZES.items():
        works: _Works = {"plain 1": PlainLoop(size, "cpu")}
        works |= {f"floor {m}": Floor(size, m) for m in _FLOOR_STACKS}
        for backend in backends():
            for m in STACKS[size_name]:
                works[f"{backend} {m}"] = partial(train, size_name, backend, m)
        table = _timed(works, size_name, report)
        # The floor is the faster one.
        tables.append(table[(table["training"] != "floor") | (table["times_floor"] == 1)])
    return pd.concat(tables, ignore_index=True)


def cuda_throughput(report: Callable[[str], None]) -> pd.DataFrame:
    """The NO2 size on a GPU for M = 1..1024, against the plain loop on the same GPU; no rows where there is none."""
    if resolve_device("auto").type != "cuda":
        return pd.DataFrame(columns=["size", "training", "M", "ms_per_step", "times_plain"])
    works: _Works = {"plain 1": PlainLoop(SIZES["NO2"], "cuda")}
    works |= {f"torch {m}": partial(train, "NO2", "torch", m, "cuda") for m in CUDA_STACKS}
    return _timed(works, "NO2", report)


def backends() -> list[Backend]:
    """The backends that work on this machine's CPU."""
    native = RegressorConfig(device="cpu").resolve_backend() == "native"
    return ["native", "torch"] if native else ["torch"]


def _timed(works: _Works, size_name: str, report: Callable[[str], None]) -> pd.DataFrame:
    """Time pieces of work named "training M", and compare them within each round."""
    seconds = time_in_turn(works, ROUNDS, lambda words: report(f"{size_name} size: {words}"))
    rows = []
    for name, values in seconds.items():
        training, m = name.split()
        rows.append(
            {
                "size": size_name,
                "training": training,
                "M": int(m),
                "ms_per_step": 1000 * statistics.median(values) / SIZES[size_name].steps / int(m),
                "times_plain": ratio(seconds["plain 1"], values) * int(m),
            }
        )
    table = pd.DataFrame(rows)
    floors = [name for name in works if name.startswith("floor")]
    if floors:
        best = min(floors, key=lambda name: min(seconds[name]) / int(name.split()[1]))
        table["times_floor"] = [
            ratio(values, seconds[best]) * int(best.split()[1]) / m
            for values, m in zip(seconds.values(), table["M"], strict=True)
        ]
    return table

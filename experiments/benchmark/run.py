"""The parts of the benchmark: what they measure, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from experiments.benchmark.plots import draw_benchmark
from experiments.benchmark.scale import step_cost
from experiments.benchmark.throughput import cuda_throughput, throughput
from experiments.benchmark.timing import machine
from experiments.runner.cells import Cell, Computed, Report
from experiments.runner.store import Results
from experiments.show.tables import Titled
from experiments.study import Study

Part = Literal["throughput", "scale", "cuda"]
Measure = Callable[[Callable[[str], None]], pd.DataFrame]
MEASUREMENTS: dict[str, tuple[Part, str, Measure]] = {
    "throughput": ("throughput", "Inner training: one model's step", throughput),
    "step_cost": ("scale", "One step of 16 masks, B = 200", step_cost),
    "cuda": ("cuda", "Inner training on a GPU", cuda_throughput),
}
"""By name: the part that it belongs to, its title, and what measures it."""


class Benchmark(Study):
    """Times of the inner training. Its cells are computed one after the other in the process of the command.

    Attributes:
        parts: what to measure.
    """

    kind: Literal["benchmark"] = "benchmark"
    parts: tuple[Part, ...] = ("throughput", "scale", "cuda")

    def cells(self) -> list[Cell]:
        """One a measurement."""
        chosen = [(place, name) for place, (name, (part, *_)) in enumerate(MEASUREMENTS.items()) if part in self.parts]
        return [Cell(name, partial(_measure, name), {"measurement": name}, {}, (place,)) for place, name in chosen]

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Every stored measurement with the machine that it was taken on, numbers with three digits."""
        titled = []
        for name, table in _measured(results).items():
            title = f"{MEASUREMENTS[name][1]}: no CUDA device was there, nothing measured"
            if len(table) and "machine" in table:
                at = json.loads(table["machine"].iloc[0])
                title = f"{MEASUREMENTS[name][1]} ({at['device']}, {at['threads']} threads, torch {at['torch']})"
            titled.append((title, table.drop(columns=["measurement", "machine"], errors="ignore").map(_text)))
        return titled

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Throughput and the cost of a step."""
        return draw_benchmark(_measured(results), out / "figures")


def _measure(name: str, report: Report) -> Computed:
    table = MEASUREMENTS[name][2](lambda words: report(0, 0, words))
    rows = table.assign(machine=json.dumps(machine())).to_dict("records")
    return Computed([{str(column): value for column, value in row.items()} for row in rows])


def _measured(results: Results) -> dict[str, pd.DataFrame]:
    """The rows of every measurement by name, without the columns of others."""
    return {record.cell: pd.DataFrame([record.labels | row for row in record.rows]) for record in results.records}


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)

"""Cells for engines and sweeps, without the seconds that importing other tests takes; workers import this file."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments.runner.cells import Cell, Computed, Report


def square(number: int, report: Report) -> Computed:
    report(1, 2, "half")
    return Computed([{"square": number**2, "process": os.getpid()}], {"deep/bytes": bytes([number])})


def fail(report: Report) -> Computed:
    raise LookupError("no such row")


def die(how: int, report: Report) -> Computed:
    os.kill(os.getpid(), how)
    return Computed([])


def leave(report: Report) -> Computed:
    sys.exit(3)


def sleep(seconds: float, report: Report) -> Computed:
    report(0, 1, "asleep")
    time.sleep(seconds)
    return Computed([{"slept": seconds}])


def threads(report: Report) -> Computed:
    import torch

    return Computed([{"torch": torch.get_num_threads(), "openmp": os.environ.get("OMP_NUM_THREADS")}])


def until(flag: str, log: str, report: Report) -> Computed:
    """Ends when a file exists; writes its process into a log before."""
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(flag).exists():
        time.sleep(0.02)
    return Computed([{}])


def dies_once(log: str, report: Report) -> Computed:
    """Kills its own process the first time that it is computed."""
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(log).read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Computed([{"computed": len(Path(log).read_text().splitlines())}])


def cell(name: str, compute: Callable[..., Computed], *arguments: object) -> Cell:
    return Cell(name, partial(compute, *arguments), {"name": name})


def squares(*numbers: int) -> list[Cell]:
    return [
        Cell(f"square-{number}", partial(square, number), {"number": number}, {"power": 2}, (number,)) for number in numbers
    ]

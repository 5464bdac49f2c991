"""Tasks for the engines, without the seconds that importing what the tests import takes; workers import this file."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from experiments.engines.base import Outcome, Report, Row, Task


def write_and_square(number: int, folder: Path, report: Report) -> list[Row]:
    """Leaves two files and tells about it."""
    report(1, 2, "half")
    (folder / "deep").mkdir()
    (folder / "deep" / "bytes").write_bytes(bytes([number]))
    (folder / "process.txt").write_text(str(os.getpid()))
    report(2, 2, f"squared {number}")
    return [{"number": number, "square": number**2}]


def fail(folder: Path, report: Report) -> list[Row]:
    (folder / "half").write_text("written")
    raise LookupError("no such row")


def die(how: int, folder: Path, report: Report) -> list[Row]:
    os.kill(os.getpid(), how)
    return []


def leave(folder: Path, report: Report) -> list[Row]:
    sys.exit(3)


def sleep(seconds: float, folder: Path, report: Report) -> list[Row]:
    report(0, 1, "asleep")
    time.sleep(seconds)
    return [{"slept": seconds}]


def until(flag: str, log: str, name: str, folder: Path, report: Report) -> list[Row]:
    """Ends when a file exists; writes its process into a log before."""
    with Path(log).open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    while not Path(flag).exists():
        time.sleep(0.02)
    return [{"name": name}]


def count_then(log: str, deaths: int, folder: Path, report: Report) -> list[Row]:
    """Kills its own process the first times that it is computed."""
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(log).read_text().splitlines()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"computed": len(Path(log).read_text().splitlines())}]


def squares(*numbers: int) -> list[Task]:
    return [Task(f"square {number}", partial(write_and_square, number)) for number in numbers]


class Kept:
    """Work that is kept in one file a cell."""

    def __init__(self, folder: Path, tasks: list[Task]) -> None:
        self.folder, self.tasks = folder, tuple(tasks)
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self) -> list[Task]:
        return [task for task in self.tasks if not (self.folder / task.name).exists()]

    def keep(self, task: Task, outcome: Outcome) -> None:
        with (self.folder / task.name).open("x") as file:  # fails if it is there: nothing is computed twice
            file.write(str(outcome.rows))

"""What a sweep shows: lines that change on a terminal; in a file one line for each cell that has ended."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from experiments.runner.cells import Cell, Failure
from experiments.runner.engines import Update


class SweepProgress:
    """One line for all cells of a sweep, and one for each running cell. It is a context: changing lines are shown inside.

    Args:
        console: where to show it.

    Attributes:
        failed: names of the cells that failed.
        too_slow: names of the cells that took longer than the time limit.
    """

    def __init__(self, console: Console) -> None:
        self.failed: list[str] = []
        self.too_slow: list[str] = []
        self._console, self._began = console, time.monotonic()
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("", words="")
        self._lines: dict[str, TaskID] = {}
        self._done = self._ended = self._missing = self._total = 0

    def __enter__(self) -> SweepProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def begin(self, missing: int, total: int) -> None:
        """Called first, with the number of cells that are not stored yet, and of all cells."""
        self._missing, self._done, self._total = missing, total - missing, total
        self._refresh()

    def start(self, cell: Cell) -> None:
        """A cell is being computed."""
        self._lines[cell.name] = self._bars.add_task(f"  {cell.name}", total=None, words="")
        self._refresh()

    def update(self, cell: Cell, news: Update | None) -> None:
        """How far a cell is."""
        if news is not None:
            self._bars.update(self._lines[cell.name], completed=news.done, total=news.total, words=news.words)
        self._refresh()

    def end(self, cell: Cell, failure: Failure | None, seconds: float | None = None) -> None:
        """A cell is finished or has failed, here or in another sweep (seconds None)."""
        if cell.name in self._lines:
            self._bars.remove_task(self._lines.pop(cell.name))
        self._ended += 1
        if failure is None:
            self._done += 1
            words = "by another sweep" if seconds is None else f"{seconds:.1f} s"
        elif failure.kind == "TLE":
            self.too_slow.append(cell.name)
            words = f"beyond the time limit, {failure.message}"
        else:
            self.failed.append(cell.name)
            words = f"failed: {failure.message}"
        if failure is not None or not self._console.is_terminal:
            place = self._done + len(self.failed) + len(self.too_slow)
            line = f"[{place}/{self._total}] {cell.name}: {words}"
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._refresh()

    def seconds_left(self) -> float | None:
        """A guess from the cells that have ended so far; None before the first."""
        if not self._ended:
            return None
        return (time.monotonic() - self._began) / self._ended * (self._missing - self._ended)

    def _refresh(self) -> None:
        failed, left = len(self.failed) + len(self.too_slow), self.seconds_left()
        words = "" if left is None else f"about {_clock(left)} left"
        line = f"{self._done} done, {len(self._lines)} running, {failed} failed"
        self._bars.update(self._all, description=line, completed=self._done + failed, total=self._total, words=words)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"

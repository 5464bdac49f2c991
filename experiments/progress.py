"""What long work shows: lines that change on a terminal; in a file a line now and then."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from experiments.engines.base import Outcome, Task, Update
from mixrl.terminal import WorkProgress, say

__all__ = ["SweepProgress", "WorkProgress", "say"]


class SweepProgress:
    """One line for all cells of a sweep, and one for each that runs; in a file, one line for each that has ended.

    Counts cells and guesses the time that is left. It is a context: lines that change are shown inside.

    Args:
        console: where to show it.
        workers: cells that run at once, for the guess.

    Attributes:
        failed: names of the cells that failed.
        beyond_time: names of the cells that took longer than the time limit.
    """

    def __init__(self, console: Console, workers: int) -> None:
        self.failed: list[str] = []
        self.beyond_time: list[str] = []
        self._console, self._workers = console, workers
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
        self._of: dict[Task, tuple[TaskID, float]] = {}
        self._waiting: set[Task] = set()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._done = self._total = 0

    def __enter__(self) -> SweepProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def begin(self, missing: Sequence[Task], total: int) -> None:
        """Told first: the cells that are not stored yet, and how many there are in all."""
        self._waiting, self._done, self._total = set(missing), total - len(missing), total
        self._refresh()

    def start(self, task: Task) -> None:
        """A cell is being computed."""
        self._waiting.discard(task)
        self._of[task] = self._bars.add_task(f"  {task.name}", total=None, words=""), time.monotonic()
        self._refresh()

    def update(self, task: Task, news: Update) -> None:
        """How far a cell is."""
        self._bars.update(self._of[task][0], completed=news.done, total=news.total, words=news.words)
        self._refresh()

    def end(self, task: Task, outcome: Outcome) -> None:
        """A cell was computed, here or by another sweep, or has failed."""
        self._waiting.discard(task)
        if task in self._of:
            self._bars.remove_task(self._of.pop(task)[0])
        failure = outcome.failure
        if failure is None:
            self._done += 1
            if outcome.seconds:
                self._seconds[task.method].append(outcome.seconds)
            self._say(task, ", ".join(filter(None, [f"{outcome.seconds:.1f} s" if outcome.seconds else "", outcome.words])))
        elif failure.kind == "TLE":
            self.beyond_time.append(task.name)
            self._say(task, f"beyond the time limit, {failure.message}", always=True)
        else:
            self.failed.append(task.name)
            self._say(task, f"failed: {failure.error} {failure.message}", always=True)
        self._refresh()

    def skip(self, task: Task, why: str, failed: bool = False) -> None:
        """A cell is not computed."""
        self._waiting.discard(task)
        (self.failed if failed else self.beyond_time).append(task.name)
        self._say(task, why, always=True)
        self._refresh()

    def seconds_left(self) -> float | None:
        """A guess from finished cells of the same method, or of all methods for one that has none yet; None without any."""
        ended = [seconds for own in self._seconds.values() for seconds in own]
        if not ended:
            return None
        usual = {method: statistics.mean(own) for method, own in self._seconds.items()}
        overall, now = statistics.mean(ended), time.monotonic()
        left = [usual.get(task.method, overall) for task in self._waiting]
        left += [max(0.0, usual.get(task.method, overall) - (now - started)) for task, (_, started) in self._of.items()]
        return max(sum(left) / self._workers, max(left, default=0.0))

    def _say(self, task: Task, words: str, always: bool = False) -> None:
        ended = self._done + len(self.failed) + len(self.beyond_time)
        if always or not self._console.is_terminal:
            self._console.print(f"[{ended}/{self._total}] {task.name}: {words}", soft_wrap=True, markup=False, highlight=False)

    def _refresh(self) -> None:
        failed = len(self.failed) + len(self.beyond_time)
        seconds = self.seconds_left()
        words = "" if seconds is None else f"about {_clock(seconds)} left"
        line = f"{self._done} done, {len(self._of)} running, {failed} failed"
        self._bars.update(self._all, description=line, completed=self._done + failed, total=self._total, words=words)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"

"""A sweep computes every cell that is not stored yet, and stores each as soon as it is done.

Workers compute; only this process writes into the results folders. Several sweeps may share a folder: each claims a cell before
it computes it, and takes over those of a sweep that died.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from filelock import BaseFileLock

from experiments.claims import claim
from experiments.engines.base import Engine, Outcome, Task, Update
from experiments.failures import TLE, exceeds, forget_failure, read_failures, record_failure
from experiments.interrupts import interrupts_wait
from experiments.progress import SweepProgress

_POLL = 1.0
"""Seconds after which to look again whether other sweeps are done with their cells."""


class Work(Protocol):
    """The cells of one study.

    Attributes:
        folder: of its results.
        tasks: all of them, in the order of the study.
    """

    folder: Path
    tasks: tuple[Task, ...]

    def missing(self) -> list[Task]:
        """Tasks whose rows are not stored."""
        ...

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Store what a task has computed."""
        ...


class Claimed(NamedTuple):
    """A cell that runs."""

    work: Work
    lock: BaseFileLock


class Sweep:
    """The cells of some studies, on one engine.

    Args:
        works: the studies.
        engine: computes; it is closed at the end.
        progress: is told what happens.
        time_limit: minutes that the engine gives to a cell; None is no limit.
        command: how the sweep was started.
    """

    def __init__(
        self, works: Sequence[Work], engine: Engine, progress: SweepProgress, time_limit: float | None, command: str
    ) -> None:
        self._engine, self._progress, self._time_limit, self._command = engine, progress, time_limit, command
        self._failures = {work.folder: read_failures(work.folder) for work in works}
        self._pending = [(work, task) for work in works for task in work.missing()]
        self._running: dict[Task, Claimed] = {}
        total = sum(len(work.tasks) for work in works)
        progress.begin([task for _, task in self._pending], total)

    def run(self) -> None:
        """Compute, until every cell is stored or has failed.

        Raises:
            KeyboardInterrupt: after Ctrl-C; what is finished is stored, what is running is lost.
        """
        with interrupts_wait() as raise_interrupt:
            try:
                while self._pending or self._running:
                    self._start()
                    for task, news in self._engine.wait(_POLL):
                        if isinstance(news, Update):
                            self._progress.update(task, news)
                        else:
                            self._end(task, news)
                    raise_interrupt()
            finally:
                self._engine.close()
                for claimed in self._running.values():
                    claimed.lock.release()

    def _start(self) -> None:
        """Start what may run and nobody else has claimed; drop what others have finished."""
        slots, waiting = self._engine.slots(), []
        for work, task in self._pending:
            lock = claim(work.folder, task.name) if len(self._running) < slots else None
            if lock is None:
                waiting.append((work, task))
            elif self._is_settled(work, task):
                lock.release()
            else:
                self._running[task] = Claimed(work, lock)
                self._progress.start(task)
                self._engine.start(task)
        self._pending = waiting

    def _is_settled(self, work: Work, task: Task) -> bool:
        """Whether a claimed cell needs no work: another sweep did it meanwhile, or it is known to take too long."""
        if task not in work.missing():
            self._progress.end(task, Outcome(words="by another sweep"))
            return True
        known = read_failures(work.folder)
        now, before = (stored[stored["cell"] == task.name] for stored in (known, self._failures[work.folder]))
        if exceeds(now, task, self._time_limit):
            self._progress.skip(task, f"is known to take longer than {now['time_limit'].iloc[0]} minutes")
            return True
        if len(now) and now["when"].tolist() != before["when"].tolist():
            self._progress.skip(task, f"failed in another sweep: {now['message'].iloc[0]}", failed=now["kind"].iloc[0] != TLE)
            return True
        return False

    def _end(self, task: Task, outcome: Outcome) -> None:
        work, lock = self._running[task]
        if outcome.failure is None:
            work.keep(task, outcome)
            forget_failure(work.folder, task)
        else:
            record_failure(work.folder, task, outcome, self._time_limit, self._command)
        del self._running[task]
        lock.release()
        self._progress.end(task, outcome)

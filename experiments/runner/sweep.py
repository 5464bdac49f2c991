"""A sweep computes every cell that is not stored yet, and stores each as soon as it is finished.

Only this process writes into the results folders. Several sweeps may share a folder: each locks a cell before it computes it,
and takes over the cells of a sweep that died.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import NamedTuple

from filelock import BaseFileLock

from experiments.runner.cells import Cell, Failure, Outcome
from experiments.runner.engines import Engine
from experiments.runner.locks import locked
from experiments.runner.progress import SweepProgress
from experiments.runner.store import Record, Store

_POLL = 0.5
"""Seconds between two looks at the updates of running cells and at the cells of other sweeps."""


class Running(NamedTuple):
    """A cell that is being computed."""

    store: Store
    cell: Cell
    lock: BaseFileLock


class Sweep:
    """The missing cells of some studies, on one engine.

    Args:
        stores: of the studies.
        engine: computes the cells; it is closed at the end.
        progress: shows what happens.
        time_limit: minutes that the engine gives to a cell; None is no limit.
    """

    def __init__(self, stores: Sequence[Store], engine: Engine, progress: SweepProgress, time_limit: float | None) -> None:
        self._stores, self._engine, self._progress, self._time_limit = stores, engine, progress, time_limit
        self._failures = {store.folder: store.failures() for store in stores}
        self._pending = [(store, cell) for store in stores for cell in store.missing()]
        self._running: dict[Future[Outcome], Running] = {}
        progress.begin(len(self._pending), sum(len(store.cells) for store in stores))

    def run(self) -> None:
        """Compute until every cell is stored or has failed.

        Raises:
            KeyboardInterrupt: after Ctrl-C; finished cells are stored, running ones are lost.
        """
        for store in self._stores:
            store.begin()
        with _interrupts_deferred() as raise_interrupt:
            try:
                while self._pending or self._running:
                    self._start()
                    if not self._running:
                        time.sleep(_POLL)
                    ended, running = wait(self._running, _POLL, FIRST_COMPLETED)
                    for future in ended:
                        self._end(self._running.pop(future), future.result())
                    for future in running:
                        self._progress.update(cell := self._running[future].cell, self._engine.update(cell))
                    raise_interrupt()
            finally:
                self._engine.close()
                for one in self._running.values():
                    one.lock.release()
                for store in self._stores:
                    store.export()

    def _start(self) -> None:
        """Start cells that no other sweep computes; drop cells that another sweep has finished."""
        slots, waiting = self._engine.slots(), []
        for store, cell in self._pending:
            lock = locked(store.folder, cell.name) if len(self._running) < slots else None
            if lock is None:
                waiting.append((store, cell))
            elif self._is_settled(store, cell):
                lock.release()
            else:
                self._progress.start(cell)
                self._running[self._engine.submit(cell)] = Running(store, cell, lock)
        self._pending = waiting

    def _is_settled(self, store: Store, cell: Cell) -> bool:
        """Whether a locked cell needs no work: another sweep finished it, or it is known to take too long."""
        if store.is_stored(cell):
            self._progress.end(cell, None)
            return True
        known = store.failures().get(cell.name)
        if known is None:
            return False
        if self._too_slow(known) or known != self._failures[store.folder].get(cell.name):  # else tried again
            assert known.failure is not None
            self._progress.end(cell, Failure(known.failure["kind"], f"known: {known.failure['message']}"))
            return True
        return False

    def _too_slow(self, known: Record) -> bool:
        failure = known.failure or {}
        return self._time_limit is not None and failure["kind"] == "TLE" and failure["time_limit"] >= self._time_limit

    def _end(self, one: Running, outcome: Outcome) -> None:
        one.store.save(one.cell, outcome, self._time_limit)
        one.lock.release()
        self._progress.end(one.cell, outcome.failure, outcome.seconds)


@contextmanager
def _interrupts_deferred() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt where the yielded function is called; a second Ctrl-C raises it at once.

    Raised anywhere it is sometimes lost: libraries swallow it in destructors and comparisons.
    """
    came = False

    def note(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    def raise_interrupt() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield raise_interrupt
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield raise_interrupt
    finally:
        signal.signal(signal.SIGINT, before)

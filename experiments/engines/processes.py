"""Worker processes of this machine: a fresh one for every task, so that none inherits what another left behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from experiments.engines.base import Failure, Outcome, Task, Update, perform
from experiments.interrupts import handle_interrupts
from experiments.results import slug

_PRELOADED = ["experiments.comparison", "experiments.studies.kinds"]
"""What tasks need is imported once, and processes are forked from there: starting one takes moments."""


@dataclass(frozen=True, eq=False)
class _Running:
    task: Task
    process: BaseProcess
    pipe: Connection
    folder: Path
    started: float


class Processes:
    """Up to so many workers at once, which share the cores.

    Workers end with the process that made this, even if it is killed.

    Args:
        workers: most at once.
        time_limit: seconds that a task may take; None is no limit.
    """

    def __init__(self, workers: int, time_limit: float | None = None) -> None:
        self._workers, self._time_limit = workers, time_limit
        self._threads = max(1, min(torch.get_num_threads(), num_cores() // workers))
        self._running: list[_Running] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="mixrl-", ignore_cleanup_errors=True)
        self._started = 0
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self._context: multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext
        self._context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        if forks:
            self._context.set_forkserver_preload(_PRELOADED)
            with _inherited(self._threads):
                forkserver.ensure_running()

    def slots(self) -> int:
        """See `Engine`."""
        return self._workers

    def start(self, task: Task) -> None:
        """See `Engine`."""
        self._started += 1
        folder = Path(self._scratch.name) / f"{self._started}-{slug(task.name)}"
        folder.mkdir()
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(task, folder, theirs, self._threads))
        process.start()
        theirs.close()  # so that the pipe ends with the worker
        self._running.append(_Running(task, process, ours, folder, time.monotonic()))

    def wait(self, seconds: float) -> list[tuple[Task, Update | Outcome]]:
        """See `Engine`."""
        if not self._running:
            time.sleep(seconds)
            return []
        if self._time_limit is not None:
            first = min(one.started for one in self._running) + self._time_limit
            seconds = max(0.0, min(seconds, first - time.monotonic()))
        connection.wait([one.pipe for one in self._running], seconds)
        return [(one.task, news) for one in list(self._running) for news in self._news(one)]

    def close(self) -> None:
        """See `Engine`."""
        for one in self._running:
            one.process.kill()
        for one in list(self._running):
            self._end(one)
        self._scratch.cleanup()

    def _news(self, one: _Running) -> Iterator[Update | Outcome]:
        """All that a worker has said, up to its outcome."""
        try:
            while one.pipe.poll():
                news: Update | Outcome = one.pipe.recv()
                if isinstance(news, Outcome):
                    self._end(one)
                yield news
                if isinstance(news, Outcome):
                    return
        except (EOFError, OSError):  # without an outcome
            code = self._end(one)
            how = f"worker died with signal {-code}" if code < 0 else f"worker ended with exit code {code}"
            yield Outcome(seconds=time.monotonic() - one.started, failure=Failure("worker died", message=how))
            return
        spent = time.monotonic() - one.started
        if self._time_limit is not None and spent >= self._time_limit:
            one.process.kill()
            self._end(one)
            yield Outcome(seconds=spent, failure=Failure("TLE", message=f"not done after {spent / 60:.3g} minutes"))

    def _end(self, one: _Running) -> int:
        """Wait for a worker's end; returns its exit code."""
        one.process.join()
        code = one.process.exitcode
        one.process.close()
        one.pipe.close()
        shutil.rmtree(one.folder, ignore_errors=True)
        self._running.remove(one)
        return code or 0


def _work(task: Task, folder: Path, pipe: Connection, threads: int) -> None:
    """The life of a worker: compute one task, and tell how far it is and what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which ends its workers itself
    threading.Thread(target=_end_with_parent, args=(folder.parent,), daemon=True).start()
    torch.set_num_threads(threads)
    pipe.send(perform(task, folder, lambda done, total, words: pipe.send(Update(done, total, words))))


def _end_with_parent(scratch: Path) -> None:
    """A sweep that was killed cannot end its workers, nor tidy up."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """What a process that is started now keeps, and hands on: the number of OpenMP's threads, and that it ignores Ctrl-C."""
    told = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        with handle_interrupts(signal.SIG_IGN):
            yield
    finally:
        if told is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = told

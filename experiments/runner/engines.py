"""Where cells are computed: in worker processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
from pebble import ProcessExpired, ProcessPool

from experiments.runner.cells import Cell, Failure, Outcome, perform

EngineName = Literal["processes", "ray"]
_PRELOADED = ["experiments.kinds"]
"""Imported once; workers are forked from there and start in moments."""


class Update(NamedTuple):
    """How far a running cell is."""

    done: int
    total: int
    words: str


class Engine(Protocol):
    """Computes cells side by side."""

    def slots(self) -> int:
        """How many cells may run at once."""
        ...

    def submit(self, cell: Cell) -> Future[Outcome]:
        """Compute a cell; its future is done when the cell is finished, has failed, died, or taken too long."""
        ...

    def update(self, cell: Cell) -> Update | None:
        """How far a cell is, if the engine knows."""
        ...

    def close(self) -> None:
        """End all running cells."""
        ...


def make_engine(
    name: EngineName, workers: int | None = None, address: str | None = None, time_limit: float | None = None
) -> Engine:
    """An engine that is ready for cells.

    Args:
        name: "processes" of this machine, or "ray".
        workers: most cells at once; all cores of the machine or the cluster if None.
        address: of a Ray cluster; see `RayCluster`.
        time_limit: minutes that a cell may take; None is no limit.

    Raises:
        ValueError: for a bad value, or where Ray is missing or does not answer.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"--time-limit must be above 0 minutes, got {time_limit:g}")
    if name == "ray":
        from experiments.runner.ray_cluster import RayCluster  # Ray is an optional extra

        return RayCluster(address, workers, time_limit)
    if address is not None:
        raise ValueError("--address is for --engine ray")
    return Processes(workers or num_cores(), time_limit)


class Processes:
    """A fresh worker process for every cell, so that no cell inherits what another left behind.

    Workers end with the process that made this, even if it is killed.

    Args:
        workers: most at once; they share the cores.
        time_limit: minutes that a cell may take; None is no limit.
    """

    def __init__(self, workers: int, time_limit: float | None = None) -> None:
        self._workers, self._time_limit = workers, time_limit
        threads = max(1, min(torch.get_num_threads(), num_cores() // workers))
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if forks else "spawn")
        self._folder = Path(tempfile.mkdtemp(prefix="mixrl-"))
        if forks:
            context.set_forkserver_preload(_PRELOADED)
            before, handler = os.environ.get("OMP_NUM_THREADS"), _ignore_interrupts()
            os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the server imports torch
            forkserver.ensure_running()
            os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
            if handler is not None:
                signal.signal(signal.SIGINT, handler)
        self._pool = ProcessPool(
            workers, max_tasks=1, initializer=_begin_worker, initargs=(threads, self._folder), context=context
        )

    def slots(self) -> int:
        """See `Engine`."""
        return self._workers

    def submit(self, cell: Cell) -> Future[Outcome]:
        """See `Engine`."""
        limit = None if self._time_limit is None else 60 * self._time_limit
        ended: Future[Outcome] = Future()
        running = self._pool.schedule(_compute, args=(cell, self._folder / cell.name), timeout=limit)
        running.add_done_callback(lambda one: ended.set_result(self._outcome(one)))
        return ended

    def _outcome(self, running: Future[Outcome]) -> Outcome:
        try:
            return running.result()
        except TimeoutError:
            assert self._time_limit is not None
            return Outcome(None, 60 * self._time_limit, Failure("TLE", f"not done after {self._time_limit:g} minutes"))
        except ProcessExpired as error:
            return Outcome(None, 0.0, Failure("worker died", f"exit code {error.exitcode}"))
        except BaseException as error:  # a cell that cannot be pickled, or the pool was stopped
            return Outcome(None, 0.0, Failure("error", f"{type(error).__name__}: {error}"))

    def update(self, cell: Cell) -> Update | None:
        """See `Engine`."""
        with suppress(OSError, ValueError):  # not written yet, or half-written
            return Update(*json.loads((self._folder / cell.name).read_text()))
        return None

    def close(self) -> None:
        """See `Engine`."""
        self._pool.stop()
        self._pool.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _begin_worker(threads: int, folder: Path) -> None:
    _ignore_interrupts()  # Ctrl-C is for the sweep, which ends its workers
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    torch.set_num_threads(threads)


def _compute(cell: Cell, path: Path) -> Outcome:
    """Compute a cell in a worker, which writes its updates into a file."""

    def report(done: int, total: int, words: str) -> None:
        with suppress(OSError):
            path.write_text(json.dumps([done, total, words]))

    return perform(cell, report)


def _end_with_parent(folder: Path) -> None:
    """A sweep that was killed cannot end its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _ignore_interrupts() -> signal.Handlers | None:
    """Ignore Ctrl-C from now on; returns the handler before, None outside of the main thread, where none can be set."""
    if threading.current_thread() is not threading.main_thread():
        return None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    return before  # type: ignore[return-value]


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

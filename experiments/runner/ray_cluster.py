"""Cells on a Ray cluster. Its machines need the same packages; the code of the checkout travels with the cells."""

from __future__ import annotations

import logging
import signal
import time
from concurrent.futures import Future
from typing import Any

import torch

import experiments
import mixrl
import mixrl_env
from experiments.runner.cells import Cell, Failure, Outcome, perform, silent
from experiments.runner.engines import Update

try:
    import ray
except ImportError as error:
    raise ValueError("--engine ray needs the package ray: pip install 'mixrl[cluster]'") from error

_RETRIES = 3
"""How often Ray computes a cell again whose worker or machine was lost; errors of the cell itself are not tried again."""


class RayCluster:
    """One core of the cluster for each cell.

    Args:
        address: such as "auto" or "10.0.0.1:6379". None takes $RAY_ADDRESS or a cluster that runs on this machine, or else
            starts one here.
        workers: most cells at once; all cores of the cluster if None, also of machines that join later.
        time_limit: minutes that a cell may take; None is no limit.

    Raises:
        ValueError: if there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, time_limit: float | None = None) -> None:
        code = {"py_modules": [mixrl_env, mixrl, experiments], "excludes": ["__pycache__"]}
        try:
            ray.init(address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"no Ray cluster could be reached at {address or 'the default address'}: {error}") from error
        self._workers, self._time_limit = workers, time_limit
        self._compute = ray.remote(num_cpus=1, max_retries=_RETRIES)(_compute)
        self._running: list[Any] = []

    def slots(self) -> int:
        """See `Engine`."""
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return cores if self._workers is None else min(cores, self._workers)

    def submit(self, cell: Cell) -> Future[Outcome]:
        """See `Engine`."""
        reference = self._compute.remote(cell, self._time_limit)
        self._running.append(reference)
        ended: Future[Outcome] = Future()
        reference.future().add_done_callback(lambda running: ended.set_result(_outcome(running)))
        return ended

    def update(self, cell: Cell) -> Update | None:
        """See `Engine`; updates do not travel."""
        return None

    def close(self) -> None:
        """See `Engine`."""
        for reference in self._running:
            ray.cancel(reference, force=True)
        ray.shutdown()


def _outcome(running: Future[Outcome]) -> Outcome:
    try:
        return running.result()
    except Exception as error:
        return Outcome(None, 0.0, Failure("worker died", f"{type(error).__name__}: {str(error).strip()}"))


class _TimeLimitError(BaseException):
    """Not an Exception, so that no method takes it for an error of its own."""


def _compute(cell: Cell, time_limit: float | None) -> Outcome:
    """Compute a cell in a worker of the cluster."""

    def stop(signum: int, frame: object) -> None:
        raise _TimeLimitError

    torch.set_num_threads(1)
    start = time.monotonic()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * (time_limit or 0.0))
    try:
        return perform(cell, silent)
    except _TimeLimitError:
        return Outcome(None, time.monotonic() - start, Failure("TLE", f"not done after {time_limit:g} minutes"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)

"""Tasks on a Ray cluster. Its machines need the same packages; the code of the checkout travels with the tasks."""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import experiments
import mixrl
import mixrl_env
from experiments.engines.base import Failure, Outcome, Task, Update, perform

try:
    import ray
except ImportError as error:
    raise ValueError("--engine ray needs the package ray: pip install 'mixrl[cluster]'") from error

_RETRIES = 3
"""How often Ray runs a task again whose worker or machine was lost; errors of the task itself are not tried again."""


class RayCluster:
    """One core of the cluster for each task.

    Args:
        address: such as "auto" or "10.0.0.1:6379". None takes $RAY_ADDRESS or a cluster that runs on this machine, or else
            starts one here.
        workers: most tasks at once; all cores of the cluster if None, also of machines that join later.
        time_limit: seconds that a task may take; None is no limit.

    Raises:
        ValueError: if Ray is missing, or there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, time_limit: float | None = None) -> None:
        code = {"py_modules": [mixrl_env, mixrl, experiments], "excludes": ["__pycache__"]}
        try:
            ray.init(address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"no Ray cluster could be reached at {address or 'the default address'}: {error}") from error
        self._workers, self._time_limit = workers, time_limit
        self._compute = ray.remote(num_cpus=1, max_retries=_RETRIES)(_compute)
        self._running: dict[Any, tuple[Task, float]] = {}

    def slots(self) -> int:
        """See `Engine`."""
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return cores if self._workers is None else min(cores, self._workers)

    def start(self, task: Task) -> None:
        """See `Engine`."""
        self._running[self._compute.remote(task, self._time_limit)] = task, time.monotonic()

    def wait(self, seconds: float) -> list[tuple[Task, Update | Outcome]]:
        """See `Engine`; there are no updates, only outcomes."""
        if not self._running:
            time.sleep(seconds)
            return []
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._outcome(reference) for reference in ended]

    def close(self) -> None:
        """See `Engine`."""
        for reference in self._running:
            ray.cancel(reference, force=True)
        ray.shutdown()

    def _outcome(self, reference: Any) -> tuple[Task, Update | Outcome]:
        task, started = self._running.pop(reference)
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            failure = Failure("worker died", type(error).__name__, str(error).strip())
            outcome = Outcome(seconds=time.monotonic() - started, failure=failure)
        return task, outcome


class _TimeLimitError(BaseException):
    """Not an Exception, so that no method takes it for an error of its own."""


def _compute(task: Task, time_limit: float | None) -> Outcome:
    """What a worker of the cluster does."""

    def stop(signum: int, frame: object) -> None:
        raise _TimeLimitError

    torch.set_num_threads(1)
    start = time.monotonic()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, time_limit or 0.0)
    try:
        with tempfile.TemporaryDirectory(prefix="mixrl-", ignore_cleanup_errors=True) as folder:
            return perform(task, Path(folder), lambda done, total, words: None)
    except _TimeLimitError:
        spent = time.monotonic() - start
        return Outcome(seconds=spent, failure=Failure("TLE", message=f"not done after {spent / 60:.3g} minutes"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)

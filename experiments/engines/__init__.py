"""Where the cells of a sweep are computed: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from typing import Literal

from experiments.engines.base import Engine, Failure, Outcome, Task, Update
from experiments.engines.processes import Processes, num_cores

EngineName = Literal["processes", "ray"]


def check_engine(
    name: EngineName, workers: int | None = None, address: str | None = None, time_limit: float | None = None
) -> None:
    """Raise a ValueError for what `make_engine` refuses, before anything is started; here time_limit is in minutes."""
    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"--time-limit must be above 0 minutes, got {time_limit:g}")
    if name == "processes" and address is not None:
        raise ValueError("--address is for --engine ray")


def make_engine(
    name: EngineName, workers: int | None = None, address: str | None = None, time_limit: float | None = None
) -> Engine:
    """An engine that is ready for tasks.

    Args:
        name: "processes" of this machine, or "ray".
        workers: most tasks at once; all cores of the machine or the cluster if None.
        address: of a Ray cluster; see `RayCluster`.
        time_limit: seconds that a task may take; None is no limit.

    Raises:
        ValueError: for a bad value, or where Ray is missing or does not answer.
    """
    check_engine(name, workers, address, None if time_limit is None else time_limit / 60)
    if name == "processes":
        return Processes(workers or num_cores(), time_limit)
    from experiments.engines.ray_cluster import RayCluster  # Ray is an optional extra

    return RayCluster(address, workers, time_limit)


__all__ = ["Engine", "EngineName", "Failure", "Outcome", "Task", "Update", "check_engine", "make_engine", "num_cores"]

"""Times in turn in one run, peak memory in processes of their own, and the machine they belong to."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mixrl_env.regressor import resolve_device


def time_in_turn(
    works: Mapping[str, Callable[[], object]], rounds: int, report: Callable[[str], None]
) -> dict[str, list[float]]:
    """Seconds of each piece of work in every round; all take a turn in a round, so that a slow moment hits all alike.

    Args:
        works: what to time; each is run once before, untimed.
        rounds: how often.
        report: called with the work at hand.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            report(f"{name}, {'warm-up' if turn == 0 else f'round {turn} of {rounds}'}")
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times longer: the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def peak_memory_mb(work: Callable[..., object], *arguments: Any) -> float:
    """Peak resident memory in MB of a fresh process that imports and runs the work; NaN where the system does not tell."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_run_and_measure, (work, arguments))


def _run_and_measure(work: Callable[..., object], arguments: tuple[Any, ...]) -> float:
    work(*arguments)
    status = Path("/proc/self/status")
    if status.exists():  # Linux; its getrusage also counts what the parent process had when it started this one
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if platform.system() == "Darwin" else 1024)


def machine() -> dict[str, str | int]:
    """What the figures hold for."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    device = resolve_device("auto")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }

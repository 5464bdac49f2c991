"""Times in turn in one run, and the machine they belong to."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

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

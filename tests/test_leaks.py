"""Environments that are stepped and closed leave no memory, threads or open files behind."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.backends import BACKENDS
from tests.memory_use import environments

ROOT = Path(__file__).parent.parent
SELF = Path("/proc/self")
needs_proc = pytest.mark.skipif(not SELF.is_dir(), reason="there is no /proc here")
MOST_GROWTH = 10  # MB from step 200 to step 1,000; each step's tables and weights alone have more than 100 kB


@needs_proc
@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_does_not_grow_with_the_steps(backend: str) -> None:
    command = [sys.executable, "-m", "tests.memory_use", backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stdout)
    assert len(used) == 10
    assert used[-1] - used[1] < MOST_GROWTH, used


@needs_proc
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_threads_and_no_files_stay(backend: str) -> None:
    def use_some() -> None:
        for env in environments(backend):
            for _ in range(3):
                env.reset(seed=0)
                env.step(np.ones(env.action_space.shape, dtype=np.int8))
            env.close()

    def held() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), len(list((SELF / "task").iterdir())), len(list((SELF / "fd").iterdir()))

    use_some()  # what libraries start once and keep
    before = held()
    for _ in range(25):
        use_some()
    assert all(now <= then for now, then in zip(held(), before, strict=True))  # fewer, if what other tests left ended meanwhile

"""Environments that are stepped and closed leave no threads or open files behind."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixrl_env import MixRLEnv, MixRLVectorEnv, RegressionData
from tests.backends import BACKENDS

SELF = Path("/proc/self")


def environments(backend: str) -> list[Any]:
    x = np.random.default_rng(0).normal(size=(200, 4))
    data = RegressionData.from_table(x, x[:, :1] * 2 + 5, sizes=(100, 100, 0), split_seed=0)
    regressor = {"hidden_sizes": (64, 64), "max_steps": 2, "device": "cpu", "backend": backend}
    same: dict[str, Any] = {"data": data, "options": [("data", 4)], "regressor": regressor, "schedule": "constant"}
    return [MixRLEnv(**same), MixRLVectorEnv(3, **same, horizon=4)]


@pytest.mark.skipif(not SELF.is_dir(), reason="there is no /proc here")
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
    for _ in range(8):
        use_some()
    assert all(now <= then for now, then in zip(held(), before, strict=True))  # fewer, if what other tests left ended meanwhile

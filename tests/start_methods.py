"""A program of test_concurrency: environments in subprocesses that are forked. Prints rewards as JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from mixrl_env import MixRLEnv

PATIENCE = 60  # seconds; a subprocess that hangs is an error and not a test that never ends
# Large enough that torch shares its work among threads; one environment for each backend, if the kernel can be built.
MAKE = [
    partial(MixRLEnv, "no2", schedule="constant", regressor={"max_steps": 10, "backend": backend, "device": "cpu"})
    for backend in ("auto", "torch")
]
MASKS = np.random.default_rng(0).integers(2, size=(2, 2, 200)).astype(np.int8)  # steps, environments, rows


def one_after_the_other() -> list[list[float]]:
    rewards = []
    for i, make in enumerate(MAKE):
        env, own = make(), []
        for turn in range(2):
            env.reset(seed=3 + i if turn == 0 else None)
            own.append(float(env.step(MASKS[turn][i])[1]))
        rewards.append(own)
    return [[own[turn] for own in rewards] for turn in range(2)]


def gymnasium_sync() -> list[list[float]]:
    envs = SyncVectorEnv(MAKE, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=3)
    rewards = [envs.step(masks)[1].tolist() for masks in MASKS]
    envs.close()
    return rewards


def gymnasium_async(method: str) -> list[list[float]]:
    envs = AsyncVectorEnv(MAKE, context=method, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset_async(seed=3)
    envs.reset_wait(timeout=PATIENCE)
    rewards = []
    for masks in MASKS:
        envs.step_async(masks)
        rewards.append(envs.step_wait(timeout=PATIENCE)[1].tolist())
    envs.close()
    return rewards


if __name__ == "__main__":
    found: dict[str, Any] = {}
    torch.set_num_threads(2)
    one_after_the_other()  # now OpenMP's threads are there, which a forked process does not have
    found["AsyncVectorEnv, fork"] = gymnasium_async("fork")
    torch.set_num_threads(1)  # as the subprocesses have it
    found["one after the other"] = one_after_the_other()
    found["SyncVectorEnv"] = gymnasium_sync()
    print(json.dumps(found))

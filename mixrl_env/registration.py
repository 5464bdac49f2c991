"""The environments' ids: each is an entry point, its batched twin, and settings that JSON can hold."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

# Sec. 4 and App. B.1: options, C, and the regressor; what is not named here is the default of ProblemConfig.
PAPER_SETTINGS: dict[str, dict[str, Any]] = {
    "MixRL-NO2-v0": {
        "data": "no2",
        "options": [[space, k] for space in ("data", "label") for k in range(1, 17)],
        "lam": 0.5,
        "reward_scale": 2.0,
        "regressor": {"hidden_sizes": [512, 256], "learning_rate": 1e-4, "batch_size": 32},
    },
}


def register_envs() -> None:
    """Register every id with Gymnasium; calling it again changes nothing."""
    for env_id, kwargs in {"MixRL-v0": {}, **PAPER_SETTINGS}.items():
        if env_id not in gym.registry:
            gym.register(
                id=env_id,
                entry_point="mixrl_env.env:MixRLEnv",
                vector_entry_point="mixrl_env.vector:MixRLVectorEnv",
                kwargs=kwargs,
            )

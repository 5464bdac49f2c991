"""The environments' ids: each is an entry point, its batched twin, and settings that JSON can hold."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from mixrl_env.datasets.known import KNOWN

_DEEP = {"hidden_sizes": [2048, 1024, 512, 256], "layer_norm": True, "learning_rate": 1e-4, "batch_size": 128}

# Sec. 4 and App. B.1: options, C, and the regressor; what is not named here is the default of ProblemConfig.
PAPER_SETTINGS: dict[str, dict[str, Any]] = {
    "MixRL-NO2-v0": {
        "data": "no2",
        "options": [[space, k] for space in ("data", "label") for k in range(1, 17)],
        "lam": 0.5,
        "reward_scale": 2.0,
        "regressor": {"hidden_sizes": [512, 256], "learning_rate": 1e-4, "batch_size": 32},
    },
    "MixRL-Synthetic-v0": {
        "data": "synthetic",
        "options": [[space, k] for space in ("data", "label") for k in range(1, 33)],
        "lam": 0.5,
        "reward_scale": 0.001,
        "regressor": _DEEP,
    },
    "MixRL-Product-v0": {
        "data": "product",  # a stand-in: the paper's table is proprietary
        "options": [[space, k] for space in ("data", "label") for k in range(10, 271, 10)],
        "lam": 0.5,
        "reward_scale": 0.5,
        "regressor": _DEEP,
    },
}

SMALL_REGRESSOR: dict[str, Any] = {"hidden_sizes": [64, 64], "learning_rate": 0.003, "max_steps": 5000}
"""For tables that are not the paper's: fast enough to be trained to the end."""
KNOWN_SETTINGS: dict[str, dict[str, Any]] = {
    f"MixRL-{''.join(word.capitalize() for word in name.split('_'))}-v0": {"data": name, "regressor": SMALL_REGRESSOR}
    for name in KNOWN
}
"""Ids of the tables whose truth is known (ours), such as MixRL-NoisyCorner-v0."""
MANY_TABLES: dict[str, dict[str, Any]] = {"MixRL-Tables-v0": {"regressor": SMALL_REGRESSOR}}
"""The id whose episodes are about one generated table each (ours)."""


def register_envs() -> None:
    """Register every id with Gymnasium; calling it again changes nothing."""
    one = ("mixrl_env.env:MixRLEnv", "mixrl_env.vector:MixRLVectorEnv")
    many = ("mixrl_env.many_tables:MixRLTablesEnv", "mixrl_env.many_tables:MixRLTablesVectorEnv")
    of_one = {"MixRL-v0": {}, **PAPER_SETTINGS, **KNOWN_SETTINGS}
    for ids, (single, vector) in ((of_one, one), (MANY_TABLES, many)):
        for env_id in ids.keys() - gym.registry.keys():
            gym.register(env_id, single, vector_entry_point=vector, kwargs=ids[env_id])

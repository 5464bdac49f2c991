"""MixRL as a Gymnasium environment family; importing this package registers the ids.

The other names are imported on first use, so `import mixrl_env` is fast and does not import torch.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mixrl_env.lazy_exports import lazy_exports
from mixrl_env.registration import register_envs

if TYPE_CHECKING:
    from mixrl_env.data import RegressionData
    from mixrl_env.datasets import dataset_names, load_dataset
    from mixrl_env.datasets.own import from_frame, read_table
    from mixrl_env.env import MixRLEnv
    from mixrl_env.many_tables import MixRLTablesEnv, MixRLTablesVectorEnv
    from mixrl_env.neighbors import NeighborOption, NeighborTable
    from mixrl_env.problem import MixingProblem, Outcome, ProblemConfig
    from mixrl_env.regressor import FittedRegressors, RegressorConfig, fit_regressors
    from mixrl_env.vector import MixRLVectorEnv
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "mixrl_env.data": ("RegressionData",),
            "mixrl_env.datasets": ("dataset_names", "load_dataset"),
            "mixrl_env.datasets.own": ("from_frame", "read_table"),
            "mixrl_env.env": ("MixRLEnv",),
            "mixrl_env.many_tables": ("MixRLTablesEnv", "MixRLTablesVectorEnv"),
            "mixrl_env.neighbors": ("NeighborOption", "NeighborTable"),
            "mixrl_env.problem": ("MixingProblem", "Outcome", "ProblemConfig"),
            "mixrl_env.regressor": ("FittedRegressors", "RegressorConfig", "fit_regressors"),
            "mixrl_env.vector": ("MixRLVectorEnv",),
        },
    )

try:
    __version__ = version("mixrl")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

register_envs()


def _use_one_thread() -> None:
    """Limit torch to one thread in a forked child: OpenMP's threads do not survive a fork, and work for them never ends."""
    if torch := sys.modules.get("torch"):  # a child that imports torch itself starts its own threads
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)

__all__ = [
    "FittedRegressors",
    "MixRLEnv",
    "MixRLTablesEnv",
    "MixRLTablesVectorEnv",
    "MixRLVectorEnv",
    "MixingProblem",
    "NeighborOption",
    "NeighborTable",
    "Outcome",
    "ProblemConfig",
    "RegressionData",
    "RegressorConfig",
    "dataset_names",
    "fit_regressors",
    "from_frame",
    "load_dataset",
    "read_table",
]

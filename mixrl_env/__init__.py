"""MixRL as a Gymnasium environment family; importing this package registers the ids."""

import os
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

from mixrl_env.data import RegressionData
from mixrl_env.datasets import dataset_names, load_dataset
from mixrl_env.datasets.own import from_frame, read_table
from mixrl_env.env import MixRLEnv
from mixrl_env.many_tables import MixRLTablesEnv, MixRLTablesVectorEnv
from mixrl_env.neighbors import NeighborOption, NeighborTable
from mixrl_env.problem import MixingProblem, Outcome, ProblemConfig
from mixrl_env.registration import register_envs
from mixrl_env.regressor import FittedRegressors, RegressorConfig, fit_regressors
from mixrl_env.vector import MixRLVectorEnv

try:
    __version__ = version("mixrl")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

register_envs()

if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not survive a fork, and a child that gives them work waits forever: it must do with one thread.
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

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

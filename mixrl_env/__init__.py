"""MixRL as a Gymnasium environment family; importing this package registers the ids."""

from importlib.metadata import PackageNotFoundError, version

from mixrl_env.data import RegressionData
from mixrl_env.datasets import dataset_names, load_dataset
from mixrl_env.datasets.own import from_frame, read_table
from mixrl_env.env import MixRLEnv
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

__all__ = [
    "FittedRegressors",
    "MixRLEnv",
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

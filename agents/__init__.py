"""Agents that learn which rows to mix; they know the environment only through Gymnasium."""

from mixrl.base import Agent
from mixrl.checkpoint import Checkpoints
from mixrl.cross_entropy import CrossEntropy, CrossEntropyConfig
from mixrl.estimators import MixRLRegressor, MixRLSampler
from mixrl.mask_regression import MaskRegression, MaskRegressionConfig
from mixrl.meta_gradient import MetaGradient, MetaGradientConfig
from mixrl.random_search import RandomSearch, RandomSearchConfig
from mixrl.reinforce import Reinforce, ReinforceConfig
from mixrl.reinforce_variants import ReinforceVariant, ReinforceVariantConfig
from mixrl.row_policy import RowPolicy
from mixrl.sb3 import SB3Agent, SB3Config
from mixrl.sb3_vec_env import SB3VecEnv
from mixrl.value_network import ValueNetwork, load_value_network, save_value_network

__all__ = [
    "Agent",
    "Checkpoints",
    "CrossEntropy",
    "CrossEntropyConfig",
    "MaskRegression",
    "MaskRegressionConfig",
    "MetaGradient",
    "MetaGradientConfig",
    "MixRLRegressor",
    "MixRLSampler",
    "RandomSearch",
    "RandomSearchConfig",
    "Reinforce",
    "ReinforceConfig",
    "ReinforceVariant",
    "ReinforceVariantConfig",
    "RowPolicy",
    "SB3Agent",
    "SB3Config",
    "SB3VecEnv",
    "ValueNetwork",
    "load_value_network",
    "save_value_network",
]

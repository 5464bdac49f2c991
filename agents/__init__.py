"""Agents that learn which rows to mix; they know the environment only through Gymnasium."""

from agents.base import Agent
from agents.checkpoint import Checkpoints
from agents.cross_entropy import CrossEntropy, CrossEntropyConfig
from agents.estimators import MixRLRegressor, MixRLSampler
from agents.mask_regression import MaskRegression, MaskRegressionConfig
from agents.meta_gradient import MetaGradient, MetaGradientConfig
from agents.random_search import RandomSearch, RandomSearchConfig
from agents.reinforce import Reinforce, ReinforceConfig
from agents.reinforce_variants import ReinforceVariant, ReinforceVariantConfig
from agents.row_policy import RowPolicy
from agents.sb3 import SB3Agent, SB3Config
from agents.sb3_vec_env import SB3VecEnv
from agents.value_network import ValueNetwork, load_value_network, save_value_network

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

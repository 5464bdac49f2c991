"""Agents that learn which rows to mix; they know the environment only through Gymnasium."""

from agents.base import Agent
from agents.mask_regression import MaskRegression, MaskRegressionConfig
from agents.reinforce import Reinforce, ReinforceConfig
from agents.value_network import ValueNetwork, load_value_network, save_value_network

__all__ = [
    "Agent",
    "MaskRegression",
    "MaskRegressionConfig",
    "Reinforce",
    "ReinforceConfig",
    "ValueNetwork",
    "load_value_network",
    "save_value_network",
]

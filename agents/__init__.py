"""Agents that learn which rows to mix; they know the environment only through Gymnasium. The package is imported as mixrl.

The agents of stable-baselines3 are imported when they are first asked for, so that everything else works without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mixrl.checkpoint import Checkpoints
from mixrl.controls import CrossEntropy, CrossEntropyConfig, RandomSearch, RandomSearchConfig
from mixrl.credit_regression import CreditRegression, CreditRegressionConfig
from mixrl.data_valuation import DataValuation, DataValuationConfig
from mixrl.estimators import MixRLRegressor, MixRLSampler
from mixrl.mask_regression import MaskRegression, MaskRegressionConfig
from mixrl.meta_gradient import MetaGradient, MetaGradientConfig
from mixrl.plan_search import PlanSearch, PlanSearchConfig
from mixrl.reinforce import Reinforce, ReinforceConfig
from mixrl.reinforce_local import LocalReinforce
from mixrl.reinforce_variants import ReinforceVariant, ReinforceVariantConfig
from mixrl.training import Agent
from mixrl.value_network import ValueNetwork, load_value_network, save_value_network

if TYPE_CHECKING:
    from mixrl.sb3 import RowPolicy, SB3Agent, SB3Config, SB3VecEnv

_OF_SB3 = ("RowPolicy", "SB3Agent", "SB3Config", "SB3VecEnv")


def __getattr__(name: str) -> Any:
    if name in _OF_SB3:
        return getattr(import_module("mixrl.sb3"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Agent",
    "Checkpoints",
    "CreditRegression",
    "CreditRegressionConfig",
    "CrossEntropy",
    "CrossEntropyConfig",
    "DataValuation",
    "DataValuationConfig",
    "LocalReinforce",
    "MaskRegression",
    "MaskRegressionConfig",
    "MetaGradient",
    "MetaGradientConfig",
    "MixRLRegressor",
    "MixRLSampler",
    "PlanSearch",
    "PlanSearchConfig",
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

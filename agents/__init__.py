"""Agents that learn which rows to mix; they know the environment only through Gymnasium. The package is imported as mixrl.

All names are imported on first use, so `import mixrl` is fast, and only the agents of stable-baselines3 need that package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixrl_env.lazy_exports import lazy_exports

if TYPE_CHECKING:
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
    from mixrl.sb3 import RowPolicy, SB3Agent, SB3Config, SB3VecEnv
    from mixrl.training import Agent
    from mixrl.value_network import ValueNetwork, load_value_network, save_value_network
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "mixrl.checkpoint": ("Checkpoints",),
            "mixrl.controls": ("CrossEntropy", "CrossEntropyConfig", "RandomSearch", "RandomSearchConfig"),
            "mixrl.credit_regression": ("CreditRegression", "CreditRegressionConfig"),
            "mixrl.data_valuation": ("DataValuation", "DataValuationConfig"),
            "mixrl.estimators": ("MixRLRegressor", "MixRLSampler"),
            "mixrl.mask_regression": ("MaskRegression", "MaskRegressionConfig"),
            "mixrl.meta_gradient": ("MetaGradient", "MetaGradientConfig"),
            "mixrl.plan_search": ("PlanSearch", "PlanSearchConfig"),
            "mixrl.reinforce": ("Reinforce", "ReinforceConfig"),
            "mixrl.reinforce_local": ("LocalReinforce",),
            "mixrl.reinforce_variants": ("ReinforceVariant", "ReinforceVariantConfig"),
            "mixrl.sb3": ("RowPolicy", "SB3Agent", "SB3Config", "SB3VecEnv"),
            "mixrl.training": ("Agent",),
            "mixrl.value_network": ("ValueNetwork", "load_value_network", "save_value_network"),
        },
    )

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

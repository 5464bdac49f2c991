"""MixRL for people who know scikit-learn: a sampler and a regressor, imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixrl_env.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from mixrl.estimators.regressor import MixRLRegressor
    from mixrl.estimators.sampler import MixRLSampler
else:
    modules = {"mixrl.estimators.regressor": ("MixRLRegressor",), "mixrl.estimators.sampler": ("MixRLSampler",)}
    __getattr__, __dir__ = lazy_exports(__name__, modules)

__all__ = ["MixRLRegressor", "MixRLSampler"]

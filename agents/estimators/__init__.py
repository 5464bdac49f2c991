"""MixRL for people who know scikit-learn: a sampler and a regressor."""

from mixrl.estimators.regressor import MixRLRegressor
from mixrl.estimators.sampler import MixRLSampler

__all__ = ["MixRLRegressor", "MixRLSampler"]

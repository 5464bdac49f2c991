"""MixRL for people who know scikit-learn: a sampler and a regressor."""

from agents.estimators.regressor import MixRLRegressor
from agents.estimators.sampler import MixRLSampler

__all__ = ["MixRLRegressor", "MixRLSampler"]

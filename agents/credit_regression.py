"""Credit by regression over many tables: one function of a row and its option, for tables that it has never seen (ours).

On `MixRL-Tables-v0` the reward is 0 where nothing is mixed, and tables differ in how many rows they have. The reward of a mask
D is taken for the mean over the n rows of D_i c(x_i): a ridge regression of the rewards of many random masks on many tables
finds the weights w of the credit c(x) = w . f(x), f random features of an observation row with fixed scales. The sum of the
credits of a plan, divided by n, is the gain that is to be expected of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from mixrl.checkpoint import Checkpoints
from mixrl.random_features import random_policies
from mixrl.training import AnyEnv, FloatArray, Learner, ProgressCallback, Rows, Run, check_rows, env_metrics, step_once
from mixrl_env.checks import check_types
from mixrl_env.streams import stream

_CENTRE, _SPREAD = 1 / 3, 1 / 4  # of the columns, roughly, which lie in [0, 1]


@dataclass(frozen=True)
class CreditRegressionConfig:
    """Settings of `CreditRegression`.

    Attributes:
        num_features: random ReLU features of an observation row that the credit is linear in.
        exploration: standard deviation of the random policies' logits over the rows of a table, and of their mean.
        ridge: penalty on the squared weights, in units of a training's squared features.

    Raises:
        ValueError: for a value out of its range.
    """

    num_features: int = 300
    exploration: float = 2.0
    ridge: float = 100.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_features < 1 or not 0 <= self.exploration < np.inf or not 0 < self.ridge < np.inf:
            raise ValueError(
                "num_features must be at least 1, exploration at least 0 and ridge positive, got "
                f"{self.num_features}, {self.exploration}, {self.ridge}"
            )


class CreditRegression(Learner[CreditRegressionConfig]):
    """The expected gain of mixing a row with its option, for environments whose rewards are 0 where nothing is mixed.

    Rows of zeros are padding.

    Attributes:
        weights: w, shape (num_features + 1,); None before `learn`.
    """

    config_type = CreditRegressionConfig
    weights: FloatArray | None = None

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Spend num_trainings, rounded down to whole steps of the vector, on random masks, then regress; see `Agent`.

        Raises:
            ValueError: if the budget is below one step of the vector, or an episode has more than one step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings)
        rng, size = stream(self.seed, "masks of credit regression"), self.config.num_features + 1
        self._draw_features(state.shape[-1])
        run = Run(self, envs, num_trainings, callback, checkpoints, rng=rng)
        # Sums of products, from which the weights follow: nothing grows with the number of trainings.
        state, square, product = run.start(state=state, square=np.zeros((size, size)), product=np.zeros(size))
        while run.left:
            features = self._features(state)
            p = expit(np.einsum("mif,mf->mi", features, random_policies(features, self.config.exploration, rng)))
            offered = state.any(axis=-1)
            masks = offered & (rng.random(p.shape) < p)
            state, reward, info = step_once(envs, masks.astype(np.int8))
            pooled = np.einsum("mi,mif->mf", masks / offered.sum(axis=1, keepdims=True), features)
            square, product = square + pooled.T @ pooled, product + pooled.T @ reward
            run.end_update(
                {"reward/mean": float(reward.mean()), "reward/std": float(reward.std())} | env_metrics(info),
                state=state,
                square=square,
                product=product,
            )
        scale = np.trace(square) / self.trainings
        self.weights = np.linalg.solve(square + self.config.ridge * scale * np.eye(size) / size, product)
        return self

    def credit(self, rows: Rows) -> FloatArray:
        """Expected gain of mixing a row with its option, times n: observation rows (..., row size) in, (...,) out.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.weights is None:
            raise RuntimeError("call learn() before credit() and probabilities()")
        credit: FloatArray = self._features(rows) @ self.weights
        return credit

    def probabilities(self, rows: Rows) -> FloatArray:
        """The sigmoid of the credit, above 1/2 where a gain is expected; see `mixrl.training.Agent`."""
        p: FloatArray = expit(self.credit(rows))
        return p

    def _draw_features(self, row_size: int) -> None:
        rng = stream(self.seed, "features of credit regression")
        self._w = rng.normal(size=(row_size, self.config.num_features)) / row_size**0.5
        self._b = rng.uniform(-1, 1, self.config.num_features)

    def _features(self, rows: Rows) -> FloatArray:
        """Random features of observation rows, the last always 1."""
        check_rows(rows, len(self._w))
        hidden = np.maximum((rows - _CENTRE) / _SPREAD @ self._w + self._b, 0)
        return np.concatenate([hidden, np.ones((*hidden.shape[:-1], 1))], axis=-1)

"""Credit by regression: which rows raise the reward, read off the rewards of random masks (ours, not the paper's).

Where REINFORCE follows a noisy gradient update by update, this agent asks all rewards at once. Every training selects rows by a
random policy of its own, a function of the same family as what is to be learned: similar rows are selected together, so that a
reward tells of them all, where fair coins for every row would average out. A linear model of the reward, the sum of (D_i - 1/2)
c(x_i, y_i, k_i), has the credit c of a row as its slope. A Bayesian ridge regression weighs it against the noise of training: p
is a posterior probability, and noise moves it away from 1/2 only as far as noise can look like credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

from mixrl.checkpoint import Checkpoints
from mixrl.random_features import RandomFeatures, random_policies
from mixrl.training import AnyEnv, FloatArray, Learner, Logger, ProgressCallback, Rows, Run, env_metrics, step_once
from mixrl_env.checks import check_types
from mixrl_env.streams import stream


@dataclass(frozen=True)
class MaskRegressionConfig:
    """Settings of `MaskRegression`.

    Attributes:
        num_features: random ReLU features of an observation row that the credit is linear in.
        exploration: standard deviation of the random policies' logits over the rows of a batch, and of their mean over
            policies; 0 draws every row by a fair coin.

    Raises:
        ValueError: for a value out of its range.
    """

    num_features: int = 400
    exploration: float = 2.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {self.num_features}")
        if not 0 <= self.exploration < np.inf:
            raise ValueError(f"exploration must be a number of at least 0, got {self.exploration}")


class MaskRegression(Learner[MaskRegressionConfig]):
    """p(row) = posterior probability that selecting the row, with its option, raises the reward.

    Attributes:
        trainings: inner trainings that `learn` has spent, over all calls.
    """

    config_type = MaskRegressionConfig

    def __init__(self, config: MaskRegressionConfig | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        super().__init__(config, seed, logger)
        self._rng = stream(seed, "masks of random policies")
        self._features: RandomFeatures | None = None
        self._calls: list[tuple[list[FloatArray], list[FloatArray]]] = []  # pooled masks and rewards of each
        self._posterior: tuple[FloatArray, FloatArray] | None = None  # computed when it is asked for

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Spend num_trainings, rounded down to whole steps of the vector, on random masks, then regress; see `Agent`.

        Learning again, on this or another environment with rows of the same size, adds to what was seen; rewards are compared
        only within one call.

        Raises:
            ValueError: if the budget is below three trainings, in whole steps of the vector, or an episode has more than one
                step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings, least=3)
        self._featurize(state)  # the first rows ever seen set the scale
        run = Run(self, envs, num_trainings, callback, checkpoints, rng=self._rng)
        # States are not kept: a run's may not fit into memory.
        state, pooled, rewards = run.start(state=state, pooled=[], rewards=[])
        self._posterior = None
        self._calls.append((pooled, rewards))
        while run.left:
            features = self._featurize(state)
            policies = random_policies(features, self.config.exploration, self._rng)
            p = expit(np.einsum("mif,mf->mi", features, policies))
            masks = self._rng.random(p.shape) < p
            state, reward, info = step_once(envs, masks.astype(np.int8))
            pooled.append(_pool(features, masks))
            rewards.append(reward)
            self._posterior = None
            metrics = {"reward/mean": float(reward.mean()), "reward/std": float(reward.std())}
            metrics |= {"policy/p_mean": float(p.mean())} | env_metrics(info)
            run.end_update(metrics, state=state, pooled=pooled, rewards=rewards)
        return self

    def fit(self, states: Sequence[Rows], masks: Sequence[npt.NDArray[np.bool_]], rewards: FloatArray) -> Self:
        """Regress rewards on masks of anyone's, such as fair coins, drawn without regard to the rewards.

        Args:
            states: observations of some trainings each, shapes (m, B, row size).
            masks: which rows were selected, shapes (m, B).
            rewards: of all trainings, shape (total of the m,).
        """
        pooled = [_pool(self._featurize(state), mask) for state, mask in zip(states, masks, strict=True)]
        self._calls.append((pooled, [rewards]))
        self._posterior = None
        return self

    def _featurize(self, state: Rows) -> FloatArray:
        """Features (m, B, features) of observations; the first rows ever seen set their scale."""
        if self._features is None:
            self._features = RandomFeatures(state, self.config.num_features, stream(self.seed, "random features"))
        return self._features(state)

    def _regress(self) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance of the posterior of the credit's weights, from all that was seen."""
        from sklearn.linear_model import BayesianRidge  # slow to import

        pooled = np.concatenate([masks for call, _ in self._calls for masks in call])
        centred = np.concatenate([own - own.mean() for own in (np.concatenate(rewards) for _, rewards in self._calls)])
        # Scaled so that the priors of BayesianRidge suit any reward and batch; in P(credit > 0) the scales cancel.
        scale, spread = float(np.sqrt(np.square(pooled).mean())) or 1.0, float(centred.std()) or 1.0
        ridge = BayesianRidge().fit(pooled / scale, centred / spread)
        return ridge.coef_, ridge.sigma_

    def probabilities(self, rows: Rows) -> FloatArray:
        """P(credit > 0) of each observation row; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._features is None or not self._calls:
            raise RuntimeError("call learn() before probabilities()")
        if self._posterior is None:
            self._posterior = self._regress()
        features, (mean, covariance) = self._features(rows), self._posterior
        spread = np.sqrt(np.maximum(((features @ covariance) * features).sum(axis=-1), 1e-300))
        p: FloatArray = ndtr(features @ mean / spread)
        return p


def _pool(features: FloatArray, mask: npt.NDArray[np.bool_]) -> FloatArray:
    """Sum of (D_i - 1/2) times the features of row i, shape (m, features)."""
    pooled: FloatArray = np.einsum("mi,mif->mf", mask - 0.5, features)
    return pooled

"""Random search: draw policies at random, try each once, keep the best.

A control (ours, not the paper's): what an agent finds beyond this, it has learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from mixrl.base import Envs, Logger, ProgressCallback, as_vector_env, check_budget, settled, step_once
from mixrl.checkpoint import Checkpoints
from mixrl.progress import update_metrics
from mixrl.random_features import FloatArray, RandomFeatures, random_policies
from mixrl.run import Run
from mixrl_env.checks import check_types
from mixrl_env.streams import stream


@dataclass(frozen=True)
class RandomSearchConfig:
    """Settings of `RandomSearch`.

    Attributes:
        num_features: random ReLU features of an observation row that a policy's logits are linear in.
        exploration: standard deviation of the policies' logits over the rows of a batch, and of their mean over policies.

    Raises:
        ValueError: for a value out of its range.
    """

    num_features: int = 400
    exploration: float = 2.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_features < 1 or not 0 < self.exploration < np.inf:
            raise ValueError(
                f"num_features must be at least 1 and exploration positive, got {self.num_features}, {self.exploration}"
            )


class RandomSearch:
    """The policy with the highest reward of all that were tried, each a random smooth function of the observation row.

    Args:
        config: settings.
        seed: of the policies, the masks and the environments; the same seed gives the same run.
        logger: for the learning curves, such as one of stable-baselines3, or None.

    Attributes:
        trainings: inner trainings that `learn` has spent.
    """

    def __init__(self, config: RandomSearchConfig | None = None, seed: int = 0, logger: Logger | None = None) -> None:
        self.config, self.seed, self.logger = settled(config, RandomSearchConfig, seed), seed, logger
        self.trainings = 0
        self._features: RandomFeatures | None = None
        self._best = np.empty(0)

    def learn(
        self,
        envs: Envs | gym.Env[Any, Any],
        num_trainings: int,
        callback: ProgressCallback | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Self:
        """Try as many policies as there are trainings, rounded down to whole steps of the vector; see `mixrl.base.Agent`.

        Raises:
            ValueError: if the budget is below one step of the vector, or an episode has more than one step (T > 1).
        """
        envs = as_vector_env(envs)
        m = envs.num_envs
        check_budget(num_trainings, m)
        rng = stream(self.seed, "random search")
        state, _ = envs.reset(seed=self.seed)
        self._features = RandomFeatures(state, self.config.num_features, rng)
        run = Run(self, envs, num_trainings // m, callback, checkpoints, rng=rng)
        state, highest, self._best = run.start(state=state, highest=-np.inf, best=np.empty(0))
        self.trainings = run.done * m
        for update in range(run.done + 1, num_trainings // m + 1):
            features = self._features(state)
            policies = random_policies(features, self.config.exploration, rng)
            logits = np.einsum("mif,mf->mi", features, policies)
            masks = rng.random(logits.shape) < expit(logits)
            state, reward, info = step_once(envs, masks.astype(np.int8))
            if reward.max() > highest:
                highest, self._best = float(reward.max()), policies[reward.argmax()]
            self.trainings = update * m
            metrics = update_metrics(logits, masks, reward, info) | {"search/highest_reward": highest}
            run.end_update(self.trainings, metrics, state=state, highest=highest, best=self._best)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> FloatArray:
        """P of each observation row under the best policy so far; see `mixrl.base.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._features is None:
            raise RuntimeError("call learn() before probabilities()")
        p: FloatArray = expit(self._features(rows) @ self._best)
        return p

"""Controls without gradients (ours, not the paper's): random search, and the cross-entropy method.

What an agent finds beyond random search, it has learned. The cross-entropy method has no network: nothing that it learns of one
row says anything of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from mixrl.checkpoint import Checkpoints
from mixrl.random_features import RandomFeatures, random_policies
from mixrl.training import AnyEnv, FloatArray, Learner, ProgressCallback, Rows, Run, check_rows, step_once, update_metrics
from mixrl_env.checks import check_types
from mixrl_env.streams import stream

IntArray = npt.NDArray[np.int64]


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


class RandomSearch(Learner[RandomSearchConfig]):
    """The policy with the highest reward of all that were tried, each a random smooth function of the observation row."""

    config_type = RandomSearchConfig
    _features: RandomFeatures | None = None

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Try as many policies as there are trainings, rounded down to whole steps of the vector; see `mixrl.training.Agent`.

        Raises:
            ValueError: if the budget is below one step of the vector, or an episode has more than one step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings)
        rng, self.trainings = stream(self.seed, "random search"), 0
        self._features = RandomFeatures(state, self.config.num_features, rng)
        run = Run(self, envs, num_trainings, callback, checkpoints, rng=rng)
        state, highest, self._best = run.start(state=state, highest=-np.inf, best=np.empty(0))
        while run.left:
            features = self._features(state)
            policies = random_policies(features, self.config.exploration, rng)
            logits = np.einsum("mif,mf->mi", features, policies)
            masks = rng.random(logits.shape) < expit(logits)
            state, reward, info = step_once(envs, masks.astype(np.int8))
            if reward.max() > highest:
                highest, self._best = float(reward.max()), policies[reward.argmax()]
            metrics = update_metrics(logits, masks, reward, info) | {"search/highest_reward": highest}
            run.end_update(metrics, state=state, highest=highest, best=self._best)
        return self

    def probabilities(self, rows: Rows) -> FloatArray:
        """P of each observation row under the best policy so far; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._features is None:
            raise RuntimeError("call learn() before probabilities()")
        p: FloatArray = expit(self._features(rows) @ self._best)
        return p


@dataclass(frozen=True)
class CrossEntropyConfig:
    """Settings of `CrossEntropy`.

    Attributes:
        population: trainings whose masks are compared with each other, rounded up to whole steps of the vector.
        elite: share of them that p moves to.
        step: how far: p becomes (1 - step) p + step * the share of the elite that selected the row.
        margin: p stays within [margin, 1 - margin], so that every row is tried now and then.

    Raises:
        ValueError: for a value out of its range.
    """

    population: int = 64
    elite: float = 0.25
    step: float = 0.3
    margin: float = 0.02

    def __post_init__(self) -> None:
        check_types(self)
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        if not 0 < self.elite < 1 or not 0 < self.step <= 1 or not 0 <= self.margin < 0.5:
            raise ValueError(
                f"elite must lie in (0, 1), step in (0, 1] and margin in [0, 0.5), got {self.elite}, {self.step}, {self.margin}"
            )


class CrossEntropy(Learner[CrossEntropyConfig]):
    """Independent probabilities for every observation row, by the cross-entropy method (with a step, as in PBIL)."""

    config_type = CrossEntropyConfig
    _p: FloatArray | None = None

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Start at p = 1/2 and move p after every population; see `mixrl.training.Agent`.

        Raises:
            ValueError: if the budget is below one population, or an episode has more than one step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings, self.config.population)
        steps = -(-self.config.population // envs.num_envs)  # of the vector, for one population
        rng, self.trainings = stream(self.seed, "cross-entropy"), 0
        whole = num_trainings // (steps * envs.num_envs) * steps * envs.num_envs
        run = Run(self, envs, whole, callback, checkpoints, rng=rng)
        state, rows, self._p, offered, masks, rewards = run.start(
            state=state, rows=state[:0, 0], p=np.empty(0), offered=[], masks=[], rewards=[]
        )
        self._row_size = state.shape[-1]
        self._players = PlayerIndex(rows)
        while run.left:
            offered.append(self._players.add(state))
            self._p = np.append(self._p, np.full(len(self._players) - len(self._p), 0.5))
            p = self._p[offered[-1]]
            mask = rng.random(p.shape) < p
            masks.append(mask)
            state, reward, info = step_once(envs, mask.astype(np.int8))
            rewards.append(reward)
            if len(rewards) == steps:
                self._move(np.concatenate(offered), np.concatenate(masks), np.concatenate(rewards))
                offered, masks, rewards = [], [], []
            metrics = update_metrics(logit(p), mask, reward, info)
            values = {"p": self._p, "offered": offered, "masks": masks, "rewards": rewards}
            run.end_update(metrics, state=state, rows=self._players.rows, **values)
        return self

    def _move(self, offered: IntArray, masks: npt.NDArray[np.bool_], rewards: FloatArray) -> None:
        """Move p of the rows that the elite was offered towards what it selected; all (population, B) or (population,)."""
        assert self._p is not None
        elite = np.argsort(-rewards, kind="stable")[: max(1, round(self.config.elite * len(rewards)))]
        size = len(self._p)
        tried = np.bincount(offered[elite].ravel(), minlength=size)
        chosen = np.bincount(offered[elite].ravel(), weights=masks[elite].ravel(), minlength=size)
        share = np.divide(chosen, tried, out=self._p.copy(), where=tried > 0)
        moved = (1 - self.config.step) * self._p + self.config.step * share
        self._p = moved.clip(self.config.margin, 1 - self.config.margin)

    def probabilities(self, rows: Rows) -> FloatArray:
        """P of each observation row, 1/2 for rows that were never offered; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._p is None:
            raise RuntimeError("call learn() before probabilities()")
        check_rows(rows, self._row_size)
        p: FloatArray = np.append(self._p, 0.5)[self._players.find(rows)]
        return p


class PlayerIndex:
    """Numbers distinct observation rows, in the order in which they are first seen.

    Args:
        rows: that have the first numbers, shape (players, row size).
    """

    def __init__(self, rows: Rows) -> None:
        self._like = rows[:0]
        self._numbers = {row.tobytes(): number for number, row in enumerate(np.ascontiguousarray(rows))}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def rows(self) -> Rows:
        """All rows, in the order of their numbers, shape (players, row size)."""
        return np.frombuffer(b"".join(self._numbers), dtype=self._like.dtype).reshape(-1, self._like.shape[-1])

    def add(self, rows: Rows) -> IntArray:
        """Numbers of rows (..., row size), shape (...,); new rows get the next ones."""
        found = [self._numbers.setdefault(row.tobytes(), len(self)) for row in self._flat(rows)]
        return np.array(found, dtype=np.int64).reshape(rows.shape[:-1])

    def find(self, rows: Rows) -> IntArray:
        """Numbers of rows (..., row size), shape (...,); -1 for rows that were never added."""
        found = [self._numbers.get(row.tobytes(), -1) for row in self._flat(rows)]
        return np.array(found, dtype=np.int64).reshape(rows.shape[:-1])

    def _flat(self, rows: Rows) -> Rows:
        return np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])

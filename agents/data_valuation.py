"""Credit of rows as data valuation estimates it: Data Banzhaf by sample reuse, and AME by LASSO (baselines, not the paper's).

Every row with an option is a player of its own; unlike the other agents, nothing that is learned of one player says anything of
another. Wang and Jia (2023) prove that sample reuse, where each reward counts for every player, needs the fewest rewards for a
Banzhaf value; Lin et al. (2022) estimate the average marginal effect as the coefficients of a sparse regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from scipy.special import expit, logit, ndtr

from mixrl.checkpoint import Checkpoints
from mixrl.controls import PlayerIndex
from mixrl.training import AnyEnv, FloatArray, Learner, ProgressCallback, Rows, Run, check_rows, step_once, update_metrics
from mixrl_env.checks import check_types
from mixrl_env.streams import stream

_SHARES = (0.2, 0.4, 0.6, 0.8)  # probabilities of selection that AME draws from, those of its paper


@dataclass(frozen=True)
class DataValuationConfig:
    """Settings of `DataValuation`: the estimator, "banzhaf" or "ame".

    Raises:
        ValueError: for another one.
    """

    estimator: Literal["banzhaf", "ame"] = "banzhaf"

    def __post_init__(self) -> None:
        check_types(self)
        if self.estimator not in ("banzhaf", "ame"):
            raise ValueError(f"estimator must be 'banzhaf' or 'ame', got {self.estimator!r}")


class DataValuation(Learner[DataValuationConfig]):
    """p(row) from the credit of the row with its option: above 1/2 where selecting it raised the reward."""

    config_type = DataValuationConfig
    _seen: tuple[PlayerIndex, list[Any], list[Any], list[Any], list[FloatArray]] | None = None  # of all trainings
    _p: FloatArray | None = None  # computed when it is asked for

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Spend num_trainings, rounded down to whole steps of the vector, on random masks; see `mixrl.training.Agent`.

        Raises:
            ValueError: if the budget is below five trainings, in whole steps of the vector, or an episode has more than one
                step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings, least=5)
        rng, self.trainings, m = stream(self.seed, "data valuation"), 0, envs.num_envs
        run = Run(self, envs, num_trainings, callback, checkpoints, rng=rng)
        state, rows, offered, masks, shares, rewards = run.start(
            state=state, rows=state[:0, 0], offered=[], masks=[], shares=[], rewards=[]
        )
        players = PlayerIndex(rows)
        while run.left:
            share = rng.choice(_SHARES, size=m) if self.config.estimator == "ame" else np.full(m, 0.5)
            offered.append(players.add(state))
            masks.append(rng.random(state.shape[:2]) < share[:, None])
            shares.append(share)
            logits = np.repeat(logit(share)[:, None], masks[-1].shape[1], axis=1)
            state, reward, info = step_once(envs, masks[-1].astype(np.int8))
            rewards.append(reward)
            metrics = update_metrics(logits, masks[-1], reward, info)
            values = {"offered": offered, "masks": masks, "shares": shares, "rewards": rewards}
            self._seen, self._row_size, self._p = (players, offered, masks, shares, rewards), state.shape[-1], None
            run.end_update(metrics, state=state, rows=players.rows, **values)
        return self

    def probabilities(self, rows: Rows) -> FloatArray:
        """P of each observation row, 1/2 for rows that were never offered; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._seen is None:
            raise RuntimeError("call learn() before probabilities()")
        check_rows(rows, self._row_size)
        if self._p is None:
            self._p = self._estimate()
        p: FloatArray = np.append(self._p, 0.5)[self._seen[0].find(rows)]
        return p

    def _estimate(self) -> FloatArray:
        """P of every player, from all that was seen."""
        assert self._seen is not None
        players, offered, masks, shares, rewards = self._seen
        member, p = np.concatenate(masks), np.concatenate(shares)[:, None]
        selected = np.zeros((len(member), len(players)))
        np.put_along_axis(selected, np.concatenate(offered), np.where(member, 1 / p, -1 / (1 - p)), axis=1)
        return (_banzhaf if self.config.estimator == "banzhaf" else _ame)(selected, np.concatenate(rewards))


def _banzhaf(selected: FloatArray, rewards: FloatArray) -> FloatArray:
    """P(mean reward with a player > mean reward without it), under the standard errors of both, shape (players,).

    Args:
        selected: positive where a training selected a player, shape (trainings, players).
        rewards: shape (trainings,).
    """
    member = selected > 0
    p = np.full(member.shape[1], 0.5)
    counts = member.sum(axis=0)
    for player in np.flatnonzero((counts > 1) & (counts < len(rewards) - 1)):
        one, other = rewards[member[:, player]], rewards[~member[:, player]]
        error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
        p[player] = ndtr((one.mean() - other.mean()) / error) if error else 0.5
    return p


def _ame(selected: FloatArray, rewards: FloatArray) -> FloatArray:
    """The sigmoid of the coefficients of a LASSO, in units of their root mean square, shape (players,).

    Args:
        selected: 1/P where a training selected a player, -1/(1-P) where it was offered and not selected, 0 elsewhere, P being
            the probability of selection; shape (trainings, players).
        rewards: shape (trainings,).
    """
    from sklearn.linear_model import LassoCV  # slow to import

    scaled = (rewards - rewards.mean()) / (rewards.std() or 1.0)
    lasso = LassoCV(cv=min(5, len(rewards)), eps=0.01, alphas=20, max_iter=100_000, random_state=0)  # it draws nothing
    credit = lasso.fit(selected, scaled).coef_
    p: FloatArray = expit(credit / (np.sqrt(np.square(credit).mean()) or 1.0))
    return p

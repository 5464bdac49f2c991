"""Ways to mix, from not at all to the learned policy; each is a plan for the training rows of a problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from mixrl.mask_regression import MaskRegression
from mixrl_env import MixingProblem, NeighborOption, ProblemConfig, RegressionData, RegressorConfig
from mixrl_env.augmentation import sample_options, with_mixed_rows
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.mixing import mix
from mixrl_env.problem import Batch
from mixrl_env.regressor import TrainingSet

NO_MIXING, EVERY_PAIR, LEARNED, LEARNED_HALF = "no mixing", "every pair", "learned", "learned, upper half"
EMPTY_PLAN = pd.DataFrame({"row": [0], "space": ["data"], "k": [0], "probability": [0.0]}).iloc[:0]
Pairs = tuple[IntArray, IntArray]
"""Rows i and j to mix, each of shape (p,)."""
_KS = (1, 2, 4, 8, 16)
_FEW_ROWS, MANY_ROWS = 100, 5_000
_STEP_BUDGET = 300
_BLOCK = 4096  # rows whose probabilities are computed at once


def default_config(n_train: int, device: str = "auto") -> ProblemConfig:
    """Options, network and training for a table. C is 1; the learner of the policy does not depend on it.

    Args:
        n_train: training rows.
        device: where regressors are trained.
    """
    # A neighbourhood is at most a quarter of the rows; and many rows need few mixed ones each.
    most = min(max(1, n_train // 4), 16 if n_train <= MANY_ROWS else 4)
    ks = [k for k in _KS if k <= most]
    regressor = RegressorConfig(
        hidden_sizes=(64, 64) if n_train < _FEW_ROWS else (256, 128),
        learning_rate=1e-3,
        batch_size=32 if n_train <= MANY_ROWS else 256,
        max_steps=10_000,
        device=device,
    )
    options = tuple(NeighborOption(space, k) for space in ("data", "label") for k in ks)
    return ProblemConfig(options=options, regressor=regressor, pretrained=True, step_budget=_STEP_BUDGET)


class Mixer:
    """Turns ways to mix into plans and pairs of the training rows of one task.

    Args:
        data: the task.
        config: whose options policies choose from.
    """

    def __init__(self, data: RegressionData, config: ProblemConfig) -> None:
        self._problem = MixingProblem(data, replace(config, pretrained=False))

    def plans(self, policy: MaskRegression | None, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
        """Plans by the names of the ways, the simplest first: columns row, space, k, probability (NaN where none was learned).

        Args:
            policy: what was learned, or None.
            rng: draws options.
        """
        rows, options = len(self._problem.x_train), self._problem.options
        alike = sample_options(self._problem, np.full((rows, len(options)), 0.5), rng).assign(probability=np.nan)
        plans = {NO_MIXING: EMPTY_PLAN}
        plans[EVERY_PAIR] = pd.DataFrame({"row": np.arange(rows), "space": "all", "k": 0, "probability": np.nan})
        for k in dict.fromkeys(option.k for option in options):
            plans[f"k = {k}"] = alike.assign(k=k)
        plans |= {f"{space} distance, k alike": alike[alike["space"] == space] for space in ("data", "label")}
        plans["both distances, k alike"] = alike
        if policy is not None:
            drawn = sample_options(self._problem, self.probabilities(policy), rng)
            plans |= {LEARNED: drawn, LEARNED_HALF: drawn[drawn["probability"] >= drawn["probability"].median()]}
        return plans

    def probabilities(self, policy: MaskRegression) -> FloatArray:
        """Of every row and option, shape (n_train, |N|); in blocks, since there may be many."""
        problem, blocks = self._problem, []
        every, size = problem.every_row_and_option(), len(problem.options)
        for first in range(0, len(every.rows), _BLOCK):
            batch = Batch(every.rows[first : first + _BLOCK], every.options[first : first + _BLOCK])
            blocks.append(policy.probabilities(problem.observe(batch)))
        return np.concatenate(blocks).reshape(-1, size)

    def pairs(self, plan: pd.DataFrame) -> Pairs:
        """The pairs of training rows that a plan mixes; a pair may come twice, as (i, j) and as (j, i)."""
        if (plan["space"] == "all").any():  # then every row is mixed with every other
            i, j = np.triu_indices(len(self._problem.x_train), 1)
            return i, j
        option = np.zeros(len(plan), dtype=np.int64)
        for index, (space, k) in enumerate(self._problem.options):
            option[((plan["space"] == space) & (plan["k"] == k)).to_numpy()] = index
        return self._problem.neighbors.pairs(plan["row"].to_numpy(dtype=np.int64), option)


def with_mixed(x: FloatArray, y: FloatArray, i: IntArray, j: IntArray) -> TrainingSet:
    """Rows and, behind them, those half way between the two of each pair; of mixed rows that are equal the first.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        i: first rows of the pairs, shape (p,).
        j: second rows of the pairs, shape (p,).
    """
    return with_mixed_rows(x, y, *mix(x, y, i, j, 0.5))

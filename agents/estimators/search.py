"""Find the plan, if any, that lowers the error on rows that were held out.

Candidate plans, one by the policy that has learned on generated tables and simple ones, compete with no mixing: in every fold a
model is trained with each of them, and judged by rows that neither it, nor its early stop, nor the plan has seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from mixrl.credit_regression import CreditRegression
from mixrl.estimators.folds import Fold
from mixrl.estimators.models import Models
from mixrl.estimators.rows import Rows
from mixrl_env import RegressionData
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.many_tables import policy_problem
from mixrl_env.plans import NO_MIXING, options_above, plan_table
from mixrl_env.problem import Batch

Report = Callable[[float, str], None]
"""Called with the finished share of the work, and a few words on the current step."""
POLICY = "policy"
"""The plan of the policy that has learned on generated tables."""
_SIMPLE = (("label", 16), ("label", 4), ("both", 16), ("data", 16))
_QUARTER = 4  # a neighbourhood is at most a quarter of the rows
_MOST_OF_POLICY = 2000  # rows: its features take a time that grows with the square of them
_SHARE_OF_FIRST = 0.2  # of the time budget, for the plans in the first fold
_CERTAIN = 1.0  # standard deviations that the gain to be expected must exceed
# The share _KEPT of the gain on held-out rows reaches new ones, with a standard deviation of _BETWEEN, a share of the RMSE: the
# models of a search see fewer rows and are fewer than the final ones. The interval also allows for a kept share that differs
# between tables, with the standard deviation _VARIES; with this in the choice no plan would ever be chosen. Measured on splits
# 20 to 22; docs/estimators.md checks it on others.
_KEPT, _BETWEEN, _VARIES = 0.6, 0.04, 0.7
_COVER = 1.96
_ROUNDING = 1e-9  # models of the same function differ by less
_BLOCKS, _FEWEST_BLOCKS = 5, 3


class Gain(NamedTuple):
    """How much lower the RMSE is to be expected than without mixing, as a share of it, with a 95% interval."""

    mean: float
    low: float
    high: float


NAN_GAIN = Gain(np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a search.

    Attributes:
        table: one row a candidate plan: plan, rmse on held-out rows in standard deviations of the label, the share of the RMSE
            without mixing that it gains, the gain's standard error, and whether it was chosen.
        gain: to be expected on new rows, of choosing as was done; NaN if there are too few to tell.
        chosen: name of the chosen plan.
        held: indices of the rows that judged, in order, shape (m,).
        predicted: labels of these without mixing and by the chosen plan, by name, each (m, e).
    """

    table: pd.DataFrame
    gain: Gain
    chosen: str
    held: IntArray
    predicted: dict[str, FloatArray]


class Planner:
    """The candidate plans of some rows of a table.

    Args:
        rows: of the table.
        own: indices of the rows that are mixed with each other.
    """

    def __init__(self, rows: Rows, own: IntArray) -> None:
        self._rows, self._own = rows, own
        x, y = rows.filled[own], rows.scaled[own]
        self._problem = policy_problem(RegressionData(x, y, x[:1], y[:1]))

    def names(self) -> list[str]:
        """Of the candidates, no mixing first and then the most promising first."""
        count = len(self._own)
        ks = [k for k in (16, 4) if _QUARTER * k <= count] or [1]
        simple = [_name(space, k) for space, k in _SIMPLE if k in ks] or [
            _name(space, 1) for space in ("label", "both", "data")
        ]
        return [NO_MIXING, *simple[:1], *([POLICY] if count <= _MOST_OF_POLICY else []), *simple[1:]]

    def plan(self, name: str) -> Batch:
        """A candidate plan; its rows are places in the given ones."""
        problem = self._problem
        if name == POLICY:
            every = problem.every_row_and_option()
            credit = CreditRegression.load().credit(problem.observe(every)).reshape(len(self._own), -1)
            return options_above(problem, credit, 0.0)
        taken = [
            index for index, (space, k) in enumerate(problem.options) if name in (_name(space, k), _name("both", k))
        ]  # none for no mixing
        rows = np.arange(len(self._own))
        return Batch(np.tile(rows, len(taken)), np.repeat(np.array(taken, dtype=np.int64), len(rows)))

    def promised(self) -> tuple[Batch, float]:
        """The plan of the policy where it promises enough, and the log(RMSE without / RMSE with) that it expects."""
        return CreditRegression.load().plan(self._problem)

    def table(self, plan: Batch) -> pd.DataFrame:
        """A plan as a table with columns row (index in all rows), space and k."""
        return plan_table(self._problem, plan).assign(row=self._own[plan.rows])

    def pairs(self, plan: Batch) -> IntArray:
        """The pairs that a plan mixes; see `Rows.pairs`."""
        i, j = self._problem.neighbors.pairs(plan.rows, plan.options)
        return self._rows.pairs(self._own[i], self._own[j])


@dataclass(frozen=True)
class Effort:
    """Limits of a search.

    Attributes:
        time_budget: seconds: with little time fewer plans are tried in fewer folds. None has no limit.
        cap: makes the pairs that are used of those of a plan.
    """

    time_budget: float | None
    cap: Callable[[IntArray, int], IntArray]


def search(rows: Rows, val: Rows | None, folds: Sequence[Fold], models: Models, effort: Effort, report: Report) -> Found:
    """Try the candidate plans, and choose.

    Args:
        rows: of the table.
        val: validation rows, which then judge in all folds.
        folds: as from `mixrl.estimators.folds.deal`.
        models: fits what is judged.
        effort: limits.
        report: called with the progress.

    Raises:
        ValueError: if the predictions with every plan are not finite.
    """
    began = time.monotonic()
    end = np.inf if effort.time_budget is None else began + effort.time_budget
    judging = rows if val is None else val
    predicted: dict[str, list[FloatArray]] = {}
    done: list[IntArray] = []

    def fit(number: int, planner: Planner, names: Sequence[str]) -> None:
        seen = folds[number].seen
        plans = [effort.cap(planner.pairs(planner.plan(name)), len(seen)) for name in names]
        for name, predict in zip(names, models.fit(rows, seen, plans, number), strict=True):
            predicted.setdefault(name, []).append(predict(judging.x[done[-1]]))

    for number, fold in enumerate(folds):
        if number and end - time.monotonic() < (time.monotonic() - began) / number:
            break
        report(number / len(folds), f"trying plans in fold {number + 1} of {len(folds)}")
        planner = Planner(rows, fold.seen)
        done.append(fold.held if val is None else np.arange(len(val)))
        if number:
            fit(number, planner, list(predicted))
            continue
        for wave in [planner.names()] if effort.time_budget is None else [[name] for name in planner.names()]:
            # At least one plan is compared with no mixing, and a first fold that takes its share leaves time for others.
            if len(predicted) > 1 and time.monotonic() > began + _SHARE_OF_FIRST * (end - began):
                break
            fit(number, planner, wave)
    held = np.concatenate(done)
    own, place = np.unique(held, return_inverse=True)
    count = np.bincount(place)[:, None]
    means = {name: np.zeros((len(own), rows.y.shape[1])) for name in predicted}
    for name, parts in predicted.items():
        np.add.at(means[name], place, np.concatenate(parts))  # of folds that hold out the same row
        means[name] /= count
    with np.errstate(over="ignore", invalid="ignore"):
        errors = {
            name: np.square(rows.labels.to_standard(mean) - rows.labels.to_standard(judging.y[own])).mean(axis=1)
            for name, mean in means.items()
        }
    block = np.zeros(len(own), dtype=np.int64)
    block[place] = np.repeat(np.arange(len(done)), [len(part) for part in done])
    if val is not None or len(done) < _FEWEST_BLOCKS:
        block = np.unique(judging.groups[own], return_inverse=True)[1].ravel() % _BLOCKS
    weights = None if judging.weights is None else judging.weights[own]
    table, chosen, gain = judge(errors, block, judging.groups[own], weights)
    report(1.0, f"chosen: {chosen}")
    return Found(table, gain, chosen, own, {name: means[name] for name in (NO_MIXING, chosen)})


def judge(
    errors: dict[str, FloatArray], blocks: IntArray, groups: IntArray, weights: FloatArray | None
) -> tuple[pd.DataFrame, str, Gain]:
    """Choose by squared errors on held-out rows, and say what choosing so gains.

    A plan is chosen if its expected gain exceeds the standard deviation of that, and the most of all beyond it. The gain of
    choosing is measured on each block of rows by what the other blocks choose; what is expected on new rows is less.

    Args:
        errors: squared errors of each plan on the held-out rows, shape (n,), no mixing first.
        blocks: of the rows, shape (n,).
        groups: rows of one group are no independent evidence, shape (n,).
        weights: of the rows, shape (n,), or None.

    Returns:
        The table of `Found`, the chosen plan, and the gain.

    Raises:
        ValueError: if the errors of every plan are not finite.
    """
    own = np.ones(len(blocks)) if weights is None else weights
    judging = own > 0  # an error that is not finite counts for nothing where the weight is 0
    blocks, groups, own = blocks[judging], groups[judging], own[judging]
    names, n = list(errors), len(blocks)
    squared = np.stack([np.where(np.isfinite(error), error, np.inf)[judging] for error in errors.values()])
    with np.errstate(over="ignore", invalid="ignore"):
        rmse = np.sqrt(squared @ own / own.sum())
    if not np.isfinite(rmse).any():
        raise ValueError("the model's predictions are not finite with any plan, nor without mixing")
    nested = np.zeros(n)
    for block in np.unique(blocks):
        inside = blocks == block
        nested[inside] = squared[_best(squared[:, ~inside], groups[~inside], own[~inside]), inside]
    best = _best(squared, groups, own)
    shares = [_gain(squared[0], error, groups, own) for error in squared]
    table = pd.DataFrame(
        {
            "plan": names,
            "rmse": rmse,
            "gain": [share for share, _ in shares],
            "standard_error": [error for _, error in shares],
            "chosen": np.arange(len(names)) == best,
        }
    )
    if best == 0:
        return table, names[0], Gain(0.0, 0.0, 0.0)
    shown = _gain(squared[0], nested, groups, own)
    mean, error = _expected(shown)
    error = float(np.hypot(error, _VARIES * shown[0]))
    return table, names[best], Gain(mean, mean - _COVER * error, mean + _COVER * error)


def _best(squared: FloatArray, groups: IntArray, weights: FloatArray) -> int:
    """The plan whose gain exceeds its uncertainty by most, 0 if there is none; see `judge`."""
    if not np.isfinite(squared[0]).all():
        with np.errstate(over="ignore"):
            return int(np.argmin(squared @ weights))
    gains = [_expected(_gain(squared[0], error, groups, weights)) for error in squared]
    certain = [mean - _CERTAIN * error if np.isfinite(mean) else -np.inf for mean, error in gains]
    certain[0] = _ROUNDING
    return int(np.argmax(certain))


def _expected(gain: tuple[float, float]) -> tuple[float, float]:
    """Of a gain on held-out rows and its standard error: the gain on new rows, and its standard deviation."""
    mean, error = gain
    return _KEPT * mean, float(np.hypot(_KEPT * error, _BETWEEN))


def _gain(without: FloatArray, errors: FloatArray, groups: IntArray, weights: FloatArray) -> tuple[float, float]:
    """Share of the RMSE that is gained, and its standard error, by the delta method over groups; NaN where that is unknown."""
    count = len(np.unique(groups))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        before, after = weights @ without, weights @ errors
        ratio = (after / before) ** 0.5 if before > 0 else np.nan
        if count < 2 or not np.isfinite(ratio):
            return (float(1 - ratio) if np.isfinite(ratio) else -np.inf), np.inf
        _, place = np.unique(groups, return_inverse=True)
        wrong = np.bincount(place.ravel(), weights * (errors / after - without / before)) if after > 0 else np.zeros(count)
        spread = float(0.5 * ratio * np.sqrt(np.square(wrong).sum() * count / (count - 1)))
    return float(1 - ratio), float(spread)


def _name(space: str, k: int) -> str:
    return f"{space}, k = {k}"

"""Find out which mixing, if any, lowers the error on rows that were not trained on.

A policy is learned on the rewards of all folds. Then it competes with simpler ways to mix, and with not mixing at all: each is
trained in every fold, and looked at on the rows that the fold holds out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixrl.estimators.candidates import EVERY_PAIR, LEARNED, LEARNED_HALF, MANY_ROWS, NO_MIXING, Mixer
from mixrl.estimators.folds import Fold, models_stream
from mixrl.estimators.models import Fit, Predict
from mixrl.mask_regression import MaskRegression
from mixrl_env import MixRLVectorEnv, ProblemConfig
from mixrl_env.data import FloatArray
from mixrl_env.streams import stream

Report = Callable[[float, str], None]
"""Is told the share of the work that is done, and in words what goes on."""
_AT_ONCE = 16
_ROUNDING = 1e-9  # share of the squared error; models of the same function differ by less
_SHARE_LEARNING = 0.5  # of the time budget
_MOST_ROWS = 1000  # of training and of validation rows behind a reward
_FIRST = (NO_MIXING, LEARNED, "both distances, k alike", LEARNED_HALF, EVERY_PAIR, "k = 4")


@dataclass(frozen=True)
class Effort:
    """How much a search does.

    Attributes:
        trainings: rewards to learn the policy from, over all folds; below 16 none is learned.
        time_budget: seconds; the search learns from fewer rewards, and tries fewer ways in fewer folds, rather than take much
            longer. None does all, so that the same seed gives the same result on any machine.
        most_pairs: up to which mixing every pair of rows is tried.
        together: with a time budget, how many ways are tried before time is looked at; not mixing is one of them.
    """

    trainings: int
    time_budget: float | None
    most_pairs: int
    together: int


@dataclass(frozen=True, eq=False)
class Found:
    """What a search has found.

    Attributes:
        policy: that was learned; None if nothing was.
        table: every way that was tried: name, rmse on held-out rows, the mean gain in squared error against no mixing and its
            standard error, and whether it was chosen.
        chosen: names of the chosen ways, the best first; only "no mixing" where the held-out rows speak for nothing else.
        members: of each chosen way what predicts, one a fold; empty if they were not kept.
    """

    policy: MaskRegression | None
    table: pd.DataFrame
    chosen: list[str]
    members: dict[str, list[Predict]]


def search(
    folds: Sequence[Fold], config: ProblemConfig, fit: Fit, effort: Effort, *, keep: bool, seed: int, report: Report
) -> Found:
    """Learn a policy, try ways to mix, and choose.

    Args:
        folds: with labels that have one unit in all of them.
        config: of the rewards.
        fit: the model that the mixing is for.
        effort: how much to do.
        keep: the models of the chosen ways.
        seed: of everything random.
        report: told how far it is.

    Raises:
        ValueError: if the predictions of every way are not finite.
    """
    deadline = _Deadline(effort.time_budget)
    policy = _learn(folds, config, effort, seed, report)
    mixers: list[Mixer] = []
    plans: list[dict[str, pd.DataFrame]] = []

    def plan(number: int) -> None:
        """Make the plans of the next fold."""
        mixers.append(Mixer(folds[number].data, config))
        plans.append(mixers[number].plans(policy, stream(seed, "plans in a fold", number)))

    plan(0)  # those of the other folds when they are needed
    ways = _in_order(list(plans[0]), len(folds[0].data.x_train), effort.most_pairs)
    together = len(ways) if effort.time_budget is None else effort.together
    errors: dict[str, list[FloatArray]] = {}
    members: dict[str, list[Predict]] = {}
    used, longest = len(folds), 0.0  # how many folds, seconds for one way in all of them
    for wave in [ways[:together], *([way] for way in ways[together:])]:
        if errors and deadline.left() < longest:
            break
        began = time.monotonic()
        for number, fold in enumerate(folds[:used]):
            fold_began = time.monotonic()
            share = (len(set(errors) - set(wave)) + len(wave) * number / used) / len(ways)
            report(0.5 + 0.5 * share, f"trying {', '.join(wave[:2])}{', ...' * (len(wave) > 2)} in fold {number + 1} of {used}")
            if number == len(mixers):
                plan(number)
            pairs = [mixers[number].pairs(plans[number][way]) for way in wave]
            fitted = fit(fold, pairs, [models_stream(seed, number) for _ in wave])
            for way, predict in zip(wave, fitted, strict=True):
                errors.setdefault(way, []).append(_errors(predict, fold))
                if keep:
                    members.setdefault(way, []).append(predict)
            if NO_MIXING in wave and deadline.left() < time.monotonic() - fold_began:
                used = number + 1  # no time for another fold, and all ways are tried in the same ones
                break
        longest = max(longest, (time.monotonic() - began) / len(wave))
    table = compare({way: _by_row(folds[:used], parts) for way, parts in errors.items()})
    chosen = list(table.loc[table["chosen"]].sort_values("rmse", kind="stable")["way"])
    report(1.0, f"chosen: {' + '.join(chosen)}")
    return Found(policy, table, chosen, {way: members[way] for way in chosen} if keep else {})


def compare(errors: dict[str, FloatArray]) -> pd.DataFrame:
    """The table of `Found`, from the squared error of every way on every held-out row, shape (n,).

    A way to mix is only taken if its gain over no mixing is above its standard error and above rounding: held-out rows that
    cannot tell the two apart speak for no mixing. Of the others all are taken that cannot be told from the best. A way with an
    error that is not finite is never taken; if no mixing is such, it has no say.

    Raises:
        ValueError: if every way has errors that are not finite.
    """
    errors = {way: np.where(np.isfinite(error), error, np.inf) for way, error in errors.items()}
    none, rows = errors[NO_MIXING], []
    with np.errstate(over="ignore", invalid="ignore"):  # inf - inf, and squares of what has nearly diverged
        for way, error in errors.items():
            gain = none - error
            rows.append((way, float(np.sqrt(error.mean())), float(gain.mean()), _standard_error(gain)))
        table = pd.DataFrame(rows, columns=["way", "rmse", "gain", "standard_error"])
        finite = np.isfinite(table["rmse"])
        if not finite.any():
            raise ValueError("the model predicts values that are not finite, whatever it is trained on")
        unmixed = table["way"] == NO_MIXING
        needed = table["standard_error"] + _ROUNDING * none.mean()
        helps = finite & ~unmixed & ((table["gain"] > needed) | ~finite[unmixed].any())
        if not helps.any():
            return table.assign(chosen=unmixed)
        best = errors[table.loc[helps].sort_values("rmse", kind="stable")["way"].iloc[0]]
        as_good = np.array(
            [error is best or (error - best).mean() <= _standard_error(error - best) for error in errors.values()]
        )
    return table.assign(chosen=helps & as_good)


class _Deadline:
    """What is left of a time budget; None leaves for ever.

    Args:
        seconds: of the budget.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = np.inf if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, below 0 after the end."""
        return float(self._end - time.monotonic())


class _TimeIsUp(Exception):  # noqa: N818  # no error
    pass


def _learn(folds: Sequence[Fold], config: ProblemConfig, effort: Effort, seed: int, report: Report) -> MaskRegression | None:
    """A policy from the rewards of all folds, of a sample of their rows where there are many; None for too few trainings."""
    deadline = _Deadline(None if effort.time_budget is None else _SHARE_LEARNING * effort.time_budget)
    used = folds[: effort.trainings // _AT_ONCE]
    if not used:
        return None
    policy = MaskRegression(seed=seed)
    for number, fold in enumerate(used):
        if number and deadline.left() <= 0:
            break
        own = _Deadline(deadline.left() / (len(used) - number))

        def told(done: int, _: object, own: _Deadline = own) -> None:
            report(0.5 * done / effort.trainings, f"{done} rewards seen")
            if own.left() <= 0:
                raise _TimeIsUp  # what was seen so far is kept

        with suppress(_TimeIsUp):
            policy.learn(_environments(fold, config), effort.trainings // len(used), told)
    return policy


def _environments(fold: Fold, config: ProblemConfig) -> MixRLVectorEnv:
    data = fold.data.first_rows(min(_MOST_ROWS, len(fold.data.x_train)), min(_MOST_ROWS, len(fold.data.x_val)))
    names = ("options", "regressor", "standardize_labels", "pretrained", "step_budget")
    settings = {name: getattr(config, name) for name in names}
    return MixRLVectorEnv(_AT_ONCE, data=data, **settings)


def _in_order(ways: Sequence[str], n_train: int, most_pairs: int) -> list[str]:
    """Those that are tried, the most promising first; of many rows only these."""
    others = [way for way in ways if way not in _FIRST] if n_train <= MANY_ROWS else []
    left_out = () if n_train * (n_train - 1) // 2 <= most_pairs else (EVERY_PAIR,)
    return [way for way in (*_FIRST, *others) if way in ways and way not in left_out]


def _errors(predict: Predict, fold: Fold) -> FloatArray:
    """Mean squared error of the targets on every held-out row, shape (n_val,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors: FloatArray = np.square(predict(fold.data.x_val) - fold.data.y_val).mean(axis=1)
    return errors


def _by_row(folds: Sequence[Fold], parts: Sequence[FloatArray]) -> FloatArray:
    """Squared errors in the order of the held-out rows; where several folds hold a row out, their mean."""
    _, row = np.unique(np.concatenate([fold.held for fold in folds]), return_inverse=True)
    mean: FloatArray = np.bincount(row, weights=np.concatenate(parts)) / np.bincount(row)
    return mean


def _standard_error(values: FloatArray) -> float:
    """Of the mean; of a single value nothing is known."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.inf

"""Find the plan, if any, that lowers the error on held-out rows.

A policy is learned from rewards in all folds. Its plans compete with simpler plans and with no mixing: a model is trained with
each plan in every fold, and its errors on the rows that the fold holds out are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mixrl.estimators.models import Fit, Fold, Pairs, Predict
from mixrl.mask_regression import MaskRegression
from mixrl_env import MixingProblem, MixRLVectorEnv, NeighborOption, ProblemConfig, RegressionData, RegressorConfig
from mixrl_env.data import FloatArray
from mixrl_env.plans import (
    BOTH_ALIKE,
    EVERY_PAIR,
    KS,
    NO_MIXING,
    best_options,
    candidate_plans,
    choose,
    sample_options,
    standard_error,
)
from mixrl_env.problem import Batch
from mixrl_env.streams import stream

LEARNED, LEARNED_HALF = "learned", "learned, upper half"
Report = Callable[[float, str], None]
"""Called with the finished share of the work, and a few words on the current step."""
_AT_ONCE = 16
_FEW_ROWS, _MANY_ROWS = 100, 5_000
_STEP_BUDGET = 300
_BLOCK = 4096  # rows whose probabilities are computed at once
_SHARE_LEARNING = 0.5  # of the time budget
_MOST_ROWS = 1000  # of training and of validation rows behind a reward
_FIRST = (NO_MIXING, LEARNED, BOTH_ALIKE, LEARNED_HALF, EVERY_PAIR, "k = 4")  # the most promising plans


def default_config(n_train: int, device: str = "auto") -> ProblemConfig:
    """Options, network and training for a table. C is 1, because the learner of the policy does not depend on it.

    Args:
        n_train: training rows.
        device: where regressors are trained.
    """
    # A neighbourhood is at most a quarter of the rows; tables of many rows need few mixed rows for each.
    most = min(max(1, n_train // 4), 16 if n_train <= _MANY_ROWS else 4)
    regressor = RegressorConfig(
        hidden_sizes=(64, 64) if n_train < _FEW_ROWS else (256, 128),
        learning_rate=1e-3,
        batch_size=32 if n_train <= _MANY_ROWS else 256,
        max_steps=10_000,
        device=device,
    )
    options = tuple(NeighborOption(space, k) for space in ("data", "label") for k in KS if k <= most)
    return ProblemConfig(options=options, regressor=regressor, pretrained=True, step_budget=_STEP_BUDGET)


class Mixer:
    """The candidate plans of a table, and the pairs of training rows that they mix.

    Args:
        data: the table.
        config: its options are those of the policy.
    """

    def __init__(self, data: RegressionData, config: ProblemConfig) -> None:
        self._problem = MixingProblem(data, replace(config, pretrained=False))

    def plans(self, policy: MaskRegression | None, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
        """Candidate plans by name, with columns row, space, k, probability (NaN unless learned).

        Args:
            policy: the learned policy, or None.
            rng: draws options.
        """
        problem, thresholds = self._problem, {}
        p = np.full((len(problem.x_train), len(problem.options)), 0.5)
        if policy is not None:
            p = self.probabilities(policy)
            thresholds = {LEARNED: 0.0, LEARNED_HALF: float(best_options(problem, p)["probability"].median())}
        plans = candidate_plans(
            problem, p, thresholds, lambda probabilities: [sample_options(problem, probabilities, rng)], every_pair=True
        )
        return {name: plan if name in thresholds else plan.assign(probability=np.nan) for name, [plan] in plans.items()}

    def probabilities(self, policy: MaskRegression) -> FloatArray:
        """Of every row and option, shape (n_train, |N|)."""
        problem, blocks = self._problem, []
        every, size = problem.every_row_and_option(), len(problem.options)
        for first in range(0, len(every.rows), _BLOCK):
            batch = Batch(every.rows[first : first + _BLOCK], every.options[first : first + _BLOCK])
            blocks.append(policy.probabilities(problem.observe(batch)))
        return np.concatenate(blocks).reshape(-1, size)

    def pairs(self, plan: pd.DataFrame) -> Pairs:
        """The pairs of training rows that a plan mixes; both (i, j) and (j, i) may occur."""
        if (plan["space"] == "all").any():
            i, j = np.triu_indices(len(self._problem.x_train), 1)
            return i, j
        option = np.zeros(len(plan), dtype=np.int64)
        for index, (space, k) in enumerate(self._problem.options):
            option[((plan["space"] == space) & (plan["k"] == k)).to_numpy()] = index
        return self._problem.neighbors.pairs(plan["row"].to_numpy(dtype=np.int64), option)


@dataclass(frozen=True)
class Effort:
    """Limits of a search.

    Attributes:
        trainings: rewards to learn the policy from, over all folds; below 16 none is learned.
        time_budget: seconds, roughly: with little time, the search uses fewer rewards, plans and folds. None has no limit,
            and the same seed then gives the same result on any machine.
        most_pairs: every pair of rows is a candidate up to this number of pairs.
        together: with a time budget, how many plans are tried before the first look at the clock, no mixing included.
    """

    trainings: int
    time_budget: float | None
    most_pairs: int
    together: int


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a search.

    Attributes:
        policy: the learned policy, or None.
        table: one row a candidate plan: name (column way), rmse on held-out rows, mean gain in squared error over no mixing,
            the gain's standard error, and whether the plan was chosen.
        chosen: names of the chosen plans, the best first.
        members: the fitted models of each chosen plan, one a fold; empty if they were not kept.
    """

    policy: MaskRegression | None
    table: pd.DataFrame
    chosen: list[str]
    members: dict[str, list[Predict]]


def search(
    folds: Sequence[Fold], config: ProblemConfig, fit: Fit, effort: Effort, *, keep: bool, seed: int, report: Report
) -> Found:
    """Learn a policy, try the candidate plans, and choose.

    Args:
        folds: with labels in the same unit.
        config: of the rewards.
        fit: the model that rows are mixed for.
        effort: limits.
        keep: whether to keep the models of the chosen plans.
        seed: of everything random.
        report: called with the progress.

    Raises:
        ValueError: if the predictions with every plan are not finite.
    """
    end = np.inf if effort.time_budget is None else time.monotonic() + effort.time_budget
    policy = _learn(folds, config, effort, seed, report)
    mixers: list[Mixer] = []
    plans: list[dict[str, pd.DataFrame]] = []

    def add_plans(number: int) -> None:
        mixers.append(Mixer(folds[number].data, config))
        plans.append(mixers[number].plans(policy, stream(seed, "plans in a fold", number)))

    add_plans(0)  # plans of the other folds are made when they are needed
    ways = _in_order(list(plans[0]), len(folds[0].data.x_train), effort.most_pairs)
    together = len(ways) if effort.time_budget is None else effort.together
    errors: dict[str, list[FloatArray]] = {}
    members: dict[str, list[Predict]] = {}
    used, longest = len(folds), 0.0  # number of folds; seconds for one plan in all of them
    for wave in [ways[:together], *([way] for way in ways[together:])]:
        if errors and end - time.monotonic() < longest:
            break
        began = time.monotonic()
        for number, fold in enumerate(folds[:used]):
            fold_began = time.monotonic()
            share = (len(set(errors) - set(wave)) + len(wave) * number / used) / len(ways)
            report(0.5 + 0.5 * share, f"trying {', '.join(wave[:2])}{', ...' * (len(wave) > 2)} in fold {number + 1} of {used}")
            if number == len(mixers):
                add_plans(number)
            pairs = [mixers[number].pairs(plans[number][way]) for way in wave]
            fitted = fit(fold, pairs, [models_stream(seed, number) for _ in wave])
            for way, predict in zip(wave, fitted, strict=True):
                errors.setdefault(way, []).append(_errors(predict, fold))
                if keep:
                    members.setdefault(way, []).append(predict)
            if NO_MIXING in wave and end - time.monotonic() < time.monotonic() - fold_began:
                used = number + 1  # no time for another fold, and all plans are tried in the same folds
                break
        longest = max(longest, (time.monotonic() - began) / len(wave))
    table = compare({way: _by_row(folds[:used], parts) for way, parts in errors.items()})
    chosen = list(table.loc[table["chosen"]].sort_values("rmse", kind="stable")["way"])
    report(1.0, f"chosen: {' + '.join(chosen)}")
    return Found(policy, table, chosen, {way: members[way] for way in chosen} if keep else {})


def compare(errors: dict[str, FloatArray]) -> pd.DataFrame:
    """The table of `Found`, from the squared errors of each plan on the held-out rows, shape (n,), no mixing first.

    The rule is "beats_no_mixing" of `mixrl_env.plans.choose`.

    Raises:
        ValueError: if the errors of every plan are not finite.
    """
    squared = np.stack([np.where(np.isfinite(error), error, np.inf) for error in errors.values()])
    with np.errstate(over="ignore", invalid="ignore"):
        rmse, gain = np.sqrt(squared.mean(axis=1)), squared[0] - squared
        table = {"way": list(errors), "rmse": rmse, "gain": gain.mean(axis=1), "standard_error": standard_error(gain)}
    if not np.isfinite(rmse).any():
        raise ValueError("the model's predictions are not finite with any plan, nor without mixing")
    return pd.DataFrame(table).assign(chosen=np.isin(np.arange(len(squared)), choose(squared, "beats_no_mixing")))


def models_stream(seed: int, number: int) -> np.random.Generator:
    """The generator of initial weights and minibatches in a fold, the same for every plan."""
    return stream(seed, "models in a fold", number)


class _TimeIsUp(Exception):  # noqa: N818  # not an error
    pass


def _learn(folds: Sequence[Fold], config: ProblemConfig, effort: Effort, seed: int, report: Report) -> MaskRegression | None:
    """A policy from rewards in all folds, on a sample of the rows of large tables; None for too few trainings."""
    end = np.inf if effort.time_budget is None else time.monotonic() + _SHARE_LEARNING * effort.time_budget
    used = folds[: effort.trainings // _AT_ONCE]
    if not used:
        return None
    policy = MaskRegression(seed=seed)
    for number, fold in enumerate(used):
        if number and end <= time.monotonic():
            break
        fold_end = time.monotonic()
        fold_end += (end - fold_end) / (len(used) - number)

        def callback(done: int, _: object, fold_end: float = fold_end) -> None:
            report(0.5 * done / effort.trainings, f"{done} rewards seen")
            if fold_end <= time.monotonic():
                raise _TimeIsUp  # what was learned until now is kept

        with suppress(_TimeIsUp):
            policy.learn(_environments(fold, config), effort.trainings // len(used), callback)
    return policy


def _environments(fold: Fold, config: ProblemConfig) -> MixRLVectorEnv:
    data = fold.data.first_rows(min(_MOST_ROWS, len(fold.data.x_train)), min(_MOST_ROWS, len(fold.data.x_val)))
    return MixRLVectorEnv(_AT_ONCE, data=data, **vars(config))


def _in_order(ways: Sequence[str], n_train: int, most_pairs: int) -> list[str]:
    """The plans to try, the most promising first; for tables of many rows only the most promising."""
    others = [way for way in ways if way not in _FIRST] if n_train <= _MANY_ROWS else []
    left_out = () if n_train * (n_train - 1) // 2 <= most_pairs else (EVERY_PAIR,)
    return [way for way in (*_FIRST, *others) if way in ways and way not in left_out]


def _errors(predict: Predict, fold: Fold) -> FloatArray:
    """Squared error on every held-out row, mean over targets, shape (n_val,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors: FloatArray = np.square(predict(fold.data.x_val) - fold.data.y_val).mean(axis=1)
    return errors


def _by_row(folds: Sequence[Fold], parts: Sequence[FloatArray]) -> FloatArray:
    """Squared errors in the order of the held-out rows; the mean of several folds that hold out the same row."""
    _, row = np.unique(np.concatenate([fold.held for fold in folds]), return_inverse=True)
    mean: FloatArray = np.bincount(row, weights=np.concatenate(parts)) / np.bincount(row)
    return mean

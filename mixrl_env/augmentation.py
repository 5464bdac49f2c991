"""From learned probabilities to the augmented training set (end of Sec. 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from mixrl_env.data import FloatArray, IntArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.problem import MixingProblem
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

Rule = Literal["lowest", "one_standard_error", "average"]
"""How `choose_sets` chooses."""

_SMALLEST = 1e-12  # keeps odds finite


def best_options(problem: MixingProblem, probabilities: FloatArray) -> pd.DataFrame:
    """For every training row its most probable option in each space: at most one data and one label option a row.

    Args:
        problem: whose training rows and options are meant.
        probabilities: h_theta(x, y, k) of every row and option, shape (n_train, |N|).

    Returns:
        A table with columns row, space, k, probability, ordered by row. On a tie the option listed first wins.

    Raises:
        ValueError: if the shape does not fit the problem, or a probability is NaN or not within [0, 1].
    """
    options = problem.options
    expected = (len(problem.x_train), len(options))
    if probabilities.shape != expected:
        raise ValueError(f"probabilities must have shape (n_train, |N|) = {expected}, got {probabilities.shape}")
    bad = probabilities[~((probabilities >= 0) & (probabilities <= 1))]
    if len(bad):
        raise ValueError(f"probabilities must lie in [0, 1], got {bad[0]}")
    tables = []
    for space in dict.fromkeys(option.space for option in options):
        members = np.array([index for index, option in enumerate(options) if option.space == space])
        best = members[np.argmax(probabilities[:, members], axis=1)]
        rows = np.arange(len(best))
        k = [options[index].k for index in best]
        tables.append(pd.DataFrame({"row": rows, "space": space, "k": k, "probability": probabilities[rows, best]}))
    return pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)


def sample_options(problem: MixingProblem, probabilities: FloatArray, rng: np.random.Generator) -> pd.DataFrame:
    """For every training row one option in each space, drawn from the policy given that it selects exactly one there.

    The policy selects every option independently with its probability p, so the option is drawn in proportion to p / (1 - p).

    Args:
        problem: whose training rows and options are meant.
        probabilities: h_theta(x, y, k) of every row and option, shape (n_train, |N|).
        rng: draws the options.

    Returns:
        A table as from `best_options`; probability is still that of the row's most probable option in the space, so that a
        threshold keeps the same rows.

    Raises:
        ValueError: if the shape does not fit the problem, or a probability is NaN or not within [0, 1].
    """
    plan = best_options(problem, probabilities)
    p = probabilities.clip(_SMALLEST, 1 - _SMALLEST)
    odds = p / (1 - p)
    ks = np.array([option.k for option in problem.options])
    for space in plan["space"].unique():
        members = np.array([index for index, option in enumerate(problem.options) if option.space == space])
        up_to = odds[:, members].cumsum(axis=1)
        drawn = (up_to < rng.random(len(up_to))[:, None] * up_to[:, -1:]).sum(axis=1)
        plan.loc[plan["space"] == space, "k"] = ks[members[drawn]]
    return plan


def augment(problem: MixingProblem, plan: pd.DataFrame, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The training rows and, behind them, the mixed rows of a plan; mixed rows that occur twice are dropped.

    Args:
        problem: neighbours, lambda and training rows.
        plan: rows to mix, with columns row, space and k, each (space, k) an option of the problem.
        rng: for lambda, where it is drawn.

    Returns:
        Standardised features (n, d) and labels (n, e) in their own units.

    Raises:
        ValueError: if the plan lacks a column, or names a row or an option that the problem has not.
    """
    index_of = {option: index for index, option in enumerate(problem.options)}
    if missing := [name for name in ("row", "space", "k") if name not in plan]:
        raise ValueError(f"the plan lacks the columns {', '.join(missing)}")
    for row, space, k in zip(plan["row"], plan["space"], plan["k"], strict=True):
        if row not in range(len(problem.x_train)):
            raise ValueError(f"the plan mixes row {row}, but training rows are numbered from 0 to {len(problem.x_train) - 1}")
        if (space, k) not in index_of:
            raise ValueError(f"the plan names the option ({space!r}, {k}), which the problem has not")
    chosen = [index_of[NeighborOption(space, k)] for space, k in zip(plan["space"], plan["k"], strict=True)]
    rows = plan["row"].to_numpy(dtype=np.int64)
    x_mixed, y_mixed = problem.mix(rows, np.array(chosen, dtype=np.int64), rng)
    return with_mixed_rows(problem.x_train, problem.data.y_train, x_mixed, y_mixed)


def with_mixed_rows(x: FloatArray, y: FloatArray, x_mixed: FloatArray, y_mixed: FloatArray) -> TrainingSet:
    """Features and labels of rows with the mixed ones behind them; of mixed rows that are equal the first."""
    first = _first_of_equal(np.concatenate([x_mixed, y_mixed], axis=1))
    return np.concatenate([x, x_mixed[first]]), np.concatenate([y, y_mixed[first]])


def _first_of_equal(rows: FloatArray) -> IntArray:
    """Indices of the rows that equal none before them, in order."""
    first: dict[bytes, int] = {}  # sorting rows of hundreds of columns, as np.unique does, takes five times as long
    for index, row in enumerate(rows + 0.0):  # -0.0 becomes 0.0, which it equals
        first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), index)
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))


@dataclass(frozen=True, eq=False)
class PlanChoice:
    """The candidates that the validation rows speak for.

    Attributes:
        kept: indices of the chosen candidates; one of them unless the rule is "average".
        sets: augmented training sets: the first of each kept candidate, then the second of each, and so on.
        val_rmse: validation RMSE of every candidate and repeat, shape (number of candidates, repeats), label units.
        num_rows: mean rows of every candidate's augmented sets.
        trainings: regressors trained to choose.
    """

    kept: list[int]
    sets: list[TrainingSet]
    val_rmse: FloatArray
    num_rows: list[float]
    trainings: int


def choose_plan(
    problem: MixingProblem,
    candidates: Sequence[Sequence[pd.DataFrame]],
    repeats: int,
    seed: int,
    rule: Rule = "lowest",
) -> PlanChoice:
    """The augmented sets of the plans that the validation rows speak for; see `choose_sets`.

    Args:
        problem: data, neighbours and regressor.
        candidates: each a list of plans as from `best_options` or `sample_options`.
        repeats: trainings a candidate.
        seed: of lambda, where it is drawn, and of the trainings.
        rule: as there.
    """
    sets = [[augment(problem, plan, stream(seed, "plan", p)) for p, plan in enumerate(plans)] for plans in candidates]
    return choose_sets(problem, sets, repeats, seed, rule)


def choose_sets(
    problem: MixingProblem,
    candidates: Sequence[Sequence[TrainingSet]],
    repeats: int,
    seed: int,
    rule: Rule = "lowest",
) -> PlanChoice:
    """Train regressors from scratch to the early stop on every candidate's sets, and choose one candidate.

    Repeat r uses the same random numbers for every candidate, so that they are compared on equal terms.

    Args:
        problem: validation rows and regressor.
        candidates: each a list of training sets; repeat r trains on set r modulo their number.
        repeats: trainings a candidate.
        seed: of the trainings.
        rule: "lowest": the lowest mean validation loss wins, of equal ones the first. "one_standard_error": the first
            candidate whose regressors, averaged, do not have a higher validation loss than the best averaged ones by more
            than one standard error of the difference over the validation rows; list the simplest candidate first. "average":
            all such candidates, the best first, because the validation rows cannot tell between them.

    Raises:
        ValueError: for another rule, or where there is nothing to choose from.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}")
    if not candidates or not all(candidates) or repeats < 1:
        raise ValueError("there must be a candidate or more, each with a set or more, and a training or more of each")
    jobs = [sets[repeat % len(sets)] for sets in candidates for repeat in range(repeats)]
    rngs = [stream(seed, "choice", repeat) for _ in candidates for repeat in range(repeats)]
    y_val = problem.data.y_val
    fitted = problem.fit(jobs, rngs)
    # A diverged training never wins.
    val_loss = np.where(fitted.diverged, np.inf, fitted.val_loss).reshape(len(candidates), repeats)
    kept = [int(np.argmin(val_loss.mean(axis=1)))]
    if rule != "lowest" and len(y_val) > 1:
        averaged = fitted.predict(problem.x_val).reshape(len(candidates), repeats, *y_val.shape).mean(axis=1)
        errors = np.square(averaged - y_val).mean(axis=2)  # (candidates, n_val)
        errors[~np.isfinite(val_loss).all(axis=1)] = np.inf
        kept = within_one_standard_error(errors)
        kept = kept[:1] if rule == "one_standard_error" else sorted(kept, key=lambda index: float(errors[index].mean()))
    most = max(len(candidates[index]) for index in kept)
    dealt = [candidates[index][one % len(candidates[index])] for one in range(most) for index in kept]
    num_rows = [float(np.mean([len(x) for x, _ in sets])) for sets in candidates]
    return PlanChoice(kept, dealt, np.sqrt(val_loss), num_rows, len(jobs))


def within_one_standard_error(errors: FloatArray) -> list[int]:
    """The candidates that the validation rows cannot tell from the best one.

    Args:
        errors: squared error of every candidate on every validation row, shape (candidates, n_val), n_val >= 2. A candidate
            with infinite errors is never among them.

    Returns:
        Indices of those whose mean error exceeds the lowest mean by at most one standard error of the paired difference, in
        their order; the first if all are infinite.
    """
    best = int(np.argmin(errors.mean(axis=1)))
    if not np.isfinite(errors[best]).all():
        return [best]
    finite = [index for index, error in enumerate(errors) if np.isfinite(error).all()]
    worse = {index: errors[index] - errors[best] for index in finite}
    return [index for index in finite if worse[index].mean() <= worse[index].std(ddof=1) / errors.shape[1] ** 0.5]


def threshold_candidates(probabilities: pd.Series, count: int = 10) -> list[float]:
    """Thresholds T that keep all, about nine tenths, ..., one tenth of a plan, and one above 1 that keeps nothing.

    Args:
        probabilities: of the rows of a plan.
        count: how many steps from everything to nothing.
    """
    if not len(probabilities):
        return [1.1]
    quantiles = np.quantile(probabilities, np.arange(count) / count, method="inverted_cdf")
    return [*dict.fromkeys(float(q) for q in quantiles), 1.1]

"""Plans, that is which rows to mix with how many neighbours: candidates, the choice among them, augmented sets (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.problem import Batch, MixingProblem
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream

Rule = Literal["lowest", "average"]
"""How `choose` chooses."""
NO_MIXING, EVERY_PAIR, BOTH_ALIKE = "no mixing", "every pair", "both distances, k alike"
KS = (1, 2, 4, 8, 16)
"""The k of the candidate plans with one k for all rows."""

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
    for space, members in problem.neighbors.by_space.items():
        best = members[np.argmax(probabilities[:, members], axis=1)]
        rows = np.arange(len(best))
        k = [options[index].k for index in best]
        tables.append(pd.DataFrame({"row": rows, "space": space, "k": k, "probability": probabilities[rows, best]}))
    return pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)


def options_above(problem: MixingProblem, scores: FloatArray, least: float) -> Batch:
    """For every training row its option of highest score in each space, where that is above a threshold.

    Args:
        problem: whose training rows and options are meant.
        scores: of every row and option, shape (n_train, |N|). On a tie the option listed first wins.
        least: the threshold.
    """
    every = np.arange(len(scores))
    best = [members[scores[:, members].argmax(axis=1)] for members in problem.neighbors.by_space.values()]
    rows, options = np.tile(every, len(best)), np.concatenate(best)
    above = scores[rows, options] > least
    return Batch(rows[above], options[above])


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
    for space, members in problem.neighbors.by_space.items():
        up_to = odds[:, members].cumsum(axis=1)
        drawn = (up_to < rng.random(len(up_to))[:, None] * up_to[:, -1:]).sum(axis=1)
        plan.loc[plan["space"] == space, "k"] = ks[members[drawn]]
    return plan


def apply_plan(problem: MixingProblem, plan: pd.DataFrame, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The training rows and, behind them, the mixed rows of a plan; mixed rows that occur twice are dropped.

    Args:
        problem: neighbours, lambda and training rows.
        plan: rows to mix, with columns row, space and k, each (space, k) an option of the problem.
        rng: for lambda, where it is drawn.

    Returns:
        Standardised features (n, d) and labels (n, e) in their own units.

    Raises:
        ValueError: if the plan lacks a column, or names an unknown row or option.
    """
    index_of = {option: index for index, option in enumerate(problem.options)}
    if missing := [name for name in ("row", "space", "k") if name not in plan]:
        raise ValueError(f"the plan lacks the columns {', '.join(missing)}")
    for row, space, k in zip(plan["row"], plan["space"], plan["k"], strict=True):
        if row not in range(len(problem.x_train)):
            raise ValueError(f"the plan mixes row {row}, but training rows are numbered from 0 to {len(problem.x_train) - 1}")
        if (space, k) not in index_of:
            raise ValueError(f"the plan names the unknown option ({space!r}, {k})")
    chosen = [index_of[NeighborOption(space, k)] for space, k in zip(plan["space"], plan["k"], strict=True)]
    rows = plan["row"].to_numpy(dtype=np.int64)
    return problem.augmented(Batch(rows, np.array(chosen, dtype=np.int64)), rng)


def plan_table(problem: MixingProblem, plan: Batch) -> pd.DataFrame:
    """Row, space and k of a plan."""
    options = [problem.options[option] for option in plan.options]
    return pd.DataFrame({"row": plan.rows, "space": [one.space for one in options], "k": [one.k for one in options]})


def candidate_plans(
    problem: MixingProblem,
    probabilities: FloatArray,
    thresholds: Mapping[str, float],
    draw: Callable[[FloatArray], list[pd.DataFrame]] | None,
    *,
    every_pair: bool,
) -> dict[str, list[pd.DataFrame]]:
    """The candidate plans by name, the simplest first.

    "no mixing"; "every pair"; "k = 4": one k of `KS` for all rows in both distances, as in Global kNN; "data distance, k
    alike": options drawn with equal probabilities; then what was learned, above each threshold.

    Args:
        problem: whose training rows and options are meant.
        probabilities: h_theta(x, y, k) of every row and option, shape (n_train, |N|).
        thresholds: the threshold T of each learned plan, by the name of the plan; empty if nothing was learned.
        draw: draws plans from probabilities, with `sample_options`; called for equal probabilities, then for the learned ones.
            None takes the most probable options, and lists no plan that is drawn with equal probabilities.
        every_pair: whether to list mixing every row with every other.

    Returns:
        The plans of each candidate: one, or as many as `draw` returns. Their probability is as from `best_options`.
    """
    best = best_options(problem, probabilities)
    plans = {NO_MIXING: [best.iloc[:0]]}
    if every_pair:
        rows = np.arange(len(probabilities))
        plans[EVERY_PAIR] = [pd.DataFrame({"row": rows, "space": "all", "k": 0, "probability": 1.0})]
    for k in KS:
        if {NeighborOption("data", k), NeighborOption("label", k)} <= set(problem.options):
            plans[f"k = {k}"] = [best[best["space"] != "all"].assign(k=k)]
    if draw is not None:
        alike = draw(np.full_like(probabilities, 0.5))
        if {"data", "label"} <= set(best["space"]):
            for space in ("data", "label"):
                plans[f"{space} distance, k alike"] = [plan[plan["space"] == space] for plan in alike]
        plans[BOTH_ALIKE] = alike
    if thresholds:
        learned = [best] if draw is None else draw(probabilities)
        plans |= {name: [plan[plan["probability"] >= least] for plan in learned] for name, least in thresholds.items()}
    return plans


def choose(errors: FloatArray, rule: Rule) -> list[int]:
    """The candidates that squared errors on validation rows speak for.

    Args:
        errors: squared error of every candidate on every validation row, shape (candidates, n_val). A candidate whose mean
            error is not finite is not chosen.
        rule: "lowest": the candidate with the lowest mean error, of equal ones the first. "average": all candidates whose mean
            error exceeds the lowest by at most one standard error of the paired difference.

    Returns:
        Indices, the lowest mean error first; [0] if all are infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # inf - inf, and squares of predictions that have nearly diverged
        mean = errors.mean(axis=1)
        mean[~np.isfinite(mean)] = np.inf
        best = int(np.argmin(mean))
        if rule == "lowest" or not np.isfinite(mean[best]):
            return [best]
        worse = errors - errors[best]
        kept = np.flatnonzero(np.isfinite(mean) & (worse.mean(axis=1) <= standard_error(worse)))
    return [int(index) for index in sorted({best, *kept}, key=lambda index: float(mean[index]))]


def standard_error(values: FloatArray) -> FloatArray:
    """The standard error of the mean of each row of values, shape (n, n_val); infinite for a single value."""
    count = values.shape[1]
    error: FloatArray = values.std(axis=1, ddof=1) / count**0.5 if count > 1 else np.full(len(values), np.inf)
    return error


@dataclass(frozen=True, eq=False)
class PlanChoice:
    """The candidates chosen on the validation rows.

    Attributes:
        kept: indices of the chosen candidates; one unless the rule is "average".
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
    """Apply the plans of every candidate, and choose among the training sets; see `choose_sets`.

    Args:
        problem: data, neighbours and regressor.
        candidates: each a list of plans, such as the values of `candidate_plans`.
        repeats: trainings a candidate.
        seed: of lambda, where it is drawn, and of the trainings.
        rule: as in `choose_sets`.
    """
    sets = [[apply_plan(problem, plan, stream(seed, "plan", p)) for p, plan in enumerate(plans)] for plans in candidates]
    return choose_sets(problem, sets, repeats, seed, rule)


def choose_sets(
    problem: MixingProblem,
    candidates: Sequence[Sequence[TrainingSet]],
    repeats: int,
    seed: int,
    rule: Rule = "lowest",
) -> PlanChoice:
    """Train regressors from scratch to the early stop on every candidate's sets, and choose.

    Repeat r uses the same random numbers for every candidate, so that they are compared on equal terms.

    Args:
        problem: validation rows and regressor.
        candidates: each a list of training sets; repeat r trains on set r modulo their number.
        repeats: trainings a candidate.
        seed: of the trainings.
        rule: see `choose`. "lowest" compares mean validation losses; the other rules compare the errors of each candidate's
            averaged regressors, if there are at least two validation rows.

    Raises:
        ValueError: for another rule, or where there is nothing to choose from.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}")
    if not candidates or not all(candidates) or repeats < 1:
        raise ValueError("at least one candidate, one set of each and one repeat are required")
    jobs = [sets[repeat % len(sets)] for sets in candidates for repeat in range(repeats)]
    rngs = [stream(seed, "choice", repeat) for _ in candidates for repeat in range(repeats)]
    y_val = problem.data.y_val
    fitted = problem.fit(jobs, rngs)
    # A diverged training never wins.
    val_loss = np.where(fitted.diverged, np.inf, fitted.val_loss).reshape(len(candidates), repeats)
    if rule == "lowest" or len(y_val) == 1:
        kept = choose(val_loss, "lowest")
    else:
        averaged = fitted.predict(problem.x_val).reshape(len(candidates), repeats, *y_val.shape).mean(axis=1)
        errors = np.square(averaged - y_val).mean(axis=2)  # (candidates, n_val)
        errors[~np.isfinite(val_loss).all(axis=1)] = np.inf
        kept = choose(errors, rule)
    most = max(len(candidates[index]) for index in kept)
    dealt = [candidates[index][one % len(candidates[index])] for one in range(most) for index in kept]
    num_rows = [float(np.mean([len(x) for x, _ in sets])) for sets in candidates]
    return PlanChoice(kept, dealt, np.sqrt(val_loss), num_rows, len(jobs))


def threshold_candidates(probabilities: pd.Series, count: int = 10) -> list[float]:
    """Thresholds T that keep all, about nine tenths, ..., one tenth of a plan; and 1.1, which keeps nothing.

    Args:
        probabilities: of the rows of a plan.
        count: steps from everything to nothing.
    """
    if not len(probabilities):
        return [1.1]
    quantiles = np.quantile(probabilities, np.arange(count) / count, method="inverted_cdf")
    return [*dict.fromkeys(float(q) for q in quantiles), 1.1]

"""From learned probabilities to the augmented training set (end of Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixrl_env.data import FloatArray
from mixrl_env.neighbors import NeighborOption
from mixrl_env.problem import MixingProblem
from mixrl_env.regressor import fit_regressors

_STREAM = 0  # keeps the random numbers of a choice apart from those of whatever else is trained with the same seed


def best_options(problem: MixingProblem, probabilities: FloatArray) -> pd.DataFrame:
    """For every training row its most probable option in each space: at most one data and one label option a row.

    Args:
        problem: whose training rows and options are meant.
        probabilities: h_theta(x, y, k) of every row and option, shape (n_train, |N|).

    Returns:
        A table with columns row, space, k, probability, ordered by row. On a tie the option listed first wins.

    Raises:
        ValueError: if the shape does not fit the problem.
    """
    options = problem.options
    expected = (len(problem.x_train), len(options))
    if probabilities.shape != expected:
        raise ValueError(f"probabilities must have shape (n_train, |N|) = {expected}, got {probabilities.shape}")
    tables = []
    for space in dict.fromkeys(option.space for option in options):
        members = np.array([index for index, option in enumerate(options) if option.space == space])
        best = members[np.argmax(probabilities[:, members], axis=1)]
        rows = np.arange(len(best))
        k = [options[index].k for index in best]
        tables.append(pd.DataFrame({"row": rows, "space": space, "k": k, "probability": probabilities[rows, best]}))
    return pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)


def augment(problem: MixingProblem, plan: pd.DataFrame, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The training rows and, behind them, the mixed rows of a plan; mixed rows that occur twice are dropped.

    Args:
        problem: neighbours, lambda and training rows.
        plan: rows to mix, with columns row, space and k, each (space, k) an option of the problem.
        rng: for lambda, where it is drawn.

    Returns:
        Standardised features (n, d) and labels (n, e) in their own units.
    """
    index_of = {option: index for index, option in enumerate(problem.options)}
    chosen = [index_of[NeighborOption(space, k)] for space, k in zip(plan["space"], plan["k"], strict=True)]
    rows = plan["row"].to_numpy(dtype=np.int64)
    x_mixed, y_mixed = problem.mix(rows, np.array(chosen, dtype=np.int64), rng)
    first = np.sort(np.unique(np.concatenate([x_mixed, y_mixed], axis=1), axis=0, return_index=True)[1])
    x = np.concatenate([problem.x_train, x_mixed[first]])
    return x, np.concatenate([problem.data.y_train, y_mixed[first]])


@dataclass(frozen=True, eq=False)
class PlanChoice:
    """The plan that did best on the validation rows.

    Attributes:
        best: index of the chosen plan.
        x, y: its augmented training set: standardised features (n, d), labels (n, e).
        val_rmse: validation RMSE of every plan and repeat, shape (number of plans, repeats), label units.
        num_rows: rows of every plan's augmented set.
        trainings: regressors trained to choose.
    """

    best: int
    x: FloatArray
    y: FloatArray
    val_rmse: FloatArray
    num_rows: list[int]
    trainings: int


def choose_plan(problem: MixingProblem, plans: list[pd.DataFrame], repeats: int, seed: int) -> PlanChoice:
    """Train regressors from scratch to the early stop on every plan's augmented set; the lowest mean validation loss wins.

    Repeat r uses the same random numbers for every plan, so that plans are compared on equal terms; of equal plans the first
    one wins.

    Args:
        problem: data, neighbours and regressor.
        plans: tables as from `best_options`.
        repeats: trainings a plan.
        seed: of the trainings.
    """
    sets = [augment(problem, plan, np.random.default_rng(seed)) for plan in plans]
    jobs = [rows for rows in sets for _ in range(repeats)]
    rngs = [np.random.default_rng([_STREAM, seed, repeat]) for _ in sets for repeat in range(repeats)]
    fitted = fit_regressors(jobs, problem.x_val, problem.data.y_val, problem.config.regressor, rngs)
    # A diverged training never wins.
    val_loss = np.where(fitted.diverged, np.inf, fitted.val_loss).reshape(len(plans), repeats)
    best = int(np.argmin(val_loss.mean(axis=1)))
    return PlanChoice(best, *sets[best], np.sqrt(val_loss), [len(x) for x, _ in sets], len(jobs))


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

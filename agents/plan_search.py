"""Plan search: evolution of a policy with few parameters whose actions are whole plans (ours, not the paper's).

The policy scores every option of a row with a linear function of its features (`mixrl_env.features`), one function for each
kind of distance; a row takes the option with the highest score in each distance, if that is above 0. CMA-ES searches the
parameters by the losses of the plans that they give; validation rows count by how well their labels can be known. It is
REINFORCE in parameter space: the update of the mean is a natural policy gradient of the expected reward with respect to the
distribution of the parameters, and no plan is sampled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from cmaes import CMA
from scipy.special import expit

from mixrl.credit_regression import CreditRegression
from mixrl.training import (
    AnyEnv,
    Envs,
    FloatArray,
    Learner,
    ProgressCallback,
    Rows,
    Run,
    check_rows,
    env_metrics,
    problem_of,
    step_once,
)
from mixrl_env import MixingProblem, NeighborOption
from mixrl_env.checks import check_types
from mixrl_env.features import CENTRE, FEATURES, SPACE_CODES, SPREAD
from mixrl_env.many_tables import policy_problem
from mixrl_env.neighbors import SPACES
from mixrl_env.streams import stream

_SPACE, _LOG_K = FEATURES.index("label_space"), FEATURES.index("log_k")
_COLUMNS = [column for column in range(len(FEATURES)) if column != _SPACE]
NUM_WEIGHTS = len(_COLUMNS) + 2
"""Parameters of one scoring function: a constant, the features but the space, and the square of log k."""
_DRAWS, _PENALTY = 200, 1e-3  # of likely policies, and on their squared parameters
_SHARP, _NEVER, _ALWAYS = 1.0, -1.0, 0.5  # of the policy of a single option: how its score falls off around its k


@dataclass(frozen=True)
class PlanSearchConfig:
    """Settings of `PlanSearch`.

    Attributes:
        population: plans of a generation, rounded up to whole steps of the vector.
        sigma: first standard deviation of every parameter.
        repeats: rewards of each single option that the search may start from.
        prior: begin with what the policy for all tables that ships (`mixrl.CreditRegression`) takes for likely on this table,
            mean and covariance, instead of with the best single option; sigma is then a factor of that spread.

    Raises:
        ValueError: for a value out of its range.
    """

    population: int = 16
    sigma: float = 0.5
    repeats: int = 2
    prior: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.population < 4 or self.repeats < 1 or not 0 < self.sigma < np.inf:
            raise ValueError(
                "population must be at least 4, repeats at least 1 and sigma positive, got "
                f"{self.population}, {self.repeats}, {self.sigma}"
            )


class PlanSearch(Learner[PlanSearchConfig]):
    """CMA-ES in the parameters of a linear scoring function, from the best single option for all rows on.

    It needs environments with `observe=("features",)`, `action="plan"` and `detailed_info=True`. All plans of a generation are
    trained with the same random numbers. The score of a plan is minus its mean loss over the validation rows, weighted by
    `mixrl_env.MixingProblem.val_weights`.

    Attributes:
        theta: parameters of the policy, shape (3, NUM_WEIGHTS): for data distance, label distance and every other row; None
            before `learn`.
        singles: mean score of every single option that was tried, by its name, "no mixing" first; with a prior none is.
    """

    config_type = PlanSearchConfig
    theta: FloatArray | None = None
    singles: dict[str, float]

    def learn(self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None) -> Self:
        """Search with at most num_trainings rewards; see `mixrl.training.Agent`.

        Raises:
            ValueError: if the budget is below the single options and one generation, or the environments are others.
        """
        config, problem = self.config, problem_of(envs)
        m, singles = getattr(envs, "num_envs", 1), {} if config.prior else single_options(problem)
        at_first = config.repeats * -(-len(singles) // m) * m
        a_generation = -(-config.population // m) * m
        envs, (rows, *_) = self._reset(envs, num_trainings, at_first + a_generation, plans=True)
        if rows.shape[-1] != len(FEATURES) or not problem.config.detailed_info:
            raise ValueError('PlanSearch needs environments made with observe=("features",) and detailed_info=True')
        weights = problem.val_weights / problem.val_weights.sum()
        used, covariance = [index for index, space in enumerate(SPACES) if space in problem.neighbors.by_space], None
        if config.prior:
            start, covariance = likely_policies(problem, rows, used, stream(self.seed, "prior of plan search"))
        else:
            scores = np.zeros(len(singles))
            for repeat in range(config.repeats):
                plans = [plan_of(problem, theta, rows) for theta in singles.values()]
                scores += self._scores(envs, plans, repeat, weights)[0] / config.repeats
            self.singles = dict(zip(singles, scores.tolist(), strict=True))
            start = [*singles.values()][int(scores.argmax())][used].ravel()
        search = CMA(
            start,
            config.sigma,
            population_size=config.population,
            seed=int(stream(self.seed, "plan search").integers(2**31)),
            cov=covariance,
        )
        self.trainings = at_first
        run = Run(self, envs, num_trainings - at_first, callback, None, a_generation)
        while run.left:
            asked = [search.ask() for _ in range(config.population)]
            thetas = [_placed(values, used) for values in asked]
            plans = [plan_of(problem, own, rows) for own in thetas]
            own_scores, metrics = self._scores(envs, plans, config.repeats + run.done, weights)
            search.tell([(values, -score) for values, score in zip(asked, own_scores, strict=True)])
            self.theta = _placed(search.mean, used)
            metrics |= {
                "search/spread": float(np.std(asked, axis=0).mean()),
                "search/mixed": float(np.mean([(p > 0).mean() for p in plans])),
            }
            run.end_update(metrics)
        return self

    def probabilities(self, rows: Rows) -> FloatArray:
        """The sigmoid of every option's score, above 1/2 where it may be mixed; see `mixrl.training.Agent`.

        Args:
            rows: features, shape (..., len(FEATURES)).

        Raises:
            RuntimeError: before `learn`.
        """
        if self.theta is None:
            raise RuntimeError("call learn() before probabilities()")
        check_rows(rows, len(FEATURES))
        p: FloatArray = expit(scores_of(self.theta, rows))
        return p

    def _scores(
        self, envs: Envs, plans: Sequence[npt.NDArray[np.int64]], seed: int, weights: FloatArray
    ) -> tuple[FloatArray, dict[str, float]]:
        """One score a plan, all with the same random numbers; plans that fill up the last step of the vector are lost."""
        m, losses, infos = envs.num_envs, [], []
        own = int(stream(self.seed, "plan rewards", seed).integers(2**31))
        for first in range(0, len(plans), m):
            some = [*plans[first : first + m]]
            some += [some[-1]] * (m - len(some))
            envs.reset(seed=[own] * m)  # type: ignore[arg-type]
            _, _, info = step_once(envs, np.array(some))
            losses.append(info["val_losses"])
            infos.append(env_metrics(info))
        scores = -np.concatenate(losses)[: len(plans)] @ weights
        metrics = {name: float(np.mean([one[name] for one in infos])) for name in infos[0]}
        return scores, metrics | {"score/mean": float(scores.mean()), "score/std": float(scores.std())}


def scores_of(theta: FloatArray, rows: Rows) -> FloatArray:
    """Scores (...,) of options with features (..., len(FEATURES))."""
    which, inputs = _inputs(rows)
    scores: FloatArray = (theta[which] * inputs).sum(axis=-1)
    return scores


def _inputs(rows: Rows) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Place of the space of each option in `SPACES`, (...,), and what its score is linear in, (..., NUM_WEIGHTS)."""
    which = np.select([rows[..., _SPACE] == SPACE_CODES[space] for space in SPACES], range(len(SPACES)))
    scaled = (rows[..., _COLUMNS].astype(np.float64) - CENTRE) / SPREAD
    square = np.square((rows[..., _LOG_K].astype(np.float64) - CENTRE) / SPREAD)
    return which, np.concatenate([np.ones((*scaled.shape[:-1], 1)), scaled, square[..., None]], axis=-1)


def likely_policies(
    problem: MixingProblem, rows: Rows, used: Sequence[int], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of the parameters that come closest to what the policy for all tables takes for likely.

    Credits are divided by their standard deviation over the table, and fitted by least squares.

    Args:
        problem: whose rows are all offered.
        rows: features of each row with every option, shape (n * |N|, len(FEATURES)).
        used: places in `SPACES` of the problem's spaces.
        rng: draws likely credits.

    Raises:
        ValueError: if the problem has other options than the policy has learned on.
    """
    seen = policy_problem(problem.data)
    if seen.options != problem.options or problem.num_rows != len(problem.x_train):
        raise ValueError("prior needs all rows, and the options of mixrl_env.many_tables.OPTIONS, in that order")
    credits = CreditRegression.load().likely_credits(seen, _DRAWS, rng).reshape(_DRAWS, -1)
    credits /= float(credits.mean(axis=0).std()) or 1.0
    which, inputs = _inputs(rows)
    drawn = []
    for space in used:
        own = inputs[which == space]
        square = own.T @ own + _PENALTY * len(own) * np.eye(NUM_WEIGHTS)
        drawn.append(np.linalg.solve(square, own.T @ credits[:, which == space].T).T)
    thetas = np.concatenate(drawn, axis=1)
    return thetas.mean(axis=0), np.cov(thetas.T) + _PENALTY * np.eye(thetas.shape[1])


def plan_of(problem: MixingProblem, theta: FloatArray, rows: Rows) -> npt.NDArray[np.int64]:
    """The plan of a policy as an action of the environment, shape (B * spaces,).

    Args:
        problem: whose options are meant.
        theta: of the policy.
        rows: features of each row of the batch with every option, shape (B * |N|, len(FEATURES)).
    """
    scores = scores_of(theta, rows).reshape(problem.num_rows, -1)
    plan = []
    for members in problem.neighbors.by_space.values():
        own = scores[:, members]
        plan.append(np.where(own.max(axis=1) > 0, own.argmax(axis=1) + 1, 0))
    return np.stack(plan, axis=1).ravel()


def single_options(problem: MixingProblem) -> dict[str, FloatArray]:
    """Parameters (3, NUM_WEIGHTS) of the policies that take one option for all rows, one k in both distances, or nothing."""
    n = len(problem.x_train)
    found = {"no mixing": _single([], n)}
    for option in problem.options:
        found[f"{option.space} distance, k = {option.k}" if option.k else "every pair"] = _single([option], n)
    for option in problem.options:
        other = NeighborOption("label", option.k)
        if option.space == "data" and other in problem.options:
            found[f"k = {option.k}"] = _single([option, other], n)
    return found


def _single(options: Sequence[NeighborOption], n: int) -> FloatArray:
    """A score of 1/2 at the option's log k that falls with the squared distance to it; -1 in other spaces."""
    theta = np.zeros((3, NUM_WEIGHTS))
    theta[:, 0] = _NEVER
    for space, k in options:
        at = (np.log(k or n - 1) / np.log(n) - CENTRE) / SPREAD
        own = theta[SPACES.index(space)]
        own[0], own[-1] = _ALWAYS - _SHARP * at**2, -_SHARP
        own[1 + _COLUMNS.index(_LOG_K)] = 2 * _SHARP * at
    return theta


def _placed(values: FloatArray, used: Sequence[int]) -> FloatArray:
    theta = np.zeros((3, NUM_WEIGHTS))
    theta[:, 0] = _NEVER
    theta[used] = values.reshape(len(used), NUM_WEIGHTS)
    return theta

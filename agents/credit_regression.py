"""Credit by regression over many tables: one function of a row and its option, for tables that it has never seen (ours).

Plans are tried on many tables, and gain log(RMSE without mixing / RMSE with it). The gain of a plan is taken for the sum of the
credits c(x) = w . f(x) of what it mixes, divided by the number n of rows; f are random features of an observation row with
fixed scales. A ridge regression over all plans finds the weights w. What the best plan of a table promises is more than it
keeps; how much more, and from what promise on mixing is worth a try, other tables tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mixrl.files import write_bytes
from mixrl.random_features import relu_features
from mixrl.training import FloatArray, Rows
from mixrl_env import MixingProblem
from mixrl_env.checks import check_types
from mixrl_env.features import CENTRE, SPREAD
from mixrl_env.plans import options_above
from mixrl_env.problem import Batch
from mixrl_env.streams import stream

PRETRAINED = Path(__file__).with_name("pretrained.safetensors")
"""What ships with the package; docs/tables.md has its score."""
WORSE, FEW = 0.02, 0.1
"""On at most the share FEW of the tables that it is calibrated on, a policy loses more than WORSE in log RMSE."""
_LARGEST_GAIN = 0.7  # of a plan, of either sign: beyond it one table would outweigh all others
_STORED = ("seed", "num_plans", "kept", "least_gain", "spread", "noise")
_NOTHING_OF, _AT_ONCE = 8, 8  # of the rewards on a table: one in so many mixes nothing; plans between two updates
_BLOCK = 8192  # rows whose features are computed at once
_LEAST_NOISE = 1e-8  # variance
_OFF, _ONE_K, _MEAN, _SHIFT = 0.25, 0.5, -0.5, 1.5  # of random plans: see there
_RANDOM_FEATURES = 30  # of the scores of a random plan


class Experience(NamedTuple):
    """Plans that were tried on a table.

    Attributes:
        rows: observation of every row with every option, shape (n, |N|, row size).
        mixed: which of them each plan mixes, shape (plans, n, |N|).
        gains: of each plan, log(RMSE without mixing / RMSE with it), shape (plans,).
    """

    rows: npt.NDArray[np.float32]
    mixed: npt.NDArray[np.bool_]
    gains: FloatArray


@dataclass(frozen=True)
class CreditRegressionConfig:
    """Settings of `CreditRegression`.

    Attributes:
        num_features: random ReLU features of an observation row that the credit is linear in.
        ridge: penalty on the squared weights, in units of the mean squared feature of a plan.
        without: columns of an observation row that it does not look at.

    Raises:
        ValueError: for a value out of its range.
    """

    num_features: int = 1000
    ridge: float = 100.0
    without: Sequence[int] = ()

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_features < 1 or not 0 < self.ridge < np.inf:
            raise ValueError(f"num_features must be at least 1 and ridge positive, got {self.num_features} and {self.ridge}")


class CreditRegression:
    """The expected gain of mixing a row with an option.

    Args:
        config: settings; None for the default settings.
        seed: of the random features.

    Attributes:
        weights: w, shape (num_features + 1,); None before `fit`.
        kept: share of its promise that the best plan of a table keeps; 1 before `calibrate`.
        least_gain: a table is left alone unless its plan promises more, in log RMSE; 0 before `calibrate`.
        spread: standard deviation of a weight from table to table.
        noise: standard deviation of a reward, one training each.
        num_plans: that it was fitted to.
    """

    weights: FloatArray | None = None
    kept = 1.0
    least_gain = 0.0
    spread = 0.0
    noise = 0.0
    num_plans = 0

    def __init__(self, config: CreditRegressionConfig | None = None, seed: int = 0) -> None:
        self.config, self.seed = config or CreditRegressionConfig(), seed

    def propose(self, problem: MixingProblem, rows: Rows, count: int, rng: np.random.Generator) -> list[Batch]:
        """Plans to learn from: the best ones by weights that are drawn from their posterior, or random ones before `fit`.

        Args:
            problem: as from `mixrl_env.many_tables.policy_problem`.
            rows: its observation rows, shape (n, |N|, row size).
            count: how many plans.
            rng: draws them.
        """
        if self.weights is None:
            return [_random_plan(problem, rows, rng) for _ in range(count)]
        drawn = self.weights[:, None] + np.linalg.solve(self._precision_root.T, rng.normal(size=(len(self.weights), count)))
        return [options_above(problem, credit, 0.0) for credit in np.moveaxis(self._features(rows) @ drawn, -1, 0)]

    def fit(self, experiences: Iterable[Experience]) -> Self:
        """Regress the gains of all plans; calibrate anew afterwards.

        Raises:
            ValueError: if there is no plan.
        """
        self.num_plans, self.kept, self.least_gain = 0, 1.0, 0.0
        pooled: list[FloatArray] = []  # of each table
        paid: list[FloatArray] = []
        for rows, mixed, gains in experiences:
            if not pooled:
                rng, size = stream(self.seed, "features of credit regression"), self.config.num_features
                self._w = rng.normal(size=(rows.shape[-1], size)) / rows.shape[-1] ** 0.5
                self._w[list(self.config.without)] = 0
                self._b = rng.uniform(-1, 1, size)
            pooled.append(_pool(mixed, self._features(rows)))
            paid.append(gains.clip(-_LARGEST_GAIN, _LARGEST_GAIN))
        if not any(map(len, pooled)):
            raise ValueError("there is no plan to learn from")
        every: FloatArray = np.concatenate(pooled)
        target: FloatArray = np.concatenate(paid)
        precision = every.T @ every
        precision[np.diag_indices_from(precision)] += self.config.ridge * np.square(every).mean()
        weights: FloatArray = np.linalg.solve(precision, every.T @ target)  # type: ignore[assignment]  # numpy says floating
        self.weights, self.num_plans = weights, len(target)
        residuals = [own - each @ weights for each, own in zip(pooled, paid, strict=True)]
        variance = max(float(np.square(np.concatenate(residuals)).mean()), _LEAST_NOISE)
        self._precision_root = np.linalg.cholesky(precision / variance)
        self.spread = _spread(pooled, residuals)
        between = self.spread**2 * np.square(every).sum(axis=1).mean()
        self.noise = float(max(variance - between, _LEAST_NOISE)) ** 0.5
        return self

    def calibrate(self, promised: FloatArray, gains: FloatArray) -> Self:
        """Set `kept` and `least_gain`.

        `kept` is the slope of the gains over the promises; `least_gain` is the smallest threshold that leaves no more than the
        share `FEW` of the tables worse than `WORSE`.

        Args:
            promised: by `plan`, before calibration, for tables that were not fitted to, shape (tables,).
            gains: of these plans, shape (tables,).
        """
        most_first = promised.argsort()[::-1]
        worse = np.cumsum(gains[most_first] < -WORSE) / len(gains)
        tried = np.flatnonzero(worse <= FEW)
        beyond = tried[-1] + 1 if len(tried) else 0
        self.least_gain = float(promised[most_first[beyond]]) if beyond < len(gains) else 0.0
        own = promised > self.least_gain
        self.kept = max(0.0, share_kept(promised[own], gains[own])) if own.any() else 0.0
        return self

    def credit(self, rows: Rows) -> FloatArray:
        """Gain in log RMSE that a row and option adds, times n: observation rows (..., row size) in, (...,) out.

        Raises:
            RuntimeError: before `fit`.
        """
        if self.weights is None:
            raise RuntimeError("call fit() before credit()")
        blocks = np.array_split(rows.reshape(-1, rows.shape[-1]), 1 + rows.size // rows.shape[-1] // _BLOCK)
        return np.concatenate([self._features(block) @ self.weights for block in blocks]).reshape(rows.shape[:-1])

    def likely_credits(self, problem: MixingProblem, count: int, rng: np.random.Generator) -> FloatArray:
        """Credits that a table may have, drawn around those of `credit` as tables differ; shape (count, n, |N|).

        Args:
            problem: as from `mixrl_env.many_tables.policy_problem`.
            count: how many.
            rng: draws them.

        Raises:
            RuntimeError: before `fit`.
        """
        if self.weights is None:
            raise RuntimeError("call fit() before likely_credits()")
        weights = self.weights + self.spread * rng.normal(size=(count, len(self.weights)))
        credits: FloatArray = weights @ self._features(problem.observe(problem.every_row_and_option())).T
        return credits.reshape(count, len(problem.x_train), -1)

    def plan(self, problem: MixingProblem) -> tuple[Batch, float]:
        """What to mix in a table: in each distance the option of highest credit; and the gain in log RMSE to be expected.

        Args:
            problem: as from `mixrl_env.many_tables.policy_problem`.
        """
        every = problem.every_row_and_option()
        credit = self.credit(problem.observe(every)).reshape(len(problem.x_train), -1)
        chosen = options_above(problem, credit, 0.0)
        promised = float(credit[chosen.rows, chosen.options].sum() / len(credit))
        if promised <= self.least_gain:
            return Batch(chosen.rows[:0], chosen.options[:0]), 0.0
        return chosen, self.kept * promised

    def adapt(self, seen: MixingProblem, problem: MixingProblem, trainings: int, rng: np.random.Generator) -> Self:
        """What it becomes on one table, by rewards there: regression with what it knows of other tables as the prior mean.

        A reward is log(RMSE without mixing / RMSE with it) on the validation rows, of a training as the problem's regressor
        says; rows count by `mixrl_env.MixingProblem.val_weights`. An eighth of the trainings, at least one, mix nothing.

        Args:
            seen: the table, as from `mixrl_env.many_tables.policy_problem`.
            problem: the same, with its validation rows.
            trainings: of them all.
            rng: draws plans, and the random numbers of the trainings.

        Raises:
            RuntimeError: before `fit`.
        """
        if self.weights is None:
            raise RuntimeError("call fit() before adapt()")
        of_rows = problem.val_weights / problem.val_weights.sum()
        features = self._features(seen.observe(seen.every_row_and_option())).reshape(len(seen.x_train), len(seen.options), -1)

        def losses(plans: Sequence[Batch]) -> FloatArray:
            fitted = problem.fit([seen.augmented(plan, rng) for plan in plans], rng.spawn(len(plans)))
            with np.errstate(over="ignore"):
                own: FloatArray = np.nan_to_num(problem.val_losses(fitted) @ of_rows, nan=np.inf)
                return own.clip(max=problem.diverged_loss)

        def best(credit: FloatArray) -> Batch:
            return options_above(seen, credit, 0.0)

        nothing = max(1, trainings // _NOTHING_OF)
        without = losses([Batch(*np.zeros((2, 0), dtype=np.int64))] * nothing).mean()
        table, target = np.zeros((0, features.shape[-1])), np.zeros(0)
        adapted = copy(self)
        for first in range(nothing, trainings, _AT_ONCE):
            count = min(_AT_ONCE, trainings - first)
            # A draw from the posterior: one from the prior, moved by what it has wrong.
            drawn = self.weights + self.spread * rng.normal(size=(count, features.shape[-1]))
            wrong = target - drawn @ table.T + rng.normal(0, self.noise, (count, len(target)))
            drawn += self._moved(table, wrong)
            plans = [best(features @ weights) for weights in (adapted.weights, *drawn[1:])]
            table = np.concatenate([table, _pool(mixed_by(plans, *features.shape[:2]), features)])
            gains = 0.5 * np.log(without / losses(plans))
            target = np.append(target, gains.clip(-_LARGEST_GAIN, _LARGEST_GAIN))
            adapted.weights = self.weights + self._moved(table, target - table @ self.weights)
        adapted.kept, adapted.least_gain = 1.0, 0.0
        return adapted

    def _moved(self, pooled: FloatArray, wrong: FloatArray) -> FloatArray:
        """How the posterior mean differs from the prior mean where gains differ by `wrong` (..., plans) from its promises."""
        between = self.spread**2 * pooled
        moved: FloatArray = np.linalg.solve(between @ pooled.T + self.noise**2 * np.eye(len(pooled)), wrong.T).T @ between
        return moved

    def save(self, path: Path, command: str) -> None:
        """Write what was learned as safetensors, atomically.

        Args:
            path: of the file.
            command: that learned it, which the file keeps.

        Raises:
            RuntimeError: before `fit`.
        """
        if self.weights is None:
            raise RuntimeError("call fit() before save()")
        about = {name: getattr(self, name) for name in _STORED}
        about |= {"config": asdict(self.config), "command": command}
        tensors = {"w": self._w, "b": self._b, "weights": self.weights}
        write_bytes(save(tensors, metadata={"credit_regression": json.dumps(about)}), path)

    @classmethod
    def load(cls, path: Path = PRETRAINED) -> Self:
        """Read what `save` wrote, or what ships with the package; nothing in the file is ever executed.

        Raises:
            ValueError: if the file holds something else.
            FileNotFoundError: if there is no such file.
        """
        try:
            with safe_open(path, framework="numpy") as stored:
                about = json.loads((stored.metadata() or {})["credit_regression"])
                agent = cls(CreditRegressionConfig(**about["config"] | {"without": tuple(about["config"]["without"])}))
                agent._w, agent._b, agent.weights = (stored.get_tensor(name) for name in ("w", "b", "weights"))
            for name in _STORED:
                setattr(agent, name, about[name])
            fits = agent._w.shape[1:] == agent._b.shape and agent.weights.shape == (len(agent._b) + 1,)
            if not fits or not all(np.isfinite(values).all() for values in (agent._w, agent._b, agent.weights)):
                raise ValueError("shapes do not fit, or weights are not finite")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a credit regression: {error}") from error
        return agent

    def _features(self, rows: Rows) -> FloatArray:
        """Random features of observation rows, the last always 1."""
        return relu_features(rows, CENTRE, SPREAD, self._w, self._b)


def mixed_by(plans: Sequence[Batch], num_rows: int, num_options: int) -> npt.NDArray[np.bool_]:
    """Which rows and options each plan mixes, shape (plans, n, |N|)."""
    mixed = np.zeros((len(plans), num_rows, num_options), dtype=bool)
    for one, plan in zip(mixed, plans, strict=True):
        one[plan.rows, plan.options] = True
    return mixed


def share_kept(promised: FloatArray, gains: FloatArray) -> float:
    """Slope of gains over promises, both (tables,), through the origin."""
    return float(promised @ gains / (promised @ promised))


def _random_plan(problem: MixingProblem, rows: Rows, rng: np.random.Generator) -> Batch:
    """In each distance the options of highest score, where that is above 0, by a random function of the rows.

    Some plans mix nothing in a distance, and half of the others have the same k for all rows.
    """
    scores = np.full(rows.shape[:2], -np.inf)
    for members in problem.neighbors.by_space.values():
        w = rng.normal(size=(rows.shape[2], _RANDOM_FEATURES)) / rows.shape[2] ** 0.5
        features = relu_features(rows[:, members], CENTRE, SPREAD, w, rng.uniform(-1, 1, _RANDOM_FEATURES))
        own = features @ rng.normal(size=features.shape[2])
        own = (own - own.mean()) / (own.std() or 1.0) + rng.normal(_MEAN, _SHIFT)
        off, one_k, k = rng.random() < _OFF, rng.random() < _ONE_K, rng.integers(len(members))
        if not off:
            taken = [k] if one_k else range(len(members))
            scores[:, members[taken]] = own[:, taken]
    return options_above(problem, scores, 0.0)


def _pool(mixed: npt.NDArray[np.bool_], features: FloatArray) -> FloatArray:
    """Sum of the features of what each plan mixes, divided by the number of rows, shape (plans, features)."""
    pooled: FloatArray = mixed.reshape(len(mixed), -1) @ features.reshape(-1, features.shape[-1]) / len(features)
    return pooled


def _spread(pooled: Sequence[FloatArray], residuals: Sequence[FloatArray]) -> float:
    """Standard deviation of weights between tables, by the products of residuals of different plans of a table."""
    of_products = of_squares = 0.0
    for own, residual in zip(pooled, residuals, strict=True):
        alike = own @ own.T
        np.fill_diagonal(alike, 0.0)
        of_products += float(residual @ alike @ residual)
        of_squares += float(np.square(alike).sum())
    return max(0.0, of_products / of_squares) ** 0.5 if of_squares else 0.0

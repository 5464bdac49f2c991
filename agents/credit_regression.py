"""Credit by regression over many tables: one function of a row and its option, for tables that it has never seen (ours).

On `MixRL-Tables-v0` the reward is 0 where nothing is mixed, and tables differ in how many rows they have. The reward of a plan
is taken for the sum of the credits c(x) = w . f(x) of what it mixes, divided by the number n of rows; f are random features of
an observation row with fixed scales. A ridge regression of the rewards of random plans on many tables finds the weights w.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.special import expit

from mixrl.checkpoint import Checkpoints
from mixrl.files import write_bytes
from mixrl.random_features import relu_features
from mixrl.training import AnyEnv, FloatArray, Learner, ProgressCallback, Rows, Run, env_metrics, step_once
from mixrl_env import MixingProblem
from mixrl_env.checks import check_types
from mixrl_env.features import CENTRE, SPREAD
from mixrl_env.plans import options_above
from mixrl_env.problem import Batch
from mixrl_env.streams import stream

PRETRAINED = Path(__file__).with_name("pretrained.safetensors")
"""What ships with the package; docs/tables.md has its score."""
_OFF, _MEAN, _SHIFT = 0.25, -0.5, 1.5  # of random plans: chance of no mixing in a distance; of the scores, whose spread is 1


@dataclass(frozen=True)
class CreditRegressionConfig:
    """Settings of `CreditRegression`.

    Attributes:
        num_features: random ReLU features of an observation row that the credit is linear in.
        ridge: penalty on the squared weights, in units of the mean squared feature of a training.
        least_gain: a table is left alone unless mixing is expected to gain more, in log RMSE.

    Raises:
        ValueError: for a value out of its range.
    """

    num_features: int = 300
    ridge: float = 300.0
    least_gain: float = 0.05

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_features < 1 or not 0 < self.ridge < np.inf or not 0 <= self.least_gain < np.inf:
            raise ValueError(
                "num_features must be at least 1, ridge positive and least_gain at least 0, got "
                f"{self.num_features}, {self.ridge}, {self.least_gain}"
            )


class CreditRegression(Learner[CreditRegressionConfig]):
    """The expected gain of mixing a row with an option, for `MixRL-Tables-v0` with `action="plan"`.

    Attributes:
        weights: w, shape (num_features + 1,); None before `learn`.
    """

    config_type = CreditRegressionConfig
    weights: FloatArray | None = None

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Spend num_trainings, rounded down to whole steps of the vector, on random plans, then regress; see `Agent`.

        Raises:
            ValueError: if the budget is below one step of the vector, or an episode has more than one step (T > 1).
        """
        envs, state = self._reset(envs, num_trainings, plans=True)
        sizes = np.unique(envs.single_action_space.nvec)  # type: ignore[attr-defined]
        if len(sizes) > 1:
            raise ValueError(f"every row and distance must have as many options, got plans of {envs.single_action_space}")
        rng, size = stream(self.seed, "random plans of credit regression"), self.config.num_features + 1
        self._draw_features(state.shape[-1])
        run = Run(self, envs, num_trainings, callback, checkpoints, rng=rng)
        # Sums of products, from which the weights follow: nothing grows with the number of trainings.
        state, square, product = run.start(state=state, square=np.zeros((size, size)), product=np.zeros(size))
        while run.left:
            pooled, plans = zip(*(self._random_plan(rows, int(sizes[0]) - 1, rng) for rows in state), strict=True)
            state, reward, info = step_once(envs, np.array(plans))
            table = np.array(pooled)
            square, product = square + table.T @ table, product + table.T @ reward
            metrics = {"reward/mean": float(reward.mean()), "reward/std": float(reward.std())} | env_metrics(info)
            run.end_update(metrics, state=state, square=square, product=product)
        scale = np.trace(square) / size / self.trainings
        self.weights = np.linalg.solve(square + self.config.ridge * scale * np.eye(size), product)
        return self

    def credit(self, rows: Rows) -> FloatArray:
        """Gain in log RMSE that a row and option adds, times n: observation rows (..., row size) in, (...,) out.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.weights is None:
            raise RuntimeError("call learn() before credit()")
        credit: FloatArray = self._features(rows) @ self.weights
        return credit

    def probabilities(self, rows: Rows) -> FloatArray:
        """The sigmoid of the credit, above 1/2 where a gain is expected; see `mixrl.training.Agent`."""
        p: FloatArray = expit(self.credit(rows))
        return p

    def plan(self, problem: MixingProblem) -> tuple[Batch, float]:
        """What to mix in a table: in each distance the option of highest credit; and the gain in log RMSE to be expected.

        Args:
            problem: whose observations have the columns that were learned on, such as `observe=("features", "context")`.
        """
        every = problem.every_row_and_option()
        credit = self.credit(problem.observe(every)).reshape(len(problem.x_train), -1)
        chosen = options_above(problem, credit, 0.0)
        gain = float(credit[chosen.rows, chosen.options].sum() / len(credit))
        if gain <= self.config.least_gain:
            return Batch(chosen.rows[:0], chosen.options[:0]), 0.0
        return chosen, gain

    def save(self, path: Path, command: str) -> None:
        """Write what was learned as safetensors, atomically.

        Args:
            path: of the file.
            command: that learned it, which the file keeps.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.weights is None:
            raise RuntimeError("call learn() before save()")
        about = {"config": asdict(self.config), "seed": self.seed, "trainings": self.trainings, "command": command}
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
                agent = cls(CreditRegressionConfig(**about["config"]), about["seed"])
                agent._w, agent._b, agent.weights = (stored.get_tensor(name) for name in ("w", "b", "weights"))
            agent.trainings = about["trainings"]
            fits = agent._w.shape[1:] == agent._b.shape and agent.weights.shape == (len(agent._b) + 1,)
            if not fits or not all(np.isfinite(values).all() for values in (agent._w, agent._b, agent.weights)):
                raise ValueError("shapes do not fit, or weights are not finite")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a credit regression: {error}") from error
        return agent

    def _random_plan(self, rows: Rows, count: int, rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Mean features of what is mixed, and a plan: in each distance the highest of random scores, if that is above 0.

        Args:
            rows: observation of one table, padded with zeros, shape (places * count, row size).
            count: options of each row and distance.
            rng: draws the scores, linear in the features, for each distance.
        """
        features = self._features(rows).reshape(len(rows) // count, count, -1)
        offered = rows.any(axis=1).reshape(len(features), count).all(axis=1)
        plan, pooled = np.zeros(len(features), dtype=np.int64), np.zeros(features.shape[-1])
        for space in range(2):
            places = np.flatnonzero(offered)[space::2]
            own = features[places]
            scores = own @ rng.normal(size=own.shape[-1])
            shift = rng.normal(_MEAN, _SHIFT)
            if rng.random() < _OFF:
                continue
            scores = (scores - scores.mean()) / (scores.std() or 1.0) + shift
            best = scores.argmax(axis=1)
            mixed = scores.max(axis=1) > 0
            plan[places[mixed]] = best[mixed] + 1
            pooled += own[mixed, best[mixed]].sum(axis=0)
        return pooled / (offered.sum() / 2), plan

    def _draw_features(self, row_size: int) -> None:
        rng = stream(self.seed, "features of credit regression")
        self._w = rng.normal(size=(row_size, self.config.num_features)) / row_size**0.5
        self._b = rng.uniform(-1, 1, self.config.num_features)

    def _features(self, rows: Rows) -> FloatArray:
        """Random features of observation rows, the last always 1."""
        return relu_features(rows, CENTRE, SPREAD, self._w, self._b)

"""MixRL on many tables: every episode is about another generated one (ours), so that one policy can learn for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from mixrl_env.checks import check_seed
from mixrl_env.data import FloatArray, RegressionData
from mixrl_env.datasets.generated import GeneratedTable, Part, check_part, generate_table
from mixrl_env.env import Action, environment_rng, training_rng
from mixrl_env.features import CONTEXT, FEATURES
from mixrl_env.observation import Observation
from mixrl_env.plans import KS
from mixrl_env.problem import Action as ActionKind
from mixrl_env.problem import Batch, MixingProblem, ProblemConfig
from mixrl_env.regressor import FittedRegressors, RegressorConfig, TrainingSet, fit_regressors
from mixrl_env.streams import stream

OPTIONS = tuple((space, k) for space in ("data", "label") for k in KS)
"""The list N of every table."""
OBSERVED = ("features", "context")
"""What a policy for all tables sees of a row and option."""
_REPEATS = 8
"""Trainings without mixing that a reward is compared with."""
_KEPT_INSTANCES = 2048  # those used last stay in memory, for all environments of a process


def policy_problem(data: RegressionData, action: ActionKind = "plan") -> MixingProblem:
    """A table as a policy for all tables sees it: training rows alone, each with the options of `OPTIONS`.

    The regressors behind features and context stop early on the training rows, half of which each of them has not seen.

    Args:
        data: whose validation and test rows are never looked at.
        action: "mask" or "plan".
    """
    own = replace(data, x_val=data.x_train, y_val=data.y_train, x_test=None, y_test=None)
    options = [(space, k) for space, k in OPTIONS if k < len(data.x_train)]
    return MixingProblem(own, ProblemConfig.from_settings({"options": options, "observe": OBSERVED, "action": action}))


class Instance:
    """A generated table, ready to be mixed.

    Args:
        part, table_seed: which table.
        most_rows: of its training rows, the first.
        regressor: network and training, to the early stop on the validation rows.
        action: "mask" or "plan".

    Attributes:
        table: as it was drawn, with all rows.
        data: the rows that are used.
        problem: of the training rows, as a policy sees it.
    """

    def __init__(self, part: Part, table_seed: int, most_rows: int, regressor: RegressorConfig, action: ActionKind) -> None:
        self.table: GeneratedTable = generate_table(table_seed, part)
        data = self.table.data
        self.data = data.first_rows(min(len(data.x_train), most_rows))
        self.problem = policy_problem(self.data, action)
        self._regressor, self._table_seed = regressor, table_seed
        self._loss: float | None = None

    @property
    def loss(self) -> float:
        """Mean squared error without mixing on the test rows, which have no noise, a mean over several trainings."""
        if self._loss is None:  # a cached_property has one lock for all instances, and threads would wait for each other
            nothing = (self.problem.x_train, self.data.y_train)
            rngs = [stream(self._table_seed, "trainings without mixing", repeat) for repeat in range(_REPEATS)]
            self._loss = float(self.losses([nothing] * _REPEATS, rngs)[0].mean())
        return self._loss

    def losses(
        self, sets: Sequence[TrainingSet], rngs: Sequence[np.random.Generator], average: int = 1
    ) -> tuple[FloatArray, FittedRegressors]:
        """Train a regressor on each set; mean squared errors on the test rows, and the regressors.

        Args:
            sets: as from `mixrl_env.MixingProblem.augmented`.
            rngs: one a set.
            average: so many regressors in a row are averaged, and have one loss. A loss is at most
                `mixrl_env.MixingProblem.diverged_loss`, also where a training diverged.
        """
        data, own = self.data, self.problem
        assert data.x_test is not None
        fitted = fit_regressors(sets, data.standardize_x(data.x_val), data.y_val, self._regressor, rngs, labels=own.labels)
        predicted = fitted.predict(data.standardize_x(data.x_test))
        with np.errstate(over="ignore", invalid="ignore"):  # of trainings that diverged
            errors = predicted.reshape(-1, average, *predicted.shape[1:]).mean(axis=1) - data.y_test
            losses = np.square(errors).mean(axis=(1, 2))
        return np.where(losses <= own.diverged_loss, losses, own.diverged_loss), fitted

    def train(self, selected: Batch, rng: np.random.Generator) -> tuple[float, dict[str, Any]]:
        """Train a regressor on all rows and the mixed ones; its loss on the test rows, and what it took."""
        augmented = self.problem.augmented(selected, rng)
        (loss,), fitted = self.losses([augmented], [rng])
        info = {
            "num_selected": len(selected.rows),
            "num_mixed": len(augmented[0]) - len(self.problem.x_train),
            "train_steps": int(fitted.train_steps[0]),
            "diverged": bool(loss == self.problem.diverged_loss),
        }
        return float(loss), info

    def gain(self, plans: Sequence[Batch], repeats: int) -> FloatArray:
        """What plans are worth: log(RMSE without mixing / RMSE with it), of the averaged predictions of so many regressors."""
        nothing, gain = Batch(*np.zeros((2, 0), dtype=np.int64)), np.zeros(len(plans))
        if mixing := [index for index, plan in enumerate(plans) if len(plan.rows)]:
            compared = [nothing, *(plans[index] for index in mixing)]
            sets = [self.problem.augmented(plan, stream(self._table_seed, "mixed rows of plans")) for plan in compared]
            rngs = [stream(self._table_seed, "regressors of plans", repeat) for _ in sets for repeat in range(repeats)]
            losses, _ = self.losses([one for one in sets for _ in range(repeats)], rngs, repeats)
            gain[mixing] = 0.5 * np.log(losses[0] / losses[1:])
        return gain


@lru_cache(_KEPT_INSTANCES)
def instance(part: Part, table_seed: int, most_rows: int, regressor: RegressorConfig, action: ActionKind = "mask") -> Instance:
    """An `Instance`; making a new one takes about a second."""
    return Instance(part, table_seed, most_rows, regressor, action)


class MixRLTablesEnv(gym.Env[Observation, Action]):
    """Learn to mix rows of any table: every reset draws another one.

    ## Description
    One policy for all tables (ours, not the paper's). A table is drawn from `mixrl_env.datasets.generated`, all its training
    rows are offered, each with a random option, and the agent selects rows. A regressor is trained on all training rows and
    the mixed ones to its early stop, which is what is done with a plan in the end, and judged by noise-free labels.

    ## Action Space
    `MultiBinary(num_rows)`: 1 selects a row for mixing. With `action="plan"` `MultiDiscrete` of shape (2 num_rows,): for each
    row and distance 0 for nothing, or c for the c-th option, as in `mixrl_env.MixRLEnv`; the observation then holds each row
    with every option. What is said of rows that the table does not have is ignored.

    ## Observation Space
    `Box(0, 1)` of shape (num_rows, 21), float32: for each row the features of the row and its option, and the context of its
    table, as `observe=("features", "context")` shows them of other tables (`mixrl_env.features`), without validation rows. A
    table with fewer rows is padded with rows of zeros.

    ## Rewards
    log(RMSE without mixing / RMSE with it), on 1,000 test rows without label noise: 0 is "nothing gained", 0.05 an error that
    is five percent lower. RMSE without mixing is that of the mean loss of eight trainings.

    ## Starting State
    A table of the part, drawn by the environment's generator, or named: `reset(options={"table_seed": 7})`. The first row in
    the observation is the table's first training row.

    ## Episode End
    Every episode ends after one step with `terminated=True`.

    ## Info
    After a reset table_seed and num_rows, the number of training rows. After a step also test_rmse, num_selected, num_mixed,
    train_steps and diverged.

    ## Arguments
    - `part`: "training", "validation", "test", or "held out", which has families of functions that no other part has. No table
      is in two parts.
    - `num_tables`: how many tables of the part are drawn from, those with the seeds 0, 1, ...; None is any.
    - `tables_seed`: of the order of tables and of the options that are offered; None follows the seed of the reset.
      Environments that share it offer the same rows of the same table in every episode: their rewards can be compared.
    - `num_rows`: the most training rows that are used of a table, and the B of the spaces.
    - `action`: "mask" or "plan".
    - `regressor`: a `mixrl_env.RegressorConfig`, or a mapping of its fields.
    - `render_mode`: None, or "ansi" for a line on the last step.

    The first episode of a table takes about a second, which trains the regressors behind the features; the tables used last
    stay in memory. Raises ValueError for values out of their range, and for unknown options of a reset.
    """

    metadata = {  # noqa: RUF012  # as Gymnasium declares it
        "render_modes": ["ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        part: Part = "training",
        num_tables: int | None = None,
        tables_seed: int | None = None,
        num_rows: int = 256,
        action: ActionKind = "mask",
        regressor: RegressorConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        for name, value, least in (("num_tables", num_tables, 1), ("num_rows", num_rows, 30)):
            if not (value is None and name == "num_tables") and (type(value) is not int or value < least):
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.part, self.num_tables, self.num_rows, self.render_mode = check_part(part), num_tables, num_rows, render_mode
        if tables_seed is not None:
            check_seed(tables_seed, "tables_seed")
        self.tables_seed = tables_seed
        self.action = action
        self.regressor = ProblemConfig.from_settings({"regressor": regressor or {}, "action": action}).regressor
        plan = MultiDiscrete([1 + len(OPTIONS) // 2] * 2 * num_rows)
        self.action_space = plan if action == "plan" else MultiBinary(num_rows)  # type: ignore[assignment]
        offers = num_rows * (len(OPTIONS) if action == "plan" else 1)
        self.observation_space = Box(0, 1, (offers, len(FEATURES) + len(CONTEXT)), np.float32)
        self._offers: np.random.Generator | None = None  # draws tables and options
        self._next: int | None = None  # table that is drawn already
        self._seed: int | None = None  # of the table; None before a reset and after the step
        self._batch: Batch | None = None
        self._trained: tuple[float, dict[str, Any]] | None = None
        self._last = "no step yet"

    @property
    def instance(self) -> Instance:
        """The table of this episode.

        Raises:
            ResetNeeded: before the first reset, or after the episode's end.
        """
        if self._seed is None:
            raise ResetNeeded("call reset() before step(): an episode ends after one step")
        return self._instance(self._seed)

    def _instance(self, table_seed: int) -> Instance:
        return instance(self.part, table_seed, self.num_rows, self.regressor, self.action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Draw another table, or take the one of `options["table_seed"]`; see `gymnasium.Env.reset`."""
        super().reset(seed=seed)
        if seed is not None:
            self._np_random = environment_rng(seed)
        if unknown := sorted(set(options or {}) - {"table_seed"}):
            raise ValueError(f"unknown option {', '.join(map(repr, unknown))} of reset; known: table_seed")
        if self._offers is None or seed is not None:
            own = int(self.np_random.integers(2**63)) if self.tables_seed is None else self.tables_seed
            self._offers, self._next = stream(own, "offered tables"), None
        drawn = self._draw()
        self._seed, self._trained, self._next = int((options or {}).get("table_seed", drawn)), None, None
        check_seed(self._seed, "table_seed")
        self._batch = self.instance.problem.sample_batch(self._offers)
        return self._offer(), {"table_seed": self._seed, "num_rows": len(self._batch.rows)}

    def _draw(self) -> int:
        """The table of the next episode, unless `reset` names another."""
        assert self._offers is not None
        if self._next is None:
            self._next = int(self._offers.integers(self.num_tables or 2**31))
        return self._next

    def next_table(self) -> tuple[Part, int, int, RegressorConfig, ActionKind]:
        """Arguments of the `instance` of the next episode, unless `reset` names another; after the first reset."""
        return self.part, self._draw(), self.num_rows, self.regressor, self.action

    def train(self, action: npt.ArrayLike) -> None:
        """Do the training of the next `step` already: a vector does them side by side.

        Raises:
            ResetNeeded: before the first reset, or after the episode's end.
            ValueError: if the action is not of the action space.
        """
        own = self.instance
        assert self._batch is not None
        given, space = np.asarray(action), self.action_space
        whole = given.astype(space.dtype) if given.dtype.kind in "biuf" and np.isfinite(given).all() else given
        if given.shape != space.shape or not (whole == given).all() or not space.contains(whole):
            raise ValueError(f"the action must be of {space}, got {action!r}")
        size = len(whole) // self.num_rows * len(self._batch.rows)
        loss, info = own.train(own.problem.select(self._batch, whole[:size]), training_rng(self.np_random))
        self._trained = 0.5 * float(np.log(own.loss / loss)), info | {"test_rmse": loss**0.5}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Train on all rows and the mixed rows of the selected ones.

        Returns:
            The same observation again, reward, terminated (True), truncated (False), info.

        Raises:
            ResetNeeded: before the first reset, or after the episode's end.
            ValueError: if the action is not of the action space.
        """
        if self._trained is None:
            self.train(action)
        assert self._trained is not None
        own, offer, (reward, info) = self.instance, self._offer(), self._trained
        info = {"table_seed": self._seed, "num_rows": len(own.problem.x_train), **info}
        self._last = f"{own.table.data.name}: selected {info['num_selected']} of {info['num_rows']} rows, reward {reward:+.4f}"
        self._seed = self._trained = None
        return offer, reward, True, False, info

    def render(self) -> str | None:
        """A line on the last step in render mode "ansi", else None."""
        return self._last if self.render_mode == "ansi" else None

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on: generator, table and offered rows; no pickle."""
        batch = None if self._batch is None else self._batch._asdict()
        offers = None if self._offers is None else self._offers.bit_generator.state
        return {
            "generator": self.np_random.bit_generator.state,
            "offers": offers,
            "next": self._next,
            "table_seed": self._seed,
            "batch": batch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the environment, made with the same arguments, that `state_dict` was called on."""
        self.np_random.bit_generator.state = state["generator"]
        if state["offers"] is not None:
            self._offers = stream(0, "offered tables, restored")
            self._offers.bit_generator.state = state["offers"]
        self._next = state["next"]
        self._seed, self._trained = state["table_seed"], None
        self._batch = None if state["batch"] is None else Batch(**state["batch"])

    def _offer(self) -> Observation:
        """The rows of the batch, and rows of zeros."""
        assert self._batch is not None
        rows = self.instance.problem.offer(self._batch)
        return np.pad(rows, ((0, len(self.observation_space.low) - len(rows)), (0, 0)))  # type: ignore[attr-defined]


class MixRLTablesVectorEnv(SyncVectorEnv):
    """num_envs copies of `MixRLTablesEnv`, each with a table of its own; their regressors are trained on all cores at once.

    Args:
        num_envs: M.
        **arguments: as in `MixRLTablesEnv`.
    """

    def __init__(self, num_envs: int = 1, **arguments: Any) -> None:
        make = partial(MixRLTablesEnv, **arguments)
        super().__init__([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    def step(self, actions: Any) -> tuple[Any, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """See `gymnasium.vector.SyncVectorEnv.step`."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            tables = {env.unwrapped.next_table() for env in self.envs}  # type: ignore[attr-defined]
            made = pool.map(lambda table: instance(*table).problem.features, tables)  # of the next episodes, side by side
            list(pool.map(lambda env, action: env.unwrapped.train(action), self.envs, iterate(self.action_space, actions)))
            list(made)
        return super().step(actions)

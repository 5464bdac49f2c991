"""Plans that were tried on generated tables, kept in a folder: what one policy for all tables learns from, and is judged by."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch

from experiments.presets import SMALL_REGRESSOR
from mixrl import CreditRegression
from mixrl.credit_regression import Experience, mixed_by
from mixrl.files import write_bytes
from mixrl_env.data import FloatArray
from mixrl_env.datasets.generated import Part
from mixrl_env.many_tables import Instance
from mixrl_env.problem import MixingProblem
from mixrl_env.streams import stream

PLANS = (16, 8, 8)
"""Plans that are tried on each table: random ones, then twice what the policy proposes so far."""
MOST_ROWS = 256
"""Training rows of a table that are used, at most."""
REPEATS = 8
"""Regressors without and with mixing that are averaged where a plan is judged."""

Result = TypeVar("Result")
Done = Callable[[int], None]
"""Called with the number of tables that are done."""


@dataclass(frozen=True)
class TriedPlans:
    """What was tried on the training tables 0, 1, ...; a table that has its file is not tried again.

    Attributes:
        folder: of one file a table and round, TABLE-ROUND.npz.
        num_tables: how many tables.
    """

    folder: Path
    num_tables: int

    def add_round(self, number: int, agent: CreditRegression, plans: int, done: Done) -> None:
        """Try plans that the agent proposes on every table.

        Args:
            number: of the round, from 0 on; those before are complete.
            agent: proposes.
            plans: how many for each table.
            done: see `Done`.
        """

        def one(table_seed: int) -> None:
            if not self._read(table_seed, number):
                self._try(table_seed, number, agent, plans)

        for _ in side_by_side(one, range(self.num_tables), done):
            pass

    def experiences(self, rounds: int | None = None, tables: int | None = None) -> Iterator[Experience]:
        """Of each table, or the first so many, with the plans of the first rounds, or of all."""
        for table_seed in range(tables or self.num_tables):
            parts = [self._read(table_seed, number) for number in range(rounds or len(PLANS))]
            mixed, gains = (np.concatenate([part[name] for part in parts]) for name in ("mixed", "gains"))
            yield Experience(parts[0]["rows"], mixed, gains)

    def _try(self, table_seed: int, number: int, agent: CreditRegression, plans: int) -> None:
        own = Instance("training", table_seed, MOST_ROWS, SMALL_REGRESSOR, "plan")
        before = self._read(table_seed, 0) or {"rows": observed(own.problem), "loss": np.array(own.loss)}
        rows, rng = before["rows"], stream(table_seed, "plans to learn from", number)
        proposed = agent.propose(own.problem, rows, plans, rng)
        rngs = [stream(table_seed, "trainings to learn from", number, index) for index in range(plans)]
        losses, _ = own.losses([own.problem.augmented(plan, rng) for plan in proposed], rngs)
        buffer = io.BytesIO()
        kept = {"mixed": mixed_by(proposed, *rows.shape[:2]), "gains": 0.5 * np.log(before["loss"] / losses)} | (
            before if number == 0 else {}
        )
        np.savez_compressed(buffer, **kept)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(buffer.getvalue(), self._path(table_seed, number))

    def _read(self, table_seed: int, number: int) -> dict[str, npt.NDArray[Any]]:
        """Empty if there is no such file, or half of one."""
        try:
            with np.load(self._path(table_seed, number)) as stored:
                return dict(stored)
        except (FileNotFoundError, ValueError, BadZipFile):
            return {}

    def _path(self, table_seed: int, number: int) -> Path:
        return self.folder / f"{table_seed}-{number}.npz"


def learn(agent: CreditRegression, tried: TriedPlans, show: Callable[[str, int], Done]) -> None:
    """Try plans on every table, fit the agent to them, and so on; see `PLANS`.

    Args:
        agent: learns.
        tried: what is there already is not tried again.
        show: called with a few words and the number of the round; see `Done`.
    """
    for number, plans in enumerate(PLANS):
        tried.add_round(number, agent, plans, show(f"{plans} plans", number))
        agent.fit(tried.experiences(number + 1))


def observed(problem: MixingProblem) -> npt.NDArray[np.float32]:
    """Observation rows of every row with every option, shape (n, |N|, row size)."""
    return problem.observe(problem.every_row_and_option()).reshape(len(problem.x_train), len(problem.options), -1)


def judged(agents: Sequence[CreditRegression], part: Part, tables: int, done: Done) -> tuple[FloatArray, FloatArray]:
    """What policies promise on the tables 0, 1, ... of a part, and what their plans gain there, each (tables, agents)."""

    def judge(table_seed: int) -> tuple[list[float], FloatArray]:
        own = Instance(part, table_seed, MOST_ROWS, SMALL_REGRESSOR, "plan")
        plans, promised = zip(*(agent.plan(own.problem) for agent in agents), strict=True)
        return list(promised), own.gain(plans, REPEATS)

    promised, gains = zip(*side_by_side(judge, range(tables), done), strict=True)
    return np.array(promised), np.array(gains)


def side_by_side(work: Callable[[int], Result], table_seeds: Sequence[int], done: Done) -> Iterator[Result]:
    """Results in order, a thread for each core; what has not begun when the caller stops is not begun."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)  # threads inside of threads would wait for each other
    try:
        for number, result in enumerate(pool.map(work, table_seeds), 1):
            done(number)
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)

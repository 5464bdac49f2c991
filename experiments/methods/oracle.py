"""The oracle of a table of known truth: the best plan by kind of row, by true risk. A yardstick that reads test rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Choice, Trial
from mixrl_env import MixingProblem
from mixrl_env.datasets.known import KNOWN
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import plan_table
from mixrl_env.problem import Batch
from mixrl_env.streams import stream

_KS = (1, 4, 16)
_REPEATS = 3
"""Trainings of each plan."""


def augment(trial: Trial) -> Augmented:
    """Each kind of row takes nothing, one k of 1, 4 and 16 in one distance, or one k in both; the lowest true risk wins.

    The trainings are others than those of the final regressors.

    Raises:
        ValueError: on a table whose truth is not known.
    """
    data = trial.problem.data
    if data.name not in KNOWN:
        raise ValueError(f"the oracle needs a table of known truth ({', '.join(KNOWN)}), got {data.name}")
    assert data.x_test is not None
    assert data.y_test is not None
    options = tuple(NeighborOption(space, k) for space in ("data", "label") for k in _KS)
    problem = MixingProblem(data, replace(trial.problem.config, options=options))
    first = KNOWN[data.name].in_first(data.x_train)
    choices = [(), *((index,) for index in range(len(options))), *((at, at + len(_KS)) for at in range(len(_KS)))]
    plans, sets = list(product(choices, choices)), []
    batches = []
    for plan in plans:
        kinds = zip(plan, (first, ~first), strict=True)
        rows = [(row, option) for own, kind in kinds for option in own for row in np.flatnonzero(kind)]
        batches.append(Batch(*np.array(rows, dtype=np.int64).reshape(-1, 2).T))
        sets.append(problem.augmented(batches[-1], stream(trial.split_seed, "oracle")))
    trial.report(0, len(sets), f"measuring {len(sets)} plans")
    rngs = [stream(trial.split_seed, "oracle trainings", repeat) for _ in sets for repeat in range(_REPEATS)]
    fitted = problem.fit([own for own in sets for _ in range(_REPEATS)], rngs)
    predicted = fitted.predict(data.standardize_x(data.x_test)).reshape(len(sets), _REPEATS, *data.y_test.shape)
    risk = np.square(predicted - data.y_test).mean(axis=(1, 2, 3))
    best = int(np.argmin(risk))
    names = [" and ".join(f"{options[one].space} {options[one].k}" for one in own) or "nothing" for own in plans[best]]
    name = ", ".join(f"{group}: {what}" for group, what in zip(KNOWN[data.name].groups, names, strict=True))
    table = pd.DataFrame({"plan": range(len(plans)), "test_rmse": np.sqrt(risk)})
    tables = {"candidates": table, "plan": plan_table(problem, batches[best])}
    return Augmented([sets[best]], len(rngs), Choice((name,)), tables)

"""The plan that knows the noisy corner: a yardstick on the table noisy_corner, whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.methods.base import Augmented, Trial
from mixrl_env.datasets.known import KNOWN
from mixrl_env.plans import apply_plan
from mixrl_env.streams import stream

_K = 16


def augment(trial: Trial) -> Augmented:
    """Mix all rows outside of the noisy corner with their 16 nearest neighbours in both distances.

    Raises:
        ValueError: on any other table.
    """
    data = trial.problem.data
    if data.name != "noisy_corner":
        raise ValueError(f"the plan that knows the corner is one for noisy_corner, not for {data.name}")
    rows = np.flatnonzero(~KNOWN["noisy_corner"].in_first(data.x_train))
    plan = pd.concat([pd.DataFrame({"row": rows, "space": space, "k": _K}) for space in ("data", "label")])
    return Augmented([apply_plan(trial.problem, plan, stream(trial.split_seed, "known corner"))])

"""What a method of Table 2 is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.settings import Settings
from mixrl_env import MixingProblem
from mixrl_env.data import FloatArray

Report = Callable[[int, int, str], None]
"""Called with inner trainings done, inner trainings in all, and a few words."""


@dataclass(frozen=True)
class Cell:
    """One method on one split.

    Attributes:
        problem: the data, its neighbours and the regressor; methods may use training and validation rows only.
        settings: the preset.
        split_seed: which split; seeds everything random.
        folder: where the method may leave files for people to look at.
        report: tells how far the method is.
    """

    problem: MixingProblem
    settings: Settings
    split_seed: int
    folder: Path
    report: Report


@dataclass(frozen=True, eq=False)
class Augmented:
    """The training set that the final regressors are trained on.

    Attributes:
        x: standardised features, shape (n, d).
        y: labels in their own units, shape (n, e).
        trainings: inner trainings that were spent to find it.
        choice: what was chosen on the validation rows, in words.
    """

    x: FloatArray
    y: FloatArray
    trainings: int = 0
    choice: str = ""

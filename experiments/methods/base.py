"""What a method of Table 2 is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.settings import Settings
from mixrl_env import MixingProblem
from mixrl_env.regressor import TrainingSet

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
    """The training sets that the final regressors are trained on.

    Attributes:
        sets: pairs of standardised features (n, d) and labels (n, e) in their own units. Most methods have one for all final
            regressors; a policy that is sampled has one for each.
        trainings: inner trainings that were spent to find them.
        choice: what was chosen on the validation rows, in words.
    """

    sets: Sequence[TrainingSet]
    trainings: int = 0
    choice: str = ""

    @property
    def num_rows(self) -> int:
        """Rows of a set, on average."""
        return round(sum(len(x) for x, _ in self.sets) / len(self.sets))

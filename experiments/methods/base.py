"""What a method of Table 2 is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from experiments.presets import Settings
from experiments.runner.cells import Report, silent
from mixrl_env import MixingProblem
from mixrl_env.regressor import TrainingSet


@dataclass(frozen=True)
class Trial:
    """One method on one split.

    Attributes:
        problem: the data, its neighbours and the regressor; methods may use training and validation rows only.
        settings: the preset.
        split_seed: of the split; seeds everything random.
        report: shows how far the method is.
    """

    problem: MixingProblem
    settings: Settings
    split_seed: int
    report: Report = silent


@dataclass(frozen=True)
class Choice:
    """What a method chose on the validation rows.

    Attributes:
        plans: names of the candidate plans that were kept, the best first.
        parameters: numbers that were chosen, such as k or a bandwidth.
        agent: that learned, as `Settings.agent` names it; empty without one.
        converged: whether the agent stopped before its budget was spent.
    """

    plans: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    agent: str = ""
    converged: bool = False


@dataclass(frozen=True, eq=False)
class Augmented:
    """The training sets of the final regressors, and how they were found.

    Attributes:
        sets: pairs of standardised features (n, d) and labels (n, e) in their own units. Most methods have one for all final
            regressors; a policy that is sampled has one for each.
        trainings: inner trainings that were spent to find them.
        choice: what was chosen on the validation rows.
        tables: for people to look at, by name.
        files: other files, by name.
    """

    sets: Sequence[TrainingSet]
    trainings: int = 0
    choice: Choice = Choice()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows of a set, on average."""
        return round(sum(len(x) for x, _ in self.sets) / len(self.sets))

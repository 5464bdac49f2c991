"""No Augmentation: the labelled rows as they are."""

from __future__ import annotations

from experiments.methods.base import Augmented, Trial


def augment(trial: Trial) -> Augmented:
    """The training rows alone."""
    return Augmented([(trial.problem.x_train, trial.problem.data.y_train)])

"""No Augmentation: the labelled rows as they are."""

from __future__ import annotations

from experiments.methods.base import Augmented, Cell


def augment(cell: Cell) -> Augmented:
    """The training rows alone."""
    return Augmented([(cell.problem.x_train, cell.problem.data.y_train)])

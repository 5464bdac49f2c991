"""What a backend does: advance a stack of regressors, compute their losses, and remove the stopped ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mixrl_env.data import FloatArray, IntArray


@dataclass(frozen=True)
class NetworkShape:
    """A multi-layer perceptron with ReLUs.

    Attributes:
        sizes: inputs, nodes of each hidden layer, outputs.
        layer_norm: whether each hidden layer is normalised before its ReLU.
    """

    sizes: tuple[int, ...]
    layer_norm: bool

    def parameters(self) -> list[tuple[int, ...]]:
        """The shape of each parameter of one network, in the order that all stacks of weights have.

        For each layer its weight (inputs, outputs) and bias (1, outputs); hidden layers with layer norm add its gain and shift,
        each (1, outputs).
        """
        shapes: list[tuple[int, ...]] = []
        for layer, (inputs, outputs) in enumerate(pairwise(self.sizes)):
            shapes += [(inputs, outputs), (1, outputs)]
            if self.layer_norm and layer < len(self.sizes) - 2:
                shapes += [(1, outputs), (1, outputs)]
        return shapes

    def num_parameters(self) -> int:
        """Parameters of one network."""
        return sum(rows * outputs for rows, outputs in self.parameters())


class TrainingRows(NamedTuple):
    """Rows that minibatch indices point into: features (n, d) and labels (n, e)."""

    x: FloatArray
    y: FloatArray


class ValidationRows(NamedTuple):
    """Rows that losses are computed on: features (n, d), labels (n, e), and the weight of each target's squared error (e,)."""

    x: FloatArray
    y: FloatArray
    weights: FloatArray


class Stack(Protocol):
    """M regressors in training, each with its own Adam; all have done the same number of steps."""

    def advance(self, rows: IntArray, learning_rates: FloatArray) -> None:
        """One Adam step a minibatch; row indices (M, steps, batch) and the learning rate of each step (steps,)."""
        ...

    def losses(self) -> FloatArray:
        """Mean squared error of each regressor on the validation rows, weighted as `ValidationRows` says, shape (M,)."""
        ...

    def weights(self) -> list[Tensor]:
        """The current parameters, each (M, ...), as `NetworkShape.parameters` orders them; views, not copies."""
        ...

    def drop(self, stopped: npt.NDArray[np.bool_]) -> None:
        """Remove the regressors flagged in `stopped`; the state of the others does not change."""
        ...

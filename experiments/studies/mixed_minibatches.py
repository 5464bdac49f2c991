"""The training of C-Mixup on NO2 (Yao et al., NeurIPS 2022), many networks at once.

Networks see mixed rows alone, and every minibatch is mixed anew.
A way to mix is a matrix of chances: the probability that row j is drawn as the partner of row i. The identity mixes no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from mixrl_env import RegressorConfig
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.regressor import initial_weights

HIDDEN_SIZES, SLOPE = (128, 128), 0.1
EPOCHS, BATCH_SIZE, ALPHA = 100, 32, 2.0


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one training; networks that share them are compared paired.

    Attributes:
        initial: weights, see `mixrl_env.regressor.initial_weights`.
        rows: of the minibatches, shape (epochs, steps, batch).
        uniforms: which partner each row gets, in [0, 1), same shape; in single precision, so that adding a row's number does
            not round up to the next.
        lam: one mixing coefficient a minibatch, shape (epochs, steps).
    """

    initial: list[Tensor]
    rows: IntArray
    uniforms: npt.NDArray[np.float32]
    lam: FloatArray

    @classmethod
    def of(cls, num_rows: int, num_features: int, rng: np.random.Generator, dtype: str = "float32") -> Draws:
        """Draw all for a table; the rows of an epoch that fill no minibatch are left out, as in C-Mixup's code.

        Args:
            num_rows: n, at least `BATCH_SIZE`.
            num_features: d; there is one label.
            rng: where all is drawn from.
            dtype: of the weights and the training.
        """
        initial = initial_weights(num_features, 1, RegressorConfig(hidden_sizes=HIDDEN_SIZES, dtype=dtype), rng)
        shape = (EPOCHS, num_rows // BATCH_SIZE, BATCH_SIZE)
        orders = np.stack([rng.permutation(num_rows)[: shape[1] * BATCH_SIZE] for _ in range(EPOCHS)])
        return cls(initial, orders.reshape(shape), rng.random(shape, np.float32), rng.beta(ALPHA, ALPHA, shape[:2]))


def partners(chances: FloatArray, draws: Draws) -> IntArray:
    """The partner of every row of every minibatch, shape (epochs, steps, batch).

    Args:
        chances: shape (n, n); each row sums to 1.
        draws: rows, and a uniform number for each.
    """
    n = len(chances)
    upto = np.cumsum(chances, axis=1)
    upto[:, -1] = 1.0  # in spite of rounding
    sorted_once = (upto + np.arange(n)[:, None]).ravel()  # row i occupies (i, i + 1]
    found: IntArray = np.searchsorted(sorted_once, draws.rows + draws.uniforms, side="right") - n * draws.rows
    return found


def train(
    rows: tuple[FloatArray, FloatArray],
    validation: tuple[FloatArray, FloatArray],
    chances: Sequence[FloatArray],
    draws: Sequence[Draws],
    learning_rate: float,
) -> list[Tensor]:
    """Train S networks with Adam on the mean squared error of mixed rows; each keeps the weights of its best validation epoch.

    Args:
        rows: training features (n, d) and labels (n, 1).
        validation: features and labels.
        chances: of each network, shape (n, n).
        draws: of each network.
        learning_rate: of Adam.

    Returns:
        Stacked weights, weight (S, inputs, outputs) and bias (S, 1, outputs) of each layer.
    """
    params = [torch.cat(layer).requires_grad_() for layer in zip(*(one.initial for one in draws), strict=True)]
    dtype = params[0].dtype
    x, y, x_val, y_val = (torch.tensor(array, dtype=dtype) for array in (*rows, *validation))
    first = torch.tensor(np.stack([one.rows for one in draws]))
    second = torch.tensor(np.stack([partners(*pair) for pair in zip(chances, draws, strict=True)]))
    lam = torch.tensor(np.stack([one.lam for one in draws]), dtype=dtype)[..., None, None]
    optimizer = torch.optim.Adam(params, lr=learning_rate, fused=True)
    kept = [param.detach().clone() for param in params]
    lowest = torch.full((len(draws),), torch.inf, dtype=dtype)
    for epoch in range(first.shape[1]):
        i, j, weight = first[:, epoch], second[:, epoch], lam[:, epoch]
        x_mixed, y_mixed = (weight * array[i] + (1 - weight) * array[j] for array in (x, y))
        for step in range(i.shape[1]):
            optimizer.zero_grad()
            (_forward(params, x_mixed[:, step]) - y_mixed[:, step]).square().mean(dim=(1, 2)).sum().backward()
            optimizer.step()
        with torch.no_grad():
            loss = (_forward(params, x_val.expand(len(draws), -1, -1)) - y_val).square().mean(dim=(1, 2))
            better = loss < lowest
            lowest = torch.where(better, loss, lowest)
            for best, param in zip(kept, params, strict=True):
                best[better] = param[better]
    return kept


def predict(weights: Sequence[Tensor], x: FloatArray) -> FloatArray:
    """Outputs (S, n, 1) of S stacked networks for the same features (n, d)."""
    with torch.no_grad():
        features = torch.tensor(x, dtype=weights[0].dtype).expand(len(weights[0]), -1, -1)
        return _forward(weights, features).double().numpy()


def _forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    hidden = x
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        hidden = leaky_relu(torch.baddbmm(bias, hidden, weight), SLOPE)
    return torch.baddbmm(weights[-1], hidden, weights[-2])

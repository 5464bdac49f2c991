"""What the benchmarks compare with: the loop anyone would write, and the arithmetic alone."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mixrl_env import RegressorConfig
from mixrl_env.backends import NetworkShape
from mixrl_env.regressor import Minibatches
from mixrl_env.streams import data_stream, stream


class Size(NamedTuple):
    """A regressor of the paper and rows to train it on.

    Attributes:
        config: network and training.
        num_features, num_targets: columns.
        num_rows: training rows of one regressor; so many validation rows too.
        steps: optimiser steps that are timed at a time.
    """

    config: RegressorConfig
    num_features: int
    num_targets: int
    num_rows: int
    steps: int

    @property
    def shape(self) -> NetworkShape:
        """The network."""
        return self.config.shape(self.num_features, self.num_targets)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Random rows: what is learned does not matter for the time."""
        rng = data_stream(0)
        return rng.normal(size=(self.num_rows, self.num_features)), rng.normal(size=(self.num_rows, self.num_targets))


SIZES = {
    "NO2": Size(RegressorConfig(), 7, 1, 400, 300),
    "Synthetic": Size(RegressorConfig(hidden_sizes=(2048, 1024, 512, 256), layer_norm=True, batch_size=128), 226, 4, 800, 20),
}
"""Networks and batch sizes of Sec. 4 and App. B.1, with as many training rows as a batch with some of its rows mixed."""


class PlainLoop:
    """One torch.nn.Sequential with torch.optim.Adam."""

    def __init__(self, size: Size, device: str) -> None:
        self.size, self.device = size, device
        self.x, self.y = (torch.tensor(part, dtype=torch.float32, device=device) for part in size.rows())

    def __call__(self) -> None:
        """Train one network for the size's steps, with one validation check, as `fit_regressors` does."""
        config, rng = self.size.config, stream(0, "plain loop")
        network = sequential(self.size.shape).to(self.device)
        adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        for rows in torch.as_tensor(Minibatches(len(self.x), config.batch_size, rng).take(self.size.steps)):
            adam.zero_grad()
            nn.functional.mse_loss(network(self.x[rows]), self.y[rows]).backward()
            adam.step()
        with torch.no_grad():
            nn.functional.mse_loss(network(self.x), self.y).item()


def sequential(shape: NetworkShape) -> nn.Sequential:
    """The network in torch's own layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(shape.sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), *([nn.LayerNorm(outputs)] if shape.layer_norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(shape.sizes[-2], shape.sizes[-1]))


class Floor:
    """The matrix products of M training steps and one fused pass of Adam over the parameters, in torch, and nothing else."""

    def __init__(self, size: Size, count: int) -> None:
        batch, self.steps = size.config.batch_size, size.steps
        self.products = []
        for layer, (inputs, outputs) in enumerate(pairwise(size.shape.sizes)):
            x, weight, delta = (torch.randn(count, *shape) for shape in ((batch, inputs), (inputs, outputs), (batch, outputs)))
            self.products += [(x, weight, delta.clone()), (x.transpose(1, 2), delta, weight.clone())]
            if layer:
                self.products.append((delta, weight.transpose(1, 2), x.clone()))
        parameters = torch.randn(count * size.shape.num_parameters())
        parameters.grad = torch.randn_like(parameters)
        self.adam = torch.optim.Adam([parameters], fused=True)

    def __call__(self) -> None:
        """`steps` steps of M regressors."""
        for _ in range(self.steps):
            for left, right, out in self.products:
                torch.bmm(left, right, out=out)
            self.adam.step()

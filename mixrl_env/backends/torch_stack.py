"""The stack in torch: every layer of all regressors is one batched matrix product, and one fused Adam serves all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from mixrl_env.backends.base import NetworkShape, TrainingRows, ValidationRows
from mixrl_env.data import FloatArray, IntArray


class TorchStack:
    """Regressors whose parameters are stacked; works on every device.

    On CUDA a step is captured as a graph, so that the launches of its many small kernels do not set the pace. A stack that has
    become smaller is captured again.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        shape: NetworkShape,
        train: TrainingRows,
        val: ValidationRows,
        device: torch.device,
    ) -> None:
        dtype = weights[0].dtype
        self.shape, self.device = shape, device
        self.train = [torch.tensor(a, dtype=dtype, device=device) for a in train]
        self.val = [torch.tensor(a, dtype=dtype, device=device) for a in val]
        self.params = [weight.to(device, copy=True).requires_grad_() for weight in weights]
        self.optimizer = self._adam(self.params)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.empty(0)

    def advance(self, rows: IntArray, learning_rates: FloatArray) -> None:
        """See `Stack`."""
        for minibatch, rate in zip(torch.as_tensor(rows, device=self.device).unbind(1), learning_rates, strict=True):
            self._set_rate(float(rate))
            if self._graph is None and self.device.type == "cuda" and self.optimizer.state:
                self._capture(minibatch)
            if self._graph is None:
                self._step(minibatch)
            else:
                self._rows.copy_(minibatch)
                self._graph.replay()

    def losses(self) -> FloatArray:
        """See `Stack`."""
        x, y, weights = self.val
        count = len(self.params[0])
        with torch.no_grad():
            squared = self._squared_errors(x.expand(count, -1, -1), y.expand(count, -1, -1))
            return (weights * squared).mean(dim=(1, 2)).double().cpu().numpy()

    def weights(self) -> list[Tensor]:
        """See `Stack`."""
        return [param.detach() for param in self.params]

    def drop(self, stopped: npt.NDArray[np.bool_]) -> None:
        """See `Stack`."""
        keep = torch.as_tensor(~stopped, device=self.device)
        smaller = [param.detach()[keep].requires_grad_() for param in self.params]
        successor = self._adam(smaller)
        for old, new in zip(self.params, smaller, strict=True):
            moments = self.optimizer.state[old]
            successor.state[new] = {name: value if name == "step" else value[keep] for name, value in moments.items()}
        self.params, self.optimizer, self._graph = smaller, successor, None

    def _step(self, rows: Tensor) -> None:
        x, y = self.train
        self.optimizer.zero_grad()
        self._squared_errors(x[rows], y[rows]).mean(dim=(1, 2)).sum().backward()
        self.optimizer.step()

    def _capture(self, rows: Tensor) -> None:
        """Record one step on minibatches that lie in self._rows; nothing is executed."""
        self._rows, self._graph = rows.clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step(self._rows)

    def _squared_errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Of each network for its own rows, shape (M, n, e)."""
        return (forward(self.params, x, self.shape) - y).square()

    def _adam(self, params: list[Tensor]) -> torch.optim.Adam:
        on_cuda = self.device.type == "cuda"
        rate = torch.zeros((), device=self.device) if on_cuda else 0.0  # a captured step reads the rate from the device
        return torch.optim.Adam(params, lr=rate, fused=True, capturable=on_cuda)

    def _set_rate(self, rate: float) -> None:
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def forward(weights: Sequence[Tensor], x: Tensor, shape: NetworkShape) -> Tensor:
    """Outputs (M, n, e) of M stacked networks for features (M, n, d)."""
    remaining = iter(weights)
    hidden = x
    for size in shape.sizes[1:-1]:
        hidden = _linear(hidden, remaining)
        if shape.layer_norm:
            gain, shift = next(remaining), next(remaining)
            hidden = layer_norm(hidden, (size,)) * gain + shift
        hidden = torch.relu(hidden)
    return _linear(hidden, remaining)


def _linear(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    """One layer of all M networks: (M, n, inputs) -> (M, n, outputs)."""
    weight, bias = next(weights), next(weights)
    return torch.baddbmm(bias, x, weight)

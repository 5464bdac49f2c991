"""The stack in C: every regressor is trained by itself, on one core, many minibatches at a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mixrl_env.backends.base import NetworkShape, TrainingRows, ValidationRows
from mixrl_env.backends.compiler import load_kernel
from mixrl_env.data import FloatArray, IntArray


class NativeStack:
    """Regressors whose weights and Adam moments are one row each of three tables (M, parameters with padding).

    A regressor's numbers depend neither on the others of the stack nor on the number of threads, which is torch's.

    Raises:
        KernelUnavailableError: without a C compiler.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        shape: NetworkShape,
        train: TrainingRows,
        val: ValidationRows,
    ) -> None:
        self.shape, self.steps = shape, 0
        dtype = weights[0].dtype
        self.kernel = load_kernel(str(dtype).removeprefix("torch."))
        self.sizes = np.array(shape.sizes, dtype=np.int64)
        self.train, self.val = (
            [torch.tensor(a, dtype=dtype).contiguous() for a in rows[:2]]
            for rows in (train, val)  # columns may come first
        )
        self.weights_of_targets = np.ascontiguousarray(val.weights, dtype=np.float64)
        size = sum(rows * self.kernel.kernel_stride(outputs) for rows, outputs in shape.parameters())
        self.params = torch.zeros(len(weights[0]), size, dtype=dtype)
        self.moment1, self.moment2 = torch.zeros_like(self.params), torch.zeros_like(self.params)
        for view, weight in zip(self.weights(), weights, strict=True):
            view.copy_(weight)

    def advance(self, rows: IntArray, learning_rates: FloatArray) -> None:
        """See `Stack`."""
        rows, rates = np.ascontiguousarray(rows, dtype=np.int64), np.ascontiguousarray(learning_rates, dtype=np.float64)
        _, steps, batch = rows.shape
        x, y = (table.data_ptr() for table in self.train)

        def train(m: int) -> float:
            state = [self.params[m].data_ptr(), self.moment1[m].data_ptr(), self.moment2[m].data_ptr()]
            status: int = self.kernel.kernel_train(
                *self._network(), *state, x, y, rows[m].ctypes.data, steps, batch, self.steps, rates.ctypes.data
            )
            if status:
                raise MemoryError("no memory for the activations of a regressor")
            return 0.0

        self._for_each(train)
        self.steps += steps

    def losses(self) -> FloatArray:
        """See `Stack`."""
        x, y = (table.data_ptr() for table in self.val)
        targets = self.weights_of_targets.ctypes.data

        def loss(m: int) -> float:
            of_one: float = self.kernel.kernel_loss(
                *self._network(), self.params[m].data_ptr(), x, y, targets, len(self.val[0])
            )
            return of_one

        return np.array(self._for_each(loss))

    def weights(self) -> list[Tensor]:
        """See `Stack`."""
        views, first = [], 0
        for rows, outputs in self.shape.parameters():
            stride = self.kernel.kernel_stride(outputs)
            table = self.params[:, first : first + rows * stride].unflatten(1, (rows, stride))
            views.append(table[:, :, :outputs])
            first += rows * stride
        return views

    def drop(self, stopped: npt.NDArray[np.bool_]) -> None:
        """See `Stack`."""
        keep = torch.as_tensor(~stopped)
        self.params, self.moment1, self.moment2 = self.params[keep], self.moment1[keep], self.moment2[keep]

    def _network(self) -> tuple[int, int, int]:
        return self.sizes.ctypes.data, len(self.sizes) - 1, int(self.shape.layer_norm)

    def _for_each(self, work: Callable[[int], float]) -> list[float]:
        """work(m) for each regressor, on all of torch's threads."""
        if (threads := min(torch.get_num_threads(), len(self.params))) == 1:  # fifty steps take as long as starting a thread
            return [work(m) for m in range(len(self.params))]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, range(len(self.params))))

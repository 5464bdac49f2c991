"""The inner regressor f_phi: M multi-layer perceptrons trained side by side, each with its own rows and its own early stop.

Each regressor has its own minibatch stream; one that has stopped leaves the stack and costs nothing more. How a stack takes a
step is up to its backend: torch, or a C kernel that trains the same networks faster on CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mixrl_env.backends import (
    NativeStack,
    NetworkShape,
    Stack,
    TorchStack,
    TrainingRows,
    ValidationRows,
    forward,
    kernel_problem,
    stack_size,
)
from mixrl_env.checks import check_types
from mixrl_env.data import FloatArray, IntArray, LabelScale

TrainingSet = tuple[FloatArray, FloatArray]
"""Standardised features (n, d) and labels (n, e) in label units."""
Schedule = Literal["constant", "annealed"]
"""How the learning rate changes over a training."""


@dataclass(frozen=True)
class RegressorConfig:
    """How a regressor is built and trained (Sec. 4, App. B.1). The defaults are the paper's for NO2.

    Attributes:
        hidden_sizes: nodes of each hidden layer.
        layer_norm: whether each hidden layer is normalised before its ReLU.
        learning_rate: of Adam.
        schedule: "constant", as in the paper, or "annealed": the learning rate falls to nearly zero over max_steps, which
            removes the noise of the last steps from the loss at the end; see `annealed_share`.
        batch_size: rows of a minibatch.
        eval_every: optimiser steps between two validation checks.
        patience: checks without a new lowest validation loss after which training stops; the weights of the lowest are kept.
            None trains for exactly max_steps and keeps the last weights.
        max_steps: most optimiser steps of a training.
        dtype: "float32" or "float64".
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        backend: "torch", "native" (the C kernel; needs a CPU and a C compiler) or "auto" (native where it works, else torch).
            Both take the same steps; their numbers differ by rounding.
        max_stack: most regressors that are trained at once; None chooses by cores, cache and device.

    Raises:
        ValueError: for a value out of its range, or a backend that does not work here.
    """

    hidden_sizes: tuple[int, ...] = (512, 256)
    layer_norm: bool = False
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"
    batch_size: int = 32
    eval_every: int = 50
    patience: int | None = 20
    max_steps: int = 20_000
    dtype: str = "float32"
    device: str = "auto"
    backend: Literal["auto", "native", "torch"] = "auto"
    max_stack: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.hidden_sizes, Sequence):
            raise ValueError(f"RegressorConfig.hidden_sizes must be a list of whole numbers, got {self.hidden_sizes!r}")
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))  # a list, as JSON has it, is welcome
        counts = {"batch_size": self.batch_size, "eval_every": self.eval_every, "max_steps": self.max_steps}
        counts |= {f"hidden_sizes[{layer}]": size for layer, size in enumerate(self.hidden_sizes)}
        if self.patience is not None:
            counts["patience"] = self.patience
        if self.max_stack is not None:
            counts["max_stack"] = self.max_stack
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"RegressorConfig.{name} must be a whole number of at least 1, got {value!r}")
        check_types(self)
        if not 0 < self.learning_rate < np.inf:
            raise ValueError(f"RegressorConfig.learning_rate must be positive, got {self.learning_rate!r}")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"RegressorConfig.schedule must be 'constant' or 'annealed', got {self.schedule!r}")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"RegressorConfig.dtype must be 'float32' or 'float64', got {self.dtype!r}")
        if self.backend not in ("auto", "native", "torch"):
            raise ValueError(f"RegressorConfig.backend must be 'auto', 'native' or 'torch', got {self.backend!r}")
        resolve_device(self.device)
        if self.backend == "native" and (problem := self._native_problem()):
            raise ValueError(f"RegressorConfig.backend 'native' does not work here: {problem}; use 'auto' or 'torch'")

    def shape(self, num_features: int, num_targets: int) -> NetworkShape:
        """The network for rows of so many features and targets."""
        return NetworkShape((num_features, *self.hidden_sizes, num_targets), self.layer_norm)

    def learning_rates(self, first: int, count: int) -> FloatArray:
        """Of `count` optimiser steps from step `first` on, counted from 0, shape (count,)."""
        if self.schedule == "constant":
            return np.full(count, self.learning_rate)
        return self.learning_rate * annealed_share((np.arange(first, first + count) + 0.5) / self.max_steps)

    def resolve_backend(self) -> Literal["native", "torch"]:
        """The backend that trains: "auto" is native where it works."""
        if self.backend == "auto":
            return "torch" if self._native_problem() else "native"
        return self.backend

    def _native_problem(self) -> str | None:
        device = resolve_device(self.device)
        if device.type != "cpu":
            return f"the kernel trains on the CPU, not on {device}"
        return kernel_problem(self.dtype, len(self.hidden_sizes) + 1)


@dataclass(frozen=True, eq=False)
class FittedRegressors:
    """M trained regressors.

    Attributes:
        weights: stacked parameters, each of shape (M, ...), as `initial_weights` orders them.
        val_loss: mean squared error on the validation rows for the kept weights, shape (M,), label units squared.
        labels: between the labels that the networks predict and label units.
        train_steps: optimiser steps spent, shape (M,).
        kept_steps: optimiser steps after which the kept weights were reached, shape (M,).
        diverged: whether a validation loss was not finite, shape (M,).
        config: what they were trained with.
    """

    weights: list[Tensor]
    val_loss: FloatArray
    train_steps: IntArray
    kept_steps: IntArray
    diverged: np.ndarray
    config: RegressorConfig
    labels: LabelScale

    def predict(self, x: FloatArray) -> FloatArray:
        """Predictions of every regressor for the same rows: features (n, d) in, labels (M, n, e) in label units out."""
        with torch.no_grad():
            rows = torch.tensor(x, dtype=self.weights[0].dtype, device=self.weights[0].device)
            shape = self.config.shape(x.shape[1], self.weights[-1].shape[-1])
            outputs = forward(self.weights, rows.expand(len(self.val_loss), -1, -1), shape).double().cpu().numpy()
        return self.labels.to_labels(outputs)

    def one(self, m: int) -> FittedRegressors:
        """Regressor m alone, with weights of its own: the others can be forgotten."""
        weights, own = [weight[m : m + 1].clone() for weight in self.weights], slice(m, m + 1)
        return FittedRegressors(
            weights,
            self.val_loss[own],
            self.train_steps[own],
            self.kept_steps[own],
            self.diverged[own],
            self.config,
            self.labels,
        )


def resolve_device(device: str) -> torch.device:
    """The torch device of a name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: for a name torch does not know, or CUDA where there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {device!r}; use 'auto', 'cpu' or 'cuda'") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    return resolved


def initial_weights(num_features: int, num_targets: int, config: RegressorConfig, rng: np.random.Generator) -> list[Tensor]:
    """Fresh weights of one regressor, distributed as in torch.nn.Linear: uniform within 1 / sqrt(fan in).

    Returns:
        For each layer its weight (1, inputs, outputs) and bias (1, 1, outputs); hidden layers with layer norm add its gain
        and shift, each (1, 1, outputs).
    """
    dtype = getattr(torch, config.dtype)
    weights = []
    sizes = (num_features, *config.hidden_sizes, num_targets)
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        bound = fan_in**-0.5
        for shape in ((1, fan_in, fan_out), (1, 1, fan_out)):
            weights.append(torch.as_tensor(rng.uniform(-bound, bound, shape), dtype=dtype))
        if config.layer_norm and layer < len(config.hidden_sizes):
            weights += [torch.ones(1, 1, fan_out, dtype=dtype), torch.zeros(1, 1, fan_out, dtype=dtype)]
    return weights


def annealed_share(progress: FloatArray) -> FloatArray:
    """The share of the learning rate at a point of an annealed training: 1 at its beginning, nearly 0 at its end.

    Args:
        progress: from 0 to 1.
    """
    share: FloatArray = 0.5 * (1 + np.cos(np.pi * progress))
    return share


class Minibatches:
    """Row indices of one regressor's minibatches, without end: slices of one shuffled epoch after the other.

    Every minibatch is full; one that meets the end of an epoch goes on with the next.
    """

    def __init__(self, num_rows: int, batch_size: int, rng: np.random.Generator) -> None:
        self.num_rows, self.batch_size, self._rng = num_rows, batch_size, rng
        self._queue = np.empty(0, dtype=np.int64)

    def take(self, count: int) -> IntArray:
        """The next minibatches, shape (count, batch_size)."""
        missing = count * self.batch_size - len(self._queue)
        epochs = [self._rng.permutation(self.num_rows) for _ in range(-(-missing // self.num_rows))]
        queue = np.concatenate([self._queue, *epochs])
        taken, self._queue = np.split(queue, [count * self.batch_size])
        return taken.reshape(count, self.batch_size)


def fit_regressors(
    train_sets: Sequence[TrainingSet],
    x_val: FloatArray,
    y_val: FloatArray,
    config: RegressorConfig,
    rngs: Sequence[np.random.Generator],
    initial: Sequence[list[Tensor] | None] | None = None,
    labels: LabelScale | None = None,
) -> FittedRegressors:
    """Train M regressors with Adam on the mean squared error, as many at once as `config.max_stack` says.

    Args:
        train_sets: M pairs of features (n_m, d) and labels (n_m, e) in label units; the n_m may differ.
        x_val: validation features, shape (n_val, d).
        y_val: validation labels, shape (n_val, e), in label units.
        config: network and training.
        rngs: M generators: each draws its regressor's initial weights (unless given), then its minibatches.
        initial: M lists as from `initial_weights`, on any device, to start from a pre-trained state; None draws fresh weights.
        labels: the networks are trained on labels standardised by it; losses and predictions stay in label units. None trains
            on labels as they are.

    Raises:
        ValueError: if a training set is empty, or the device is not there.
    """
    if not train_sets or len(rngs) != len(train_sets):
        raise ValueError(
            f"fit_regressors needs a training set or more, and a generator for each: {len(train_sets)}, {len(rngs)}"
        )
    if any((x.shape[1], y.shape[1]) != (x_val.shape[1], y_val.shape[1]) for x, y in train_sets):
        raise ValueError("training and validation rows must have as many features, and as many targets")
    if min(len(x) for x, _ in train_sets) < 1:
        raise ValueError("every training set needs at least one row")
    labels = LabelScale.identity(y_val.shape[1]) if labels is None else labels
    starts = [
        initial_weights(x_val.shape[1], y_val.shape[1], config, rng) if given is None else given
        for given, rng in zip(initial or [None] * len(rngs), rngs, strict=True)
    ]
    at_once = config.max_stack or stack_size(
        config.shape(x_val.shape[1], y_val.shape[1]),
        getattr(torch, config.dtype).itemsize,
        config.resolve_backend(),
        resolve_device(config.device),
    )
    stacks = [
        _fit_stack(train_sets[m : m + at_once], x_val, y_val, config, rngs[m : m + at_once], starts[m : m + at_once], labels)
        for m in range(0, len(train_sets), at_once)
    ]
    return FittedRegressors(
        [torch.cat(parts) for parts in zip(*(stack.weights for stack in stacks), strict=True)],
        np.concatenate([stack.val_loss for stack in stacks]),
        np.concatenate([stack.train_steps for stack in stacks]),
        np.concatenate([stack.kept_steps for stack in stacks]),
        np.concatenate([stack.diverged for stack in stacks]),
        config,
        labels,
    )


def _fit_stack(
    train_sets: Sequence[TrainingSet],
    x_val: FloatArray,
    y_val: FloatArray,
    config: RegressorConfig,
    rngs: Sequence[np.random.Generator],
    initial: Sequence[list[Tensor]],
    labels: LabelScale,
) -> FittedRegressors:
    """Train M regressors together; see `fit_regressors`."""
    dtype, device = getattr(torch, config.dtype), resolve_device(config.device)
    weights = [torch.cat([w.to(device, dtype) for w in stack]) for stack in zip(*initial, strict=True)]

    # All training rows in one table; regressor m's rows start at offset[m].
    sizes = [len(x) for x, _ in train_sets]
    offset = np.cumsum([0, *sizes[:-1]])
    x, y = (np.concatenate(tables) for tables in zip(*train_sets, strict=True))
    streams = [Minibatches(size, config.batch_size, rng) for size, rng in zip(sizes, rngs, strict=True)]
    # Losses in label units: targets weigh as their variances do. The largest is left out: single precision ends at 1e38.
    largest = labels.scale.max()
    val = ValidationRows(x_val, labels.to_standard(y_val), np.square(labels.scale / largest))
    stack = make_stack(weights, TrainingRows(x, labels.to_standard(y)), val, config)

    count = len(train_sets)
    kept = [w.clone() for w in stack.weights()]
    val_loss = np.full(count, np.inf)
    train_steps, kept_steps = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    diverged = np.zeros(count, dtype=bool)
    checks_since_best = np.zeros(count, dtype=np.int64)
    active = np.arange(count)  # which regressor each slice of the stack is
    step = 0
    while len(active):
        chunk = min(config.max_steps - step, config.eval_every)
        stack.advance(np.stack([streams[m].take(chunk) + offset[m] for m in active]), config.learning_rates(step, chunk))
        step += chunk
        train_steps[active] = step
        last_check = step == config.max_steps
        if config.patience is None and not last_check:
            continue

        loss = np.square(largest) * stack.losses()
        better = loss < val_loss[active] if config.patience else np.full(len(active), True)
        checks_since_best[active] = np.where(better, 0, checks_since_best[active] + 1)
        diverged[active] |= ~np.isfinite(loss)
        val_loss[active[better]], kept_steps[active[better]] = loss[better], step
        for keep, weight in zip(kept, stack.weights(), strict=True):
            keep[active[better]] = weight[better]

        stopped = diverged[active] | last_check
        if config.patience is not None:
            stopped |= checks_since_best[active] >= config.patience
        active = active[~stopped]
        if stopped.any() and len(active):
            stack.drop(stopped)
    return FittedRegressors(kept, val_loss, train_steps, kept_steps, diverged, config, labels)


def make_stack(weights: list[Tensor], train: TrainingRows, val: ValidationRows, config: RegressorConfig) -> Stack:
    """The stack on the backend of the config; see `RegressorConfig.resolve_backend`."""
    shape = config.shape(train.x.shape[1], train.y.shape[1])
    if config.resolve_backend() == "native":
        return NativeStack(weights, shape, train, val)
    return TorchStack(weights, shape, train, val, resolve_device(config.device))

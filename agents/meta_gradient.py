"""Credit by differentiation: how the validation loss changes with the weight of every mixed row (ours, not the paper's).

The other agents see one number a training, the reward. This one looks behind the environment, at `mixrl_env.MixingProblem`: it
trains the regressors itself, with every row that any mask could add, each weighed by p of the row it comes from, and
differentiates the validation loss through the last few optimiser steps to h_theta, as in learning to reweight (Ren et al. 2018)
and truncated back-propagation (Shaban et al. 2019). It works for this environment only, and knows the regressor's optimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mixrl.checkpoint import Checkpoints
from mixrl.training import AnyEnv, Learner, ProgressCallback, Run, check_budget, problem_of, update_metrics
from mixrl.value_network import ValueNetwork
from mixrl_env import MixingProblem
from mixrl_env.backends import forward
from mixrl_env.checks import check_types
from mixrl_env.regressor import initial_weights, resolve_device
from mixrl_env.streams import stream, torch_stream

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, torch's defaults


@dataclass(frozen=True)
class MetaGradientConfig:
    """Settings of `MetaGradient`.

    Attributes:
        learning_rate: of h_theta, whose every update follows the gradient through one stretch of steps.
        unroll: optimiser steps of the regressor that the validation loss is differentiated through.
        batch_size: rows of the regressor's minibatches.
        cost: what a training counts as in the budget. 8 is the CPU time of one on NO2 in that of a plain training in torch: its
            minibatches are twice as large, and the gradient of a gradient costs more than the gradient. The C kernel's plain
            trainings are faster still.
        hidden_sizes: nodes of the hidden layers of h_theta.
        device: where everything lives: "auto", "cpu", "cuda", ...

    Raises:
        ValueError: for a value out of its range.
    """

    learning_rate: float = 1e-3
    unroll: int = 10
    batch_size: int = 64
    cost: int = 8
    hidden_sizes: tuple[int, ...] = (64, 64)
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.learning_rate < np.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for name in ("unroll", "batch_size", "cost"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class MetaGradient(Learner[MetaGradientConfig]):
    """h_theta by the gradient of the validation loss through the regressor's own optimiser steps.

    Attributes:
        network: h_theta; None before `learn`.
        trainings: inner trainings that `learn` has spent, as `MetaGradientConfig.cost` counts them.
    """

    config_type = MetaGradientConfig
    network: ValueNetwork | None = None

    def learn(
        self, envs: AnyEnv, num_trainings: int, callback: ProgressCallback | None = None, checkpoints: Checkpoints | None = None
    ) -> Self:
        """Train num_trainings / cost regressors, rounded down to whole stacks of num_envs; see `mixrl.training.Agent`.

        The environments are not stepped: their problem, and how many they are, is all that is used. The callback is called
        after every stack.

        Raises:
            ValueError: if the environments are not MixRL's or train to an early stop, or the budget is below one stack.
        """
        config, problem, m = self.config, problem_of(envs), getattr(envs, "num_envs", 1)
        steps = problem.config.step_budget
        if steps is None:
            raise ValueError("MetaGradient needs trainings of known length; give the environment a step_budget, such as 300")
        check_budget(num_trainings, m * config.cost)
        device, rng = resolve_device(config.device), stream(self.seed, "meta-gradient")
        batch = problem.observe(problem.sample_batch(rng))
        generator = torch_stream(self.seed, "meta-gradient weights")
        self.network = h = ValueNetwork(batch.shape[-1], config.hidden_sizes, generator).to(device)
        adam = torch.optim.Adam(h.parameters(), lr=config.learning_rate)
        self.trainings = 0
        run = Run(self, envs, num_trainings, callback, checkpoints, m * config.cost, rng=rng, h=h, adam=adam)
        while run.left:
            training = _SoftTraining(problem, m, config.batch_size, rng, device)
            for done in range(0, steps, config.unroll):
                logits = h(training.offered)
                loss = training.advance(torch.sigmoid(logits), min(config.unroll, steps - done))
                if not bool(torch.isfinite(loss).all()):
                    break  # a training that diverges teaches nothing
                adam.zero_grad()
                loss.mean().backward()
                adam.step()
                training.forget()
            val_loss = np.nan_to_num(training.unit * loss.detach().double().cpu().numpy(), nan=np.inf)
            val_loss = val_loss.clip(max=problem.diverged_loss)
            logits = logits.detach().cpu()
            metrics = update_metrics(
                logits, torch.sigmoid(logits), -problem.config.reward_scale * val_loss, {"val_rmse": np.sqrt(val_loss)}
            )
            run.end_update(metrics)
        return self

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """h_theta of each observation row; see `mixrl.training.Agent`.

        Raises:
            RuntimeError: before `learn`.
        """
        if self.network is None:
            raise RuntimeError("call learn() before probabilities()")
        return torch.sigmoid(self.network.logits(rows)).numpy()


class _SoftTraining:
    """m regressors in training on their batches and on all rows that mixing could add, these weighed by p.

    Attributes:
        offered: the observed batches, shape (m, B, row size).
        unit: what the losses of `advance` are multiplied by for label units squared.
    """

    def __init__(self, problem: MixingProblem, m: int, batch_size: int, rng: np.random.Generator, device: torch.device) -> None:
        config, data = problem.config.regressor, problem.data
        self._rate, self._batch_size, self._rng = config.learning_rate, batch_size, rng
        self._shape = config.shape(problem.x_train.shape[1], data.y_train.shape[1])
        dtype, labels = getattr(torch, config.dtype), problem.labels
        batches = [problem.sample_batch(rng) for _ in range(m)]
        self.offered = torch.as_tensor(np.stack([problem.observe(batch) for batch in batches]), device=device)

        # All rows in one table, with labels as the regressors are trained on them. An own row of a batch has weight 1, a mixed
        # one the p of its owner, counted over all batches.
        parts = []
        always = m * problem.num_rows
        for i, batch in enumerate(batches):
            x, y = problem.mix(batch.rows, batch.options, rng)
            of_row, _ = problem.neighbors.pairs(batch.rows, batch.options)
            owner = i * problem.num_rows + np.searchsorted(batch.rows, of_row)  # a row's place in its batch
            parts += [(problem.x_train[batch.rows], data.y_train[batch.rows], np.full(problem.num_rows, always)), (x, y, owner)]
        x, y, owner = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        self._x, self._y = (torch.tensor(a, dtype=dtype, device=device) for a in (x, labels.to_standard(y)))
        self._owner = torch.as_tensor(owner, device=device)
        self._sizes = np.array([len(own[0]) + len(mixed[0]) for own, mixed in zip(parts[::2], parts[1::2], strict=True)])
        val = (problem.x_val, labels.to_standard(data.y_val))
        self._val = [torch.tensor(a, dtype=dtype, device=device).expand(m, -1, -1) for a in val]
        # Losses in label units: targets weigh as their variances do. The largest is left out: single precision ends at 1e38.
        self.unit = float(np.square(labels.scale.max()))
        self._of_target = torch.tensor(np.square(labels.scale) / self.unit, dtype=dtype, device=device)

        start = problem.pretrained_weights
        if start is None:
            drawn = [initial_weights(x.shape[1], y.shape[1], config, rng) for _ in range(m)]
            self._weights = [torch.cat(stack).to(device) for stack in zip(*drawn, strict=True)]
        else:
            self._weights = [weight.to(device).expand(m, *weight.shape[1:]).clone() for weight in start]
        self._first = [torch.zeros_like(weight) for weight in self._weights]  # moments of Adam
        self._second = [torch.zeros_like(weight) for weight in self._weights]
        self._step = 0

    def advance(self, p: Tensor, steps: int) -> Tensor:
        """Take Adam steps; the validation losses (m,), times `unit`, depend on p (m, B) through each of them."""
        weight_of = torch.cat([p.flatten(), p.new_ones(1)]).to(self._x.dtype)
        offset = np.cumsum([0, *self._sizes[:-1]])[:, None]
        for weight in self._weights:
            weight.requires_grad_()
        for _ in range(steps):
            drawn = self._rng.integers(self._sizes[:, None], size=(len(p), self._batch_size)) + offset
            rows = torch.as_tensor(drawn, device=p.device)
            error = (forward(self._weights, self._x[rows], self._shape) - self._y[rows]).square().mean(dim=-1)
            weight = weight_of[self._owner[rows]]
            loss = (weight * error).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)
            self._adam(torch.autograd.grad(loss.sum(), self._weights, create_graph=True))
        x, y = self._val
        return (self._of_target * (forward(self._weights, x, self._shape) - y).square()).mean(dim=(1, 2))

    def _adam(self, gradients: tuple[Tensor, ...]) -> None:
        """One step; that the second moment depends on p, too, is left out: it sets the pace, not the direction."""
        self._step += 1
        for i, gradient in enumerate(gradients):
            self._first[i] = _BETAS[0] * self._first[i] + (1 - _BETAS[0]) * gradient
            self._second[i] = _BETAS[1] * self._second[i] + (1 - _BETAS[1]) * gradient.detach().square()
            scale = (self._second[i] / (1 - _BETAS[1] ** self._step)).sqrt() + _EPSILON
            self._weights[i] = self._weights[i] - self._rate / (1 - _BETAS[0] ** self._step) * self._first[i] / scale

    def forget(self) -> None:
        """Go on from here as from constants."""
        self._weights, self._first = [w.detach() for w in self._weights], [g.detach() for g in self._first]

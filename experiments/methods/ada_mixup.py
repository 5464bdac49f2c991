"""AdaMixUp, 2-fold, for regression: learn with which lambda mixed rows do not intrude on real ones (Guo et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from experiments.methods.base import Augmented, Choice, Trial
from experiments.methods.peers import generators, with_mixed
from mixrl_env import RegressionData, RegressorConfig
from mixrl_env.backends import forward
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.regressor import Minibatches, initial_weights, resolve_device

_POLICY = RegressorConfig(hidden_sizes=(128, 64))  # only its network; the regressor's config says how both are trained


def augment(trial: Trial) -> Augmented:
    """The training rows and one mixed row for each of their n (n - 1) / 2 pairs, each pair with the lambda learned for it.

    The original's regressor is the one trained with the policy; here that one is given up, and the final regressors are trained
    on the pairs with their frozen lambda (as App. B.4 of the paper freezes it), like those of all methods.
    """
    i, j, lam, found = learned_lam(trial)
    return Augmented([with_mixed(trial.problem, i, j, lam)], 1, Choice(parameters=found))


def learned_lam(trial: Trial) -> tuple[IntArray, IntArray, FloatArray, dict[str, float]]:
    """Train the policy region generator and draw a lambda for every pair of training rows, once and for all.

    Returns:
        All pairs i < j; the lambda of each, the share of row i, all of shape (n (n - 1) / 2,); and how the training went: its
        joint steps, and how far lambda is from 1/2, the mean of |2 lambda - 1|.
    """
    problem = trial.problem
    rng = generators(trial)[0]
    trial.report(0, 1, "training the policy region")
    policy = fit_policy(problem.data, problem.config.regressor, rng)
    i, j = np.triu_indices(len(problem.x_train), k=1)
    lam = policy.draw_lam(problem.x_train[i], problem.x_train[j], rng)
    extreme = float(np.abs(lam - 0.5).mean() * 2)
    return i, j, lam, {"joint_steps": policy.train_steps, "extreme_lambda": extreme}


@dataclass(frozen=True, eq=False)
class PolicyRegion:
    """The policy region generator: which lambda a pair may be mixed with.

    Attributes:
        weights: of the network, as `mixrl_env.regressor.initial_weights` orders them.
        val_loss: mean squared error of the regressor trained with it, standardised labels squared.
        train_steps: optimiser steps of the joint training.
    """

    weights: list[Tensor]
    val_loss: float = np.inf
    train_steps: int = 0

    def bounds(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The region [a, a + b] of pairs that are shown to the network as x, shape (p, d); both of shape (p,), in [0, 1]."""
        with torch.no_grad():
            a, b = region(self.weights, _tensor(x, self.weights[0]))
        low = a.double().cpu().numpy().clip(0, 1)
        return low, (low + b.double().cpu().numpy()).clip(0, 1)

    def draw_lam(self, x1: FloatArray, x2: FloatArray, rng: np.random.Generator) -> FloatArray:
        """One lambda, the share of x1, for each pair, shape (p,): uniform in the region of a random point between the two.

        Args:
            x1: standardised features of the first rows, shape (p, d).
            x2: of the second rows.
            rng: draws the points and the lambdas.
        """
        share = rng.random((len(x1), 1))
        low, high = self.bounds(share * x1 + (1 - share) * x2)
        return low + rng.random(len(x1)) * (high - low)


def fit_policy(data: RegressionData, config: RegressorConfig, rng: np.random.Generator) -> PolicyRegion:
    """Train the policy region generator, the regressor and its intrusion head together, with one Adam.

    Training stops early on the validation rows as `fit_regressors` does; the policy of the best look is kept. Labels are
    standardised, so that the task loss and the intrusion loss are of one size in any units.

    Args:
        data: the task; its test rows are never looked at.
        config: of the regressor, and its training.
        rng: draws initial weights, minibatches, partners and lambdas.
    """
    n, d, e = *data.x_train.shape, data.y_train.shape[1]

    def weights(outputs: int, network: RegressorConfig) -> list[Tensor]:
        fresh = initial_weights(d, outputs, network, rng)
        return [w.to(resolve_device(config.device), getattr(torch, config.dtype)).requires_grad_() for w in fresh]

    policy, regressor = weights(3, _POLICY), weights(e + 1, config)  # a, b, c; the labels and "is mixed"
    x, y = (_tensor(one, regressor[0]) for one in (data.standardize_x(data.x_train), data.standardize_y(data.y_train)))
    x_val, y_val = (_tensor(one, regressor[0]) for one in (data.standardize_x(data.x_val), data.standardize_y(data.y_val)))
    optimizer = torch.optim.Adam([*policy, *regressor], lr=config.learning_rate)
    stream = Minibatches(n, config.batch_size, rng)

    best = PolicyRegion([w.detach().clone() for w in policy])
    looks_since_best = 0
    for step in count(1):
        seen, unseen = stream.take(2)
        batch = Batch(x[seen], y[seen], x[unseen])
        partners = rng.permutation(config.batch_size)
        draws = _tensor(rng.random((2, config.batch_size, 1)), x)
        task, intrusion = losses(policy, regressor, config, batch, partners, draws)
        optimizer.zero_grad()
        (task + intrusion).backward()
        optimizer.step()
        last = step == config.max_steps
        if not last and (step % config.eval_every or config.patience is None):
            continue

        with torch.no_grad():
            val_loss = float(mse_loss(_apply(regressor, x_val, config)[:, :e], y_val))
        looks_since_best = 0 if val_loss < best.val_loss else looks_since_best + 1
        if looks_since_best == 0:
            best = PolicyRegion([w.detach().clone() for w in policy], val_loss)
        if last or not np.isfinite(val_loss) or (config.patience is not None and looks_since_best >= config.patience):
            break
    return PolicyRegion(best.weights, best.val_loss, step)


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step of the joint training looks at: b rows to mix, and b rows that are only real.

    Attributes:
        x: features, shape (b, d).
        y: labels, shape (b, e).
        x_unseen: features of the others, shape (b, d).
    """

    x: Tensor
    y: Tensor
    x_unseen: Tensor


def losses(
    policy: list[Tensor], regressor: list[Tensor], config: RegressorConfig, batch: Batch, partners: IntArray, draws: Tensor
) -> tuple[Tensor, Tensor]:
    """The two losses that all three parts minimise.

    Args:
        policy: weights of the policy region generator.
        regressor: weights of the regressor, its last output the logit that a row is mixed.
        config: the regressor's network.
        batch: the rows.
        partners: whom each row of the batch is mixed with, shape (b,).
        draws: in [0, 1], shape (2, b, 1): the point that stands for a pair, then the place of lambda in the region.

    Returns:
        Task loss: the mean squared errors on mixed and on original rows, added. Intrusion loss: cross-entropy of telling mixed
        rows from real ones.
    """
    x2, y2 = batch.x[partners], batch.y[partners]
    a, b = region(policy, draws[0] * batch.x + (1 - draws[0]) * x2)
    lam = a[:, None] + draws[1] * b[:, None]
    x_mixed = lam * batch.x + (1 - lam) * x2
    y_mixed = mixed_label(lam, batch.y, y2)
    out = _apply(regressor, torch.cat([x_mixed, batch.x, batch.x_unseen]), config)
    on_mixed, on_real, _ = out[:, :-1].split(len(batch.x))
    is_mixed = torch.zeros_like(out[:, -1])
    is_mixed[: len(x_mixed)] = 1
    task = mse_loss(on_mixed, y_mixed) + mse_loss(on_real, batch.y)
    return task, binary_cross_entropy_with_logits(out[:, -1], is_mixed)


def region(policy: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Where lambda may lie: its lower end a and the width b of the region, each of shape (p,), for points x (p, d)."""
    a, b, _ = torch.softmax(_apply(policy, x, _POLICY), dim=1).unbind(dim=1)
    return a, b


def mixed_label(lam: Tensor, y1: Tensor, y2: Tensor) -> Tensor:
    """Mixed labels lambda y1 + (1 - lambda) y2 without a gradient: the policy must not learn to make labels that are easy."""
    return (lam * y1 + (1 - lam) * y2).detach()


def _apply(weights: list[Tensor], x: Tensor, config: RegressorConfig) -> Tensor:
    """Outputs (n, e) of one network for rows (n, d)."""
    return forward(weights, x[None], config.shape(x.shape[1], weights[-1].shape[-1]))[0]


def _tensor(values: FloatArray, like: Tensor) -> Tensor:
    """An array with the dtype and on the device of a tensor."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)

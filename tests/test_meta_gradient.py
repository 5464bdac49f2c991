"""The gradient through the regressor's steps, held against torch's Adam, finite differences and tables of known truth."""

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from mixrl import MetaGradient, MetaGradientConfig
from mixrl.meta_gradient import _SoftTraining
from mixrl_env import (
    MixingProblem,
    MixRLVectorEnv,
    NeighborOption,
    ProblemConfig,
    RegressionData,
    RegressorConfig,
    load_dataset,
)
from mixrl_env.backends import forward
from tests.toy import ToyVectorEnv

OPTIONS = [(space, k) for space in ("data", "label") for k in (1, 4, 16)]
REGRESSOR = RegressorConfig(hidden_sizes=(64, 64), learning_rate=0.003, max_steps=5000)
EXACT = RegressorConfig(hidden_sizes=(8, 5), learning_rate=0.01, max_steps=200, dtype="float64", layer_norm=False)


def make(name: str = "gap", num_envs: int = 4, **settings: Any) -> MixRLVectorEnv:
    merged = {"options": OPTIONS, "regressor": REGRESSOR, "pretrained": True, "step_budget": 300} | settings
    envs = gym.make_vec("MixRL-v0", num_envs, "vector_entry_point", data=load_dataset(name, 0), **merged)
    assert isinstance(envs, MixRLVectorEnv)
    return envs


def soft(m: int = 2, seed: int = 0, **settings: Any) -> _SoftTraining:
    merged = {"options": tuple(OPTIONS), "regressor": EXACT, "pretrained": True, "step_budget": 50, "batch_rows": 20} | settings
    problem = MixingProblem(load_dataset("gap", 0), ProblemConfig.from_settings(merged))
    return _SoftTraining(problem, m, 16, np.random.default_rng(seed), torch.device("cpu"))


def probabilities(envs: MixRLVectorEnv, agent: MetaGradient) -> np.ndarray:
    problem = envs.problem
    rows = problem.observe(problem.every_row_and_option())
    return agent.probabilities(rows).reshape(-1, len(problem.options))


def test_says_what_is_true_of_a_known_table() -> None:
    """Mixing across the gap by label invents labels."""
    envs = make("gap")
    p = probabilities(envs, MetaGradient(MetaGradientConfig(learning_rate=3e-3), seed=1).learn(envs, 64)).mean(axis=0)
    assert p[:3].min() > 2 * p[3:].max()


@pytest.mark.parametrize("pretrained", [True, False])
def test_steps_are_those_of_adam_on_weighted_rows(pretrained: bool) -> None:
    """One regressor after the other, with torch.nn, torch's Adam and the rows picked by hand."""
    training = soft(pretrained=pretrained)
    p = torch.rand(2, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = [weight.clone() for weight in training._weights]
    twin = soft(pretrained=pretrained)  # has drawn the same batches and minibatches
    owners, sizes = twin._owner.numpy(), twin._sizes
    minibatches = [twin._rng.integers(sizes[:, None], size=(2, 16)) for _ in range(7)]
    loss = training.advance(p, 7)

    x, y = twin._x, twin._y
    for m in range(2):
        network = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1)).double()
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), start, strict=True):
                parameter.copy_(value[m].T if parameter.ndim == 2 else value[m, 0])
        adam = torch.optim.Adam(network.parameters(), lr=0.01)
        first = int(sizes[:m].sum())
        own = range(first, first + 20)  # a batch's rows come before its mixed ones
        for minibatch in minibatches:
            rows = first + minibatch[m]
            weights = torch.stack([torch.tensor(1.0) if row in own else p[m, owners[row] - 20 * m] for row in rows]).double()
            errors = (network(x[rows]) - y[rows]).square()[:, 0]
            adam.zero_grad()
            ((weights * errors).sum() / weights.sum()).backward()
            adam.step()
        x_val, y_val = (rows[m] for rows in twin._val)
        expected = (network(x_val) - y_val).square().mean().detach()  # of standardised labels, since there is one target
        torch.testing.assert_close(loss[m].detach(), expected, rtol=1e-9, atol=0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Behind a large second moment, whose own dependence on p the gradient leaves out and which here hardly moves."""

    def run(p: torch.Tensor) -> torch.Tensor:
        training = soft()
        training._second = [torch.full_like(weight, 1e4) for weight in training._weights]
        training._rate, training._step = 30.0, 10_000  # far enough on that Adam's bias corrections are gone
        return training.advance(p, 5)

    p = (0.2 + 0.6 * torch.rand(2, 20, generator=torch.Generator().manual_seed(1))).double().requires_grad_()
    run(p).sum().backward()
    assert p.grad is not None
    rng = np.random.default_rng(0)
    for _ in range(4):
        direction = torch.as_tensor(rng.normal(size=(2, 20)))
        up, down = (float(run(p.detach() + step * direction).detach().sum()) for step in (1e-4, -1e-4))
        expected = (up - down) / 2e-4
        assert abs(expected) > 1e-6
        assert float((p.grad * direction).sum()) == pytest.approx(expected, rel=1e-3)
    # Each regressor's loss knows only its own batch.
    p.grad = None
    run(p)[0].backward()
    assert p.grad[1].abs().max() == 0 < p.grad[0].abs().max()


def test_same_seed_same_run_and_nothing_else_is_touched() -> None:
    settings = {"step_budget": 20, "regressor": RegressorConfig(hidden_sizes=(16,), max_steps=100)}
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    envs = make(**settings)
    first, second, other = (probabilities(envs, MetaGradient(seed=seed).learn(envs, 64)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_every_row_is_weighed_by_the_p_of_the_row_it_comes_from() -> None:
    """Also where an option is all other rows, and where a batch offers only some."""
    training = soft(options=(*OPTIONS, ("all", 0)))
    problem = MixingProblem(load_dataset("gap", 0), ProblemConfig(options=(*OPTIONS, ("all", 0)), batch_rows=20))
    rng, expected = np.random.default_rng(0), []
    batches = [problem.sample_batch(rng) for _ in range(2)]
    for m, batch in enumerate(batches):
        expected += [40] * 20  # behind the 2 times 20 p stands the weight of rows that are not mixed
        for place, option in enumerate(batch.options):
            space, k = problem.options[option]
            expected += [20 * m + place] * (59 if space == "all" else k)
    assert training._owner.tolist() == expected


@pytest.mark.parametrize("standardize", [True, False])
def test_losses_are_in_label_units(standardize: bool) -> None:
    """Two targets of very different scales; without a step the loss is that of the pre-trained network."""
    drawn = load_dataset("gap", 0)
    y, y_val = (np.concatenate([5 + 0.1 * y, 300 * y**2], axis=1) for y in (drawn.y_train, drawn.y_val))
    data = RegressionData(drawn.x_train, y, drawn.x_val, y_val)
    config = ProblemConfig(
        options=(NeighborOption("data", 1),),
        regressor=EXACT,
        pretrained=True,
        step_budget=50,
        standardize_labels=standardize,
    )
    problem = MixingProblem(data, config)
    training = _SoftTraining(problem, 2, 16, np.random.default_rng(0), torch.device("cpu"))
    loss = training.unit * training.advance(torch.full((2, problem.num_rows), 0.5), 0)
    weights = problem.pretrained_weights
    assert weights is not None
    outputs = forward(weights, torch.as_tensor(problem.x_val)[None], EXACT.shape(1, 2))[0].numpy()
    error = problem.labels.to_labels(outputs) - y_val
    np.testing.assert_allclose(loss.detach().numpy(), np.square(error).mean(), rtol=1e-9)


def test_a_training_that_diverges_teaches_nothing() -> None:
    data = load_dataset("gap", 0)
    huge = RegressionData(data.x_train, 1e30 * data.y_train, data.x_val, 1e30 * data.y_val)
    settings = {"options": OPTIONS, "regressor": REGRESSOR, "step_budget": 20, "standardize_labels": False}
    envs = MixRLVectorEnv(2, data=huge, **settings)
    seen: list[float] = []
    agent = MetaGradient(seed=0).learn(envs, 32, lambda _, metrics: seen.append(metrics["reward/mean"]))
    p = probabilities(envs, agent)
    assert np.isfinite(p).all()
    assert np.isfinite(seen).all()


def test_environments_it_cannot_learn_on() -> None:
    with pytest.raises(RuntimeError, match=r"call learn\(\)"):
        MetaGradient().probabilities(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="needs a MixRL environment"):
        MetaGradient().learn(ToyVectorEnv(2), 64)
    with pytest.raises(ValueError, match="give the environment a step_budget"):
        MetaGradient().learn(make(step_budget=None), 64)
    with pytest.raises(ValueError, match="a budget of 31 trainings is below one update of 32"):
        MetaGradient().learn(make(), 31)

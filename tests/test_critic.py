"""The critic against a reward whose best approximation is known: additive over the selected rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from mixrl import ReinforceVariant, ReinforceVariantConfig, ValueNetwork
from mixrl.critic import PooledCritic
from mixrl_env.streams import torch_stream
from tests.toy import NUM_OPTIONS, ToyVectorEnv, best_mask

ROW_SIZE = 1 + NUM_OPTIONS
CPU = torch.device("cpu")


def draw_masks(m: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    return torch.bernoulli(torch.full((m, rows), 0.5), generator=generator)


def fitted_critic(updates: int, m: int = 16, seed: int = 0) -> PooledCritic:
    """A critic that has seen so many updates of m masks each."""
    generator, envs = torch.Generator().manual_seed(seed), ToyVectorEnv(m)
    critic = PooledCritic(ROW_SIZE, generator, CPU)
    state, _ = envs.reset(seed=seed)
    for _ in range(updates):
        masks = draw_masks(m, envs.num_rows, generator)
        before, (state, rewards, *_) = state, envs.step(masks.numpy())
        critic.fit(torch.tensor(before), masks, torch.tensor(rewards, dtype=torch.float32))
    return critic


@pytest.fixture(scope="module")
def trained() -> PooledCritic:
    return fitted_critic(200)


def test_learns_which_masks_are_better_on_rows_it_never_saw(trained: PooledCritic) -> None:
    m, rows = 300, 8
    generator = torch.Generator().manual_seed(1)
    state, _ = ToyVectorEnv(m, rows).reset(seed=99)

    def compare(critic: PooledCritic) -> float:
        """Correlation of Q and reward over differences between two masks for the same rows.

        Rows left out rightly earn as well: that part of the reward depends on the state alone and is not in Q.
        """
        q, reward = [], []
        for _ in range(2):
            masks = draw_masks(m, rows, generator)
            q.append(critic.value(torch.tensor(state), masks).detach().numpy())
            reward.append((masks.numpy() == best_mask(state)).mean(axis=1))
        return float(np.corrcoef(q[0] - q[1], reward[0] - reward[1])[0, 1])

    assert compare(trained) > 0.9
    untrained = PooledCritic(ROW_SIZE, torch.Generator().manual_seed(0), CPU)
    untrained.scale = trained.scale
    assert abs(compare(untrained)) < 0.5  # the correlation is learned


def test_is_zero_before_any_reward() -> None:
    critic = PooledCritic(ROW_SIZE, torch.Generator().manual_seed(0), CPU)
    state, _ = ToyVectorEnv(5).reset(seed=0)
    assert critic.value(torch.tensor(state), torch.ones(5, 8)).tolist() == [0.0] * 5


def test_value_of_probabilities_is_the_mean_over_all_masks(trained: PooledCritic) -> None:
    m, rows = 6, 4
    state = torch.tensor(ToyVectorEnv(m, rows).reset(seed=3)[0])
    p = torch.rand(m, rows, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean = torch.zeros(m, dtype=torch.float64)
    for bits in product((0.0, 1.0), repeat=rows):
        mask = torch.tensor(bits).expand(m, -1)
        mean += torch.where(mask == 1, p, 1 - p).prod(dim=1) * trained.value(state, mask).detach()
    torch.testing.assert_close(trained.value(state, p.float()).detach(), mean.float(), rtol=1e-5, atol=1e-7)
    assert float(mean.std()) > 0.01  # not 0 = 0


def test_value_is_differentiable_in_the_probabilities(trained: PooledCritic) -> None:
    """The policy gets the mean's gradient: what each row adds, whatever the probabilities are."""
    m, rows = 3, 5
    state = torch.tensor(ToyVectorEnv(m, rows).reset(seed=4)[0])
    p = torch.full((m, rows), 0.3, requires_grad=True)
    (gradient,) = torch.autograd.grad(trained.value(state, p).sum(), p)
    one_by_one = torch.stack([trained.value(state, row.expand(m, -1)) for row in torch.eye(rows)], dim=1)
    torch.testing.assert_close(gradient, one_by_one.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reward", [0.0, -1.0, -0.1, -1e6])
def test_constant_rewards_teach_nothing(reward: float) -> None:
    """Their standard deviation is 0, or rounding error; nothing is divided by it that could become NaN."""
    generator = torch.Generator().manual_seed(0)
    critic = PooledCritic(ROW_SIZE, generator, CPU)
    state = torch.tensor(ToyVectorEnv(3).reset(seed=0)[0])
    for _ in range(10):
        critic.fit(state, draw_masks(3, 8, generator), torch.full((3,), reward))
    value = critic.value(state, torch.ones(3, 8))
    assert value.isfinite().all()
    assert value.abs().max() <= 1e-6 * abs(reward)


def test_scale_follows_the_units_of_the_reward() -> None:
    """Rewards in other units and from another zero give the same Q, in these units."""
    values = []
    for factor, shift in ((1.0, 0.0), (64.0, -16.0)):  # powers of two: rounding stays the same
        generator = torch.Generator().manual_seed(0)
        critic = PooledCritic(ROW_SIZE, generator, CPU)
        state = torch.tensor(ToyVectorEnv(8).reset(seed=0)[0])
        for _ in range(10):
            masks = draw_masks(8, 8, generator)
            critic.fit(state, masks, factor * masks.mean(dim=1) + shift)
        values.append(critic.value(state, draw_masks(8, 8, generator)).detach() / factor)
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)
    assert float(values[0].std()) > 1e-3


def test_same_generator_same_result_and_global_generator_untouched() -> None:
    before = torch.get_rng_state()
    first, again, other = fitted_critic(5), fitted_critic(5), fitted_critic(5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.detach().flatten() for p in critic.q.parameters()]) for critic in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert first.scale == again.scale
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("baseline", ["moving_average", "leave_one_out"])
def test_reinforce_with_a_critic_line_by_line(baseline: str) -> None:
    """The agent's weights equal those of the update written out: R - Q with its baseline, Q before it sees R, mean of Q."""
    m, config = 4, ReinforceVariantConfig(hidden_sizes=(8, 4), baseline=baseline, window=5, critic=True)  # type: ignore[arg-type]
    envs = ToyVectorEnv(m)
    agent = ReinforceVariant(config, seed=3).learn(envs, 30 * m)
    generator, base = torch_stream(3, "reinforce"), 0.0
    network = ValueNetwork(ROW_SIZE, (8, 4), generator)
    critic = PooledCritic(ROW_SIZE, generator, CPU)
    adam = torch.optim.Adam(network.parameters(), lr=0.001)
    for states, masks, rewards in envs.history:
        state, mask, reward = (torch.tensor(array, dtype=torch.float32) for array in (states, masks, rewards))
        p = torch.sigmoid(network(state))
        assert torch.equal(torch.bernoulli(p.detach(), generator=generator), mask)
        left = reward - critic.value(state, mask).detach()
        objective = critic.value(state, p).mean()
        for i in range(m):
            expected = float(left[torch.arange(m) != i].mean()) if baseline == "leave_one_out" else base
            log_pi = torch.where(mask[i] == 1, p[i], 1 - p[i]).log().sum()
            objective = objective + (left[i] - expected) * log_pi / m
        adam.zero_grad()
        (-objective).backward()
        adam.step()
        base = 4 / 5 * base + 1 / 5 * float(left.mean())
        critic.fit(state, mask, reward)
    assert agent.network is not None
    for ours, theirs in zip(agent.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

"""The policy that sees rows: in SB3's own algorithms, and held against formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, MultiBinary
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import RowPolicy

B, ROW_SIZE = 5, 4


def make_env(**settings: Any) -> gym.Env[Any, Any]:
    """NO2, with a regressor that hardly trains."""
    cheap = {"step_budget": 2, "regressor": {"hidden_sizes": [4]}, "pretrained": False}
    return gym.make("MixRL-NO2-v0", split_seed=0, **cheap | settings)


def make_policy(num_rows: int = B, seed: int = 0, **kwargs: Any) -> RowPolicy:
    torch.manual_seed(seed)
    space = Box(-3, 3, (num_rows, ROW_SIZE), np.float32)
    return RowPolicy(space, MultiBinary(num_rows), lambda _: 1e-3, **kwargs)


def make_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(*shape, ROW_SIZE)), dtype=torch.float32)


def logits_of(policy: RowPolicy, rows: Tensor) -> Tensor:
    distribution: Any = policy.get_distribution(rows).distribution
    return distribution.logits


def weights_of(model: OnPolicyAlgorithm) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


def algorithm(name: str) -> Any:
    return pytest.importorskip("sb3_contrib").TRPO if name == "TRPO" else {"PPO": PPO, "A2C": A2C}[name]


@pytest.mark.parametrize("name", ["PPO", "A2C", "TRPO"])
def test_life_with_plain_stable_baselines3(name: str, tmp_path: Path) -> None:
    """Learn, predict, save, load, learn on; with a callback and TensorBoard's curves."""
    cls = algorithm(name)
    sizes = {} if name == "A2C" else {"batch_size": 4}
    model = cls(RowPolicy, make_env(), n_steps=4, seed=0, device="cpu", tensorboard_log=str(tmp_path), **sizes)
    at_start = weights_of(model)
    checkpoints = CheckpointCallback(4, str(tmp_path / "checkpoints"))
    model.learn(8, callback=checkpoints, log_interval=1, tb_log_name="run")
    learned = weights_of(model)
    assert not torch.equal(learned, at_start)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {f"rl_model_{n}_steps.zip" for n in (4, 8)}

    observation, _ = make_env().reset(seed=3)
    mask, _ = model.predict(observation, deterministic=True)
    assert mask in model.action_space
    p = model.policy.probabilities(observation)
    assert np.array_equal(mask, p > 0.5)

    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=make_env())
    assert isinstance(loaded.policy, RowPolicy)
    assert np.array_equal(loaded.policy.probabilities(observation), p)
    loaded.learn(4, reset_num_timesteps=False)
    assert loaded.num_timesteps == 12
    assert not torch.equal(weights_of(loaded), learned)
    assert torch.equal(weights_of(model), learned)

    events = EventAccumulator(str(tmp_path / "run_1")).Reload()
    curve = [(event.step, event.value) for event in events.Scalars("rollout/ep_rew_mean")]
    assert [step for step, _ in curve] == [4, 8]
    assert all(reward < 0 for _, reward in curve)
    assert "train/value_loss" in events.Tags()["scalars"]


def test_the_policy_alone_is_saved_and_loaded(tmp_path: Path) -> None:
    policy = make_policy(net_arch={"pi": [8], "vf": [3]}, activation_fn=nn.Tanh)
    policy.save(str(tmp_path / "policy.pt"))
    loaded = RowPolicy.load(str(tmp_path / "policy.pt"))
    rows = make_rows(2, B)
    assert torch.equal(logits_of(loaded, rows), logits_of(policy, rows))
    assert torch.equal(loaded.predict_values(rows), policy.predict_values(rows))


def test_the_same_seed_is_the_same_run() -> None:
    runs = [
        weights_of(PPO(RowPolicy, make_env(), n_steps=4, batch_size=4, seed=seed, device="cpu").learn(4)) for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_logit_depends_on_its_row_alone_and_the_value_on_all() -> None:
    policy, rows = make_policy(), make_rows(3, B)
    others = rows.clone()
    others[:, 1:] = make_rows(3, B - 1, seed=1)
    torch.testing.assert_close(logits_of(policy, others)[:, 0], logits_of(policy, rows)[:, 0])
    assert not torch.isclose(logits_of(policy, others)[:, 1:], logits_of(policy, rows)[:, 1:]).any()
    assert not torch.isclose(policy.predict_values(others), policy.predict_values(rows)).any()


def by_hand(policy: RowPolicy, rows: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values, log probabilities and entropies with weights taken from the state dict, in plain torch."""
    weights = dict(policy.named_parameters())

    def network(x: Tensor, prefix: str, hidden: int) -> Tensor:
        for layer in range(0, 2 * hidden, 2):
            x = torch.relu(x @ weights[f"{prefix}.{layer}.weight"].T + weights[f"{prefix}.{layer}.bias"])
        return x

    top = "mlp_extractor.actor.4"
    logits = (network(rows, "mlp_extractor.actor", 2) @ weights[f"{top}.weight"].T + weights[f"{top}.bias"])[..., 0]
    pooled = network(rows, "mlp_extractor.critic", 2).mean(1)
    values = pooled @ weights["value_net.weight"].T + weights["value_net.bias"]
    p = torch.sigmoid(logits)
    log_prob = (masks * torch.log(p) + (1 - masks) * torch.log(1 - p)).sum(-1)
    entropy = -(p * torch.log(p) + (1 - p) * torch.log(1 - p)).sum(-1)
    return values, log_prob, entropy


def test_values_log_probabilities_entropies_and_their_gradients_are_those_by_hand() -> None:
    policy, rows = make_policy(), make_rows(3, B)
    masks = torch.as_tensor(np.random.default_rng(1).integers(2, size=(3, B)), dtype=torch.float32)
    advantages = torch.tensor([0.5, -2.0, 1.0])
    gradients = []
    for evaluate in (policy.evaluate_actions, lambda *args: by_hand(policy, *args)):
        policy.zero_grad()
        values, log_prob, entropy = evaluate(rows, masks)
        assert entropy is not None
        gradients.append((values, log_prob, entropy))
        (-(advantages * log_prob).mean() - 0.1 * entropy.mean() + 0.5 * ((values.flatten() - 1) ** 2).mean()).backward()
        gradients[-1] += tuple(p.grad.clone() for p in policy.parameters() if p.grad is not None)
    assert len(gradients[0]) == 3 + len(list(policy.parameters()))
    for ours, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, exact)
        assert ours.abs().max() > 0


def test_an_update_of_a2c_is_that_of_plain_torch() -> None:
    """With one step of gradient descent on one rollout: a one-step episode's advantage is R - V."""
    settings = {"optimizer_class": torch.optim.SGD}
    model = A2C(
        RowPolicy, make_env(), learning_rate=0.01, n_steps=3, max_grad_norm=1e9, seed=0, device="cpu", policy_kwargs=settings
    )
    policy = RowPolicy(model.observation_space, model.action_space, lambda _: 0.01)
    policy.load_state_dict(model.policy.state_dict())
    model.learn(3)
    buffer = model.rollout_buffer
    rows, masks, rewards = (torch.as_tensor(part) for part in (buffer.observations, buffer.actions, buffer.rewards.flatten()))
    values, log_prob, _ = by_hand(policy, rows.reshape(3, 200, -1), masks.reshape(3, 200))
    advantages = (rewards - values.flatten()).detach()
    (-(advantages * log_prob).mean() + 0.5 * ((rewards - values.flatten()) ** 2).mean()).backward()
    for learned, start in zip(model.policy.parameters(), policy.parameters(), strict=True):
        assert start.grad is not None
        torch.testing.assert_close(learned.detach(), (start - 0.01 * start.grad).detach(), rtol=1e-4, atol=1e-6)
        assert not torch.equal(learned, start)


ROWS, MASKS = Box(-1, 1, (B, ROW_SIZE)), MultiBinary(B)


def test_probabilities_of_any_shape_are_those_of_the_distribution() -> None:
    policy, rows = make_policy(), make_rows(2, 3, B)
    distributions: list[Any] = [policy.get_distribution(batch).distribution for batch in rows]
    expected = torch.stack([distribution.probs for distribution in distributions]).detach().numpy()
    assert expected.std() > 0.01
    for index, shape in [((), (2, 3, B)), ((0,), (3, B)), ((0, 1), (B,)), ((0, 1, 2), ())]:
        p = policy.probabilities(rows[index].numpy())
        assert p.shape == shape
        assert p.dtype == np.float64
        np.testing.assert_allclose(p, expected[index], rtol=1e-5)


def test_deterministic_is_more_likely_than_not_and_sampled_masks_follow_p() -> None:
    policy, rows = make_policy(), make_rows(4, B)
    with torch.no_grad():
        policy.mlp_extractor.actor[-1].weight.mul_(20)  # away from 1/2, on both sides
        policy.mlp_extractor.actor[-1].bias.sub_(logits_of(policy, rows).mean())
    p = policy.probabilities(rows.numpy())
    assert 0.2 < (p > 0.5).mean() < 0.8
    mask, _ = policy.predict(rows.numpy(), deterministic=True)
    assert np.array_equal(mask, p > 0.5)
    torch.manual_seed(0)
    sampled, _ = policy.predict(np.repeat(rows.numpy(), 4000, axis=0))
    np.testing.assert_allclose(sampled.reshape(4, 4000, B).mean(axis=1), p, atol=4 * 0.5 / 4000**0.5)

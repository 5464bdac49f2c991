"""What a regressor starts from: its configuration, device, initial weights and minibatches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixrl_env import RegressorConfig
from mixrl_env.regressor import Minibatches, initial_weights, resolve_device


@pytest.mark.parametrize(
    ("num_rows", "batch_size"), [(20, 8), (24, 8), (5, 8), (8, 8), (3, 32), (1, 4)], ids=lambda value: str(value)
)
def test_every_epoch_covers_every_row_once(num_rows: int, batch_size: int) -> None:
    epochs = 12
    count = -(-epochs * num_rows // batch_size)
    batches = Minibatches(num_rows, batch_size, np.random.default_rng(0)).take(count)
    assert all(batch.shape == (batch_size,) for batch in batches)  # also the one that meets the end of an epoch
    drawn = np.concatenate(batches)[: epochs * num_rows].reshape(epochs, num_rows)
    assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(num_rows), (epochs, 1)))
    if num_rows >= 3:
        assert len({tuple(epoch) for epoch in drawn}) > 1  # each epoch is shuffled anew


def test_initial_weights_are_distributed_as_in_torch_linear() -> None:
    config = RegressorConfig(hidden_sizes=(200, 100), layer_norm=True, device="cpu")
    weights = initial_weights(50, 2, config, np.random.default_rng(0))
    layers = [(50, 200), (200, 100), (100, 2)]
    remaining = iter(weights)
    for index, (fan_in, fan_out) in enumerate(layers):
        theirs = torch.nn.Linear(fan_in, fan_out)
        weight, bias = next(remaining), next(remaining)
        assert weight.shape == (1, fan_in, fan_out)
        assert bias.shape == (1, 1, fan_out)
        bound = fan_in**-0.5
        for own, their in ((weight, theirs.weight), (bias, theirs.bias)):
            assert max(own.abs().max(), their.abs().max()) <= bound * (1 + 1e-6)
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert abs(weight.mean().item()) < bound / 10
        if index < 2:
            gain, shift = next(remaining), next(remaining)
            assert torch.equal(gain, torch.ones(1, 1, fan_out))
            assert torch.equal(shift, torch.zeros(1, 1, fan_out))
    assert next(remaining, None) is None


def test_resolve_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="unknown device 'nonsense'"):
        resolve_device("nonsense")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # so that this holds on a machine with CUDA too
    assert resolve_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match=f"device '{name}' was asked for, but torch sees no CUDA device"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")

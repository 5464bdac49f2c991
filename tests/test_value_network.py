"""The value network's shape, and that its files come back whole or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from mixrl import ValueNetwork, load_value_network, save_value_network


def test_layers_are_the_papers() -> None:
    linears = [layer for layer in ValueNetwork(40).layers if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linears] == [256, 256, 100, 64, 1]
    assert linears[0].in_features == 40


def test_one_network_serves_every_row() -> None:
    network = ValueNetwork(6, (8, 4), torch.Generator().manual_seed(0))
    rows = torch.rand(2, 5, 6)
    logits = network(rows)
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits[1, 3], network(rows[1, 3]))


def test_weights_come_from_the_generator_within_the_bound_of_linear() -> None:
    first, again = (ValueNetwork(100, (50,), torch.Generator().manual_seed(1)) for _ in range(2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    weight = first.layers[0].weight
    assert isinstance(weight, torch.Tensor)
    assert 0.09 < float(weight.detach().abs().max()) <= 0.1  # 1 / sqrt(100)


def test_saved_network_comes_back(tmp_path: Path) -> None:
    network, path = ValueNetwork(6, (8, 4)), tmp_path / "h.safetensors"
    save_value_network(network, path)
    save_value_network(network, path)  # an older file is replaced
    rows = torch.rand(7, 6)
    assert torch.equal(load_value_network(path)(rows), network(rows))
    assert [file.name for file in tmp_path.iterdir()] == ["h.safetensors"]


class Exploit:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("damage", ["pickle", "truncated", "no header", "other sizes"])
def test_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path, trap = tmp_path / "h.safetensors", tmp_path / "executed"
    save_value_network(ValueNetwork(6, (8, 4)), path)
    if damage == "pickle":
        path.write_bytes(pickle.dumps(Exploit(trap)))
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "other sizes":
        path.write_bytes(path.read_bytes().replace(b'row_size\\": 6', b'row_size\\": 7'))
    else:
        from safetensors.torch import save_file

        save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="does not hold a value network"):
        load_value_network(path)
    assert not trap.exists()

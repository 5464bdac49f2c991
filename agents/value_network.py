"""The Mixup value network h_theta(x, y, k): one small network for every row and option (Sec. 3.2, App. B.1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits
from torch.nn.utils import get_total_norm

from mixrl.files import write_bytes
from mixrl.training import check_rows
from mixrl_env.checks import check_count, check_sizes

HIDDEN_SIZES = (256, 256, 100, 64)


class ValueNetwork(nn.Module):
    """h_theta(x, y, k) as a logit: sigmoid(network(row)) is the probability of selecting the row (Sec. 3.2).

    Args:
        row_size: d + e + |N|, the length of an observation row.
        hidden_sizes: nodes of the hidden layers; the paper's are [256, 256, 100, 64].
        generator: draws the initial weights, uniform within 1 / sqrt(fan in) as torch.nn.Linear has them.
    """

    def __init__(
        self, row_size: int, hidden_sizes: Sequence[int] = HIDDEN_SIZES, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_count(row_size, "row_size")
        check_sizes(hidden_sizes, "hidden_sizes")
        self.row_size, self.hidden_sizes = row_size, tuple(hidden_sizes)
        layers: list[nn.Module] = []
        sizes = (row_size, *self.hidden_sizes, 1)
        for fan_in, fan_out in pairwise(sizes):
            # skip_init: torch.nn.Linear would draw from the global generator
            linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
            for parameter in linear.parameters():
                nn.init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5, generator=generator)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (...,) of observation rows (..., d + e + |N|)."""
        logits: Tensor = self.layers(rows).squeeze(-1)
        return logits

    def logits(self, rows: npt.NDArray[np.float32]) -> Tensor:
        """Logits (...,) of rows as the environment observes them, without a gradient, on the CPU.

        A decided policy has logits whose sigmoids are all 1 in single precision; in double precision they still differ.
        """
        check_rows(rows, self.row_size)
        with torch.no_grad():
            logits: Tensor = self(torch.as_tensor(rows, device=next(self.parameters()).device))
            return logits.double().cpu()


def log_pi(logits: Tensor, masks: Tensor) -> Tensor:
    """Log of pi_theta(D^m | D^b) for masks (..., B) of 0 and 1 under logits (..., B), shape (...,) (Sec. 3.2)."""
    return -bce_with_logits(logits, masks, reduction="none").sum(dim=-1)


def gradient_norm(network: ValueNetwork) -> float:
    """Euclidean norm of the gradient of all weights."""
    return float(get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None]))


def network_bytes(network: ValueNetwork) -> bytes:
    """The weights as safetensors, with the sizes as JSON in the header."""
    sizes = json.dumps({"row_size": network.row_size, "hidden_sizes": network.hidden_sizes})
    state = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
    return save(state, metadata={"value_network": sizes})


def save_value_network(network: ValueNetwork, path: Path) -> None:
    """Write `network_bytes` to a file, atomically."""
    write_bytes(network_bytes(network), path)


def load_value_network(path: Path) -> ValueNetwork:
    """Read what `save_value_network` wrote; nothing in the file is ever executed.

    Raises:
        ValueError: if the file is not a value network in safetensors format.
        FileNotFoundError: if there is no such file.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            sizes = json.loads((stored.metadata() or {})["value_network"])
            network = ValueNetwork(sizes["row_size"], sizes["hidden_sizes"])
            network.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a value network: {error}") from error
    if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
        raise ValueError(f"{path} does not hold a value network: some weights are NaN or infinite")
    return network

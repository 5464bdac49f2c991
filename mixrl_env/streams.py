"""Random generators by name: no two uses share a stream.

`numpy.random.default_rng([0, 0, 0])` equals `default_rng(0)`, so lists of small numbers do not keep streams apart. Here the
seed, the name and the indices are hashed together.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, SupportsInt

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: SupportsInt, name: str, *indices: SupportsInt) -> np.random.Generator:
    """The generator of one use of random numbers.

    Args:
        seed: of the run; a whole number of at least 0.
        name: of the use, such as "choice"; each name belongs to one place in the code.
        *indices: which of several generators of this use, such as a split and a repeat.
    """
    return np.random.default_rng(_entropy(seed, name, indices))


def torch_stream(seed: SupportsInt, name: str, *indices: SupportsInt) -> torch.Generator:
    """The same for torch, on the CPU."""
    import torch  # slow to import; most uses need only numpy

    return torch.Generator().manual_seed(_entropy(seed, name, indices) % 2**63)


def data_stream(seed: int) -> np.random.Generator:
    """The generator of a random split or of a drawn table: `default_rng(seed)`, so that stored splits stay as they are."""
    return np.random.default_rng(seed)


def _entropy(seed: SupportsInt, name: str, indices: tuple[SupportsInt, ...]) -> int:
    key = repr((int(seed), name, *(int(index) for index in indices)))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")

"""Datasets by name: each module below turns one source into a `RegressionData`."""

from __future__ import annotations

from collections.abc import Callable

from mixrl_env.data import RegressionData
from mixrl_env.datasets.no2 import load_no2

_LOADERS: dict[str, Callable[[int], RegressionData]] = {"no2": load_no2}


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows."""
    return tuple(sorted(_LOADERS))


def load_dataset(name: str, split_seed: int = 0) -> RegressionData:
    """Load a dataset of the paper with a random split into training, validation and test rows (Table 1).

    Args:
        name: one of `dataset_names()`.
        split_seed: the same seed draws the same split.

    Raises:
        ValueError: for an unknown name, listing the known ones.
    """
    if name not in _LOADERS:
        raise ValueError(f"unknown dataset {name!r}; known datasets: {', '.join(dataset_names())}")
    return _LOADERS[name](split_seed)

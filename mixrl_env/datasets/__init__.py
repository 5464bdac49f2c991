"""Datasets by name: each module below turns one source into a `RegressionData`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mixrl_env.checks import check_seed
from mixrl_env.data import RegressionData
from mixrl_env.datasets.known import KNOWN, load_known
from mixrl_env.datasets.no2 import load_no2
from mixrl_env.datasets.tables import TABLES, load_table
from mixrl_env.datasets.thin_film import load_product, load_synthetic

_LOADERS: dict[str, Callable[[int], RegressionData]] = {
    "no2": load_no2,
    "synthetic": load_synthetic,
    "product": load_product,
    **{name: partial(load_known, name) for name in KNOWN},
    **{name: partial(load_table, name) for name in TABLES},
}


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows."""
    return tuple(sorted(_LOADERS))


def load_dataset(name: str, split_seed: int = 0) -> RegressionData:
    """Load a dataset with a random split into training, validation and test rows: the paper's, and others of our own.

    The table behind synthetic is simulated; `mixrl_env.datasets.dacon.load_dacon` reads the real one from a file. product is a
    stand-in for the paper's, which is proprietary.

    Args:
        name: one of `dataset_names()`.
        split_seed: the same seed draws the same split.

    Raises:
        ValueError: for an unknown name, listing the known ones, for a seed below 0, or if the package that ships the table is
            not installed.
    """
    if not isinstance(name, str) or name not in _LOADERS:
        raise ValueError(f"unknown dataset {name!r}; known datasets: {', '.join(dataset_names())}")
    check_seed(split_seed, "split_seed")
    return _LOADERS[name](split_seed)

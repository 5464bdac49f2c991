"""Checks of settings, seeds and counts; errors name the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any


def check_types(config: Any) -> None:
    """Check the fields of a dataclass that are declared as numbers, True or False, or sizes of layers; ranges are not.

    Raises:
        ValueError: naming the class, the field and what it must be.
    """
    for field in fields(config):
        declared, value = str(field.type), getattr(config, field.name)
        if declared.endswith(" | None"):
            if value is None:
                continue
            declared = declared.removesuffix(" | None")
        if declared not in _TYPES:
            continue
        words, fits = _TYPES[declared]
        if not fits(value):
            raise ValueError(f"{type(config).__name__}.{field.name} must be {words}, got {value!r}")


def check_seed(seed: Any, name: str = "seed") -> None:
    """Raise a ValueError unless a seed is a whole number of at least 0, of any size."""
    if not _is_whole(seed) or seed < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {seed!r}")


def check_count(count: Any, name: str) -> None:
    """Raise a ValueError unless a count is a whole number of at least 1."""
    if not _is_whole(count) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")


def check_whole(value: Any, name: str) -> None:
    """Raise a ValueError unless a value is a whole number."""
    if not _is_whole(value):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def check_sizes(sizes: Any, name: str) -> None:
    """Raise a ValueError unless the nodes of hidden layers are a list of whole numbers of at least 1, which may be empty."""
    if not _are_sizes(sizes):
        raise ValueError(f"{name} must be a list of whole numbers of at least 1, got {sizes!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(_is_whole(one) and one >= 1 for one in value)


_TYPES = {
    "int": ("a whole number", _is_whole),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "tuple[int, ...]": ("a list of whole numbers of at least 1", _are_sizes),
}

"""What a study's TOML file may say, checked before any work starts."""

from __future__ import annotations

from collections.abc import Sequence


def check_names(what: str, given: object, known: Sequence[str]) -> None:
    """Raise a ValueError unless given is a list of names that are known, and not empty unless it lists baselines."""
    if not isinstance(given, list | tuple) or not (given or what == "baseline"):
        raise ValueError(f"{what}s must be a list, got {given!r}")
    for one in given:
        if one not in known:
            raise ValueError(f"unknown {what} {one!r}; known: {', '.join(map(repr, known))}")


def check_seeds(name: str, given: object) -> None:
    """Raise a ValueError unless given is a list of whole numbers of 0 or above."""
    good = isinstance(given, list | tuple) and bool(given)
    if not good or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in given):  # type: ignore[attr-defined]
        raise ValueError(f"{name} must be a list of seeds of 0 or above, got {given!r}")

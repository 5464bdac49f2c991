"""What a study's TOML file may say, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def check_names(what: str, given: object, known: Sequence[str]) -> None:
    """Raise a ValueError unless given is a list of names that are known, each once; it is empty only if it lists baselines."""
    if not isinstance(given, list | tuple) or not (given or what == "baseline"):
        raise ValueError(f"{what}s must be a list, got {given!r}")
    for number, one in enumerate(given):
        if one not in known:
            raise ValueError(f"unknown {what} {one!r}; known: {', '.join(map(repr, known))}")
        if one in given[:number]:
            raise ValueError(f"the {what} {one!r} is listed twice")


def check_seeds(name: str, given: object) -> None:
    """Raise a ValueError unless given is a list of whole numbers of 0 or above, each once."""
    good = isinstance(given, list | tuple) and bool(given)
    if not good or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in given):  # type: ignore[attr-defined]
        raise ValueError(f"{name} must be a list of seeds of 0 or above, got {given!r}")
    if len(set(given)) < len(given):  # type: ignore[arg-type,call-overload]
        raise ValueError(f"{name} lists a seed twice: {given!r}")


def check_table(name: str, given: object) -> None:
    """Raise a ValueError unless given is what TOML calls a table: names with values."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be a table of names and values, got {given!r}")

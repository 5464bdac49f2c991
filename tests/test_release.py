"""What is handed out: one version everywhere, the files of the wheel and the sdist, pinned versions, no code from files."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mixrl_env

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PYPROJECT["project"]["version"]


def test_the_version_is_the_same_everywhere() -> None:
    assert mixrl_env.__version__ == VERSION
    newest, *_ = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == VERSION
    assert re.findall(r"version = \{(.+)\}", (ROOT / "docs" / "cite.md").read_text()) == [VERSION]


# Built files


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that was built from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def files_of(*folders: str) -> set[str]:
    """Paths under folders of the checkout."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


def test_wheel_has_the_environment_and_the_agents_as_mixrl(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"mixrl-{VERSION}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    files = files_of("mixrl_env") | {name.replace("agents/", "mixrl/", 1) for name in files_of("agents")}
    about = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    assert names - files == {f"mixrl-{VERSION}.dist-info/{name}" for name in about}
    assert files <= names
    assert {"mixrl/py.typed", "mixrl_env/py.typed", "mixrl_env/backends/kernel.c", "mixrl_env/datasets/no2.csv"} <= names


def test_sdist_has_what_building_and_testing_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"mixrl-{VERSION}/") for name in archive.getnames()}
    pages, project = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}, {"LICENSE", "Makefile", "pyproject.toml"}
    needed = pages | project | {"constraints.txt", "docs/conf.py", "results/no2/results.csv"}
    assert needed | files_of("mixrl_env", "agents", "experiments", "tests") <= names
    assert {name.replace("agents/", "mixrl/", 1) for name in files_of("agents")} <= names
    assert not [name for name in names if name.startswith((".git/", ".venv", "runs/", "dist/"))]


# Versions


def requirements() -> dict[str, Requirement]:
    """The requirements of pyproject.toml."""
    project = PYPROJECT["project"]
    asked = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    return {canonicalize_name(own.name): own for own in map(Requirement, asked) if own.name != "mixrl"}


def pins(file: str) -> dict[str, Version]:
    lines = [line.split("==") for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: "==".join(line).lower()), f"{file} is not sorted"
    return {canonicalize_name(name): Version(version) for name, version in lines}


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-newest.txt"])
def test_what_is_asked_for_is_pinned(file: str) -> None:
    pinned = pins(file)
    assert not [str(own) for name, own in requirements().items() if not own.specifier.contains(pinned[name])]


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    lowest = {name: Version(next(iter(own.specifier)).version) for name, own in requirements().items()}
    pinned = pins("constraints-lowest.txt")
    assert {name: pinned[name] for name in lowest} == lowest


# Code


def test_bandit_finds_nothing() -> None:
    """No eval, no unsafe loading, no shell; exceptions stand in pyproject.toml and beside their lines, with reasons."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive"]
    done = subprocess.run(
        [*command, *PYPROJECT["tool"]["mypy"]["packages"]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

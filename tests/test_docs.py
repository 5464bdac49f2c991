"""The pages: every block of Python runs, every command parses, every link leads somewhere, the site builds without warnings."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import tyro

import experiments.__main__ as command_line
import mixrl
import mixrl_env
from tests.test_rl_page import cheaply

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "api").glob("*.md"))]
BLOCK = re.compile(r"^```([^`\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN_ELSEWHERE = {"docs/rl.md": "test_rl_page.py lets each of its agents learn"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [code for stated, code in BLOCK.findall(page.read_text()) if stated == language]


def without_code(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


# Python


def dacon_table() -> None:
    """A file in the format of the table that docs/datasets.md cannot bring along."""
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(rng.integers(1, 11, (1200, 4)) * 10, columns=[f"layer_{layer}" for layer in range(1, 5)])
    spectra = pd.DataFrame(rng.random((1200, 226)).round(3), columns=[str(point) for point in range(226)])
    pd.concat([labels, spectra], axis=1).to_csv("train.csv", index=False)


NEEDS: dict[str, Callable[[], None]] = {"docs/datasets.md": dacon_table}


@pytest.mark.usefixtures("_global_generators_kept")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_blocks_of_python_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """In one namespace, in order, in an empty folder; with tiny regressors, so that what is learned is nothing."""
    if reason := RUN_ELSEWHERE.get(name_of(page)):
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    if name_of(page) != "docs/tables.md":  # whose regressors are small, and trained to the end
        cheaply(monkeypatch)
        request.getfixturevalue("small_networks")
    NEEDS.get(name_of(page), lambda: None)()
    assert page.read_text().count("```python") == len(blocks(page, "python"))  # none is hidden in a list
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page, "python"), start=1):
        exec(compile(code, f"{name_of(page)}, block {number}", "exec"), names)


def test_figures_of_mixing_a_parabola(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/start.md shows what its block prints."""
    page = ROOT / "docs" / "start.md"
    exec(blocks(page, "python")[0], {})
    rows = re.findall(r"\| x = \d, .*? \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|", page.read_text())
    printed = [[float(value) for value in re.findall(r"\[\[(.+?)\]\]", line)] for line in capsys.readouterr().out.splitlines()]
    assert [[float(value) for value in row[:3]] for row in rows] == printed
    assert [float(row[3]) for row in rows] == [abs(label - truth) for _, label, truth in printed]


def test_table_of_ids() -> None:
    """docs/environment.md states the spaces of the registered environments."""
    row = r"\| `(MixRL-\w+-v0)` \| .*? \| `MultiBinary\((\d+)\)` \| \((\d+), (\d+)\) \| .*? \| ([\d.]*) ?\|"
    stated = re.findall(row, (ROOT / "docs" / "environment.md").read_text())
    assert {name for name, *_ in stated} | {"MixRL-v0"} == {name for name in gym.registry if name.startswith("MixRL-")}
    for name, *numbers, scale in stated:
        env = gym.make(name)
        assert [env.action_space.n, *env.observation_space.shape] == [int(number) for number in numbers]
        assert not scale or env.unwrapped.problem.config.reward_scale == float(scale)


# Commands


def commands() -> list[tuple[str, str]]:
    """Page and arguments of python -m experiments, from blocks and from code within the text."""
    found = []
    for page in PAGES:
        inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_code(page))]
        lines = [*"".join(blocks(page, "bash")).splitlines(), *inline]
        found += [(name_of(page), line.split("-m experiments ", 1)[1]) for line in lines if "-m experiments " in line]
    table = re.findall(r"\| ([^|]+) \|$", (ROOT / "docs" / "paper.md").read_text(), re.MULTILINE)  # the column Command
    found += [("docs/paper.md", code) for cell in table for code in re.findall(r"`(\w[^`]*)`", cell)]
    return [(page, arguments) for page, arguments in found if arguments != "--help"]  # which prints and exits


@pytest.mark.parametrize(("page", "arguments"), commands())
def test_commands_parse(page: str, arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verb and flags are known, and studies that are named exist; nothing is computed."""
    stated = shlex.split(arguments, comments=True)
    called: list[str] = []

    def silent(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def record(*positional: Any, **named: Any) -> None:
            inspect.signature(verb).bind(*positional, **named)
            called.append(verb.__name__)

        return record

    parse = tyro.extras.subcommand_cli_from_dict
    monkeypatch.setattr(sys, "argv", ["python -m experiments", *stated])
    monkeypatch.setattr(
        tyro.extras,
        "subcommand_cli_from_dict",
        lambda verbs, **named: parse({name: silent(verb) for name, verb in verbs.items()}, **named),
    )
    command_line.main()
    assert called == [stated[0].replace("-", "_")]
    for path in (argument for argument in stated if argument.startswith(("experiments/", "results/")) and argument.islower()):
        assert list(ROOT.glob(path)), f"{page}: {path} does not exist"


# Links and the site


def slugs(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue  # another site: nothing here needs a network
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} is not there"
        assert not anchor or anchor in slugs(target), f"{link}: no such heading"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as make docs builds it."""
    folder = tmp_path_factory.mktemp("site")
    (recipe,) = re.findall(r"-m sphinx (.*) docs docs/_build/html", (ROOT / "Makefile").read_text())
    command = [sys.executable, "-m", "sphinx", *recipe.split(), "-d", str(folder / "trees"), "docs", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "html"


def test_site_has_no_dead_link_and_needs_no_network(site: Path) -> None:
    html = {path: path.read_text() for path in site.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in html.items()}
    for path, text in html.items():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="([^"]+)"|<link[^>]*\bhref="([^"]+)"', text)
        assert not [stated for pair in loaded for stated in pair if "//" in stated], f"{path.name} loads from elsewhere"
        for link in re.findall(r'\b(?:src|href)="([^"]+)"', text):
            file, _, anchor = unquote(link).partition("#")
            if ":" in file:
                continue
            target = (path.parent / file.split("?")[0]).resolve() if file else path
            assert target.exists(), f"{path.name}: {link}"
            if "_modules" not in path.parts:  # viewcode's way back has the right page, not always the place
                assert not anchor or target not in ids or anchor in ids[target], f"{path.name}: {link}"


def test_reference_has_every_public_name(site: Path) -> None:
    for package, page in ((mixrl_env, "mixrl_env"), (mixrl, "agents")):
        text = (site / "api" / f"{page}.html").read_text()
        missing = [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in text]
        assert not missing, f"docs/api/{page}.md lacks them"


def test_page_of_the_environment_is_its_docstring(site: Path) -> None:
    text = (site / "environment.html").read_text()
    headings = re.findall(r"^## (.+)$", inspect.getdoc(mixrl_env.MixRLEnv) or "", re.MULTILINE)
    assert {"Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Arguments"} <= set(headings)
    assert all(f">{heading}<" in text for heading in headings)
    assert "../api" not in text
    assert 'href="api/mixrl_env.html#mixrl_env.ProblemConfig"' in text

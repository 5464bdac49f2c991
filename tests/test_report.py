"""The report: one page with every table and figure of a folder, which opens offline."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from experiments.pages import draw_stored, tables_of
from tests.test_experiments import run

ROOT = Path(__file__).parent.parent


def test_every_table_and_figure_is_on_the_page_and_nothing_is_loaded(tmp_path: Path) -> None:
    folders = [ROOT / "results" / name for name in ("labels", "algorithm-1")]
    out = tmp_path / "page.html"
    done = run("report", *folders, "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, str(out)), done.stderr
    page = out.read_text()
    for folder in folders:
        for title, table in tables_of(folder):
            assert html.escape(title) in page
            for cell in table.to_numpy().ravel():
                assert html.escape(str(cell), quote=False) in page
    figures = [path for folder in folders for path in draw_stored(folder, tmp_path / folder.name)]
    assert page.count('src="data:image/png;base64,') == len(figures) > 1
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "sweep experiments/studies/algorithm-1.toml" in page


@pytest.mark.parametrize(
    ("arguments", "words"), [(["nowhere"], "no results in nowhere"), (["--results", "tests"], "no folder in tests")]
)
def test_folders_without_results_are_one_error(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run("report", *arguments, "--out", tmp_path / "page.html")
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())

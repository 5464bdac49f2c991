"""Markdown pages show stored results: between two marks stand the tables of a results folder, written by a command.

<!-- tables: results/no2-default 1 3 -->   the first and the third table of that folder; without numbers all of them
<!-- /tables -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.benchmark.learning import read_learning
from experiments.benchmark.plots import draw_benchmark
from experiments.benchmark.run import benchmark_tables, is_benchmark, stored_tables
from experiments.figures import draw_figures
from experiments.results import write_text
from experiments.studies.cells import cell_files, read_cells
from experiments.studies.kinds import KINDS, SETTINGS_FILE, read_toml
from experiments.tables import study_tables, to_markdown

_BLOCK = re.compile(r"(<!-- tables: (?P<folder>\S+)(?P<numbers>[ 0-9]*) -->\n).*?(<!-- /tables -->)", re.DOTALL)


def holds_results(folder: Path) -> bool:
    """Whether anything is stored in a folder, whatever kind of study it is."""
    cells = (folder / SETTINGS_FILE).exists() and bool(cell_files(folder))
    return cells or (folder / "results.csv").exists() or is_benchmark(folder)


def tables_of(folder: Path, splits: Sequence[int] = ()) -> list[tuple[str, pd.DataFrame]]:
    """Titles and tables of a results folder, whatever kind of study it holds; of a comparison, only these splits if given.

    Raises:
        ValueError: if nothing is stored there.
    """
    settings = folder / SETTINGS_FILE
    if settings.exists():
        return KINDS[read_toml(settings)["kind"]].tables(read_cells(folder))
    if is_benchmark(folder):
        return list(benchmark_tables(folder).values())
    return study_tables(folder, splits)


def draw_stored(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of a results folder, whatever kind of study it holds; returns the files written.

    Args:
        folder: of the study.
        out: where the figures go; if not given, the study's own folder.
    """
    settings = folder / SETTINGS_FILE
    if settings.exists():
        return KINDS[read_toml(settings)["kind"]].draw(read_cells(folder), out or folder)
    out = out or folder / "figures"
    if is_benchmark(folder):
        return draw_benchmark(stored_tables(folder), read_learning(folder), out)
    return draw_figures(folder, out)


def filled(page: str, root: Path) -> str:
    """The page with the tables that are stored now.

    Args:
        page: Markdown.
        root: what the folders in it are relative to.

    Raises:
        ValueError: if nothing is stored in a folder, or it has no table of that number.
    """

    def block(match: re.Match[str]) -> str:
        tables = tables_of(root / match["folder"])
        numbers = [int(number) for number in match["numbers"].split()] or list(range(1, len(tables) + 1))
        if max(numbers) > len(tables):
            raise ValueError(f"{match['folder']} has {len(tables)} tables, no number {max(numbers)}")
        shown = [f"{title}\n\n{to_markdown(table)}\n" for title, table in (tables[number - 1] for number in numbers)]
        return match[1] + "\n" + "\n".join(shown) + "\n" + match[4]

    return _BLOCK.sub(block, page)


def fill_page(path: Path, root: Path = Path()) -> bool:
    """Bring a page up to date; returns whether anything changed."""
    page = path.read_text()
    new = filled(page, root)
    if new != page:
        write_text(new, path)
    return new != page

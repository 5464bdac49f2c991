"""Markdown pages show stored results: between two marks stand the tables of a results folder, written by a command.

<!-- tables: results/no2-default 1 3 -->   the first and the third table of that folder; without numbers all of them
<!-- /tables -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from experiments.benchmark.learning import read_learning
from experiments.benchmark.plots import draw_benchmark
from experiments.benchmark.run import benchmark_tables, is_benchmark, stored_tables
from experiments.figures import draw_figures
from experiments.results import write_text
from experiments.studies.cells import CellStudy, cell_files, read_cells
from experiments.studies.kinds import KINDS, SETTINGS_FILE, read_toml
from experiments.tables import study_tables, to_markdown

_BLOCK = re.compile(r"(<!-- tables: (?P<folder>\S+)(?P<numbers>[ 0-9]*) -->\n).*?(<!-- /tables -->)", re.DOTALL)
_OPENS = re.compile(r"^<!-- tables: ", re.MULTILINE)


def holds_results(folder: Path) -> bool:
    """Whether anything is stored in a folder, whatever kind of study it is."""
    cells = (folder / SETTINGS_FILE).exists() and bool(cell_files(folder))
    return cells or (folder / "results.csv").exists() or is_benchmark(folder)


def tables_of(folder: Path, splits: Sequence[int] = ()) -> list[tuple[str, pd.DataFrame]]:
    """Titles and tables of a results folder, whatever kind of study it holds; of a comparison, only these splits if given.

    Raises:
        ValueError: if nothing is stored there, or what is stored is damaged.
    """
    with _damage_told(folder):
        if (folder / SETTINGS_FILE).exists():
            return _kind_of(folder).tables(read_cells(folder))
        if not is_benchmark(folder):
            return study_tables(folder, splits)
        tables = list(benchmark_tables(folder).values())
    if not tables:
        raise ValueError(f"there are no results in {folder}")
    return tables


def _kind_of(folder: Path) -> type[CellStudy]:
    settings = folder / SETTINGS_FILE
    kind = read_toml(settings)["kind"]
    if kind not in KINDS:
        raise ValueError(f"{settings} names no kind of study that is stored beside it; those are {', '.join(KINDS)}")
    return KINDS[kind]


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """A column that stored tables lack, or that holds texts in place of numbers, is told with the folder."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{folder} is damaged: a table that is stored there lacks {error}") from error
    except TypeError as error:
        raise ValueError(
            f"{folder} is damaged: a table that is stored there holds no numbers where it should ({error})"
        ) from error


def draw_stored(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of a results folder, whatever kind of study it holds; returns the files written.

    Args:
        folder: of the study.
        out: where the figures go; if not given, the study's own folder.

    Raises:
        ValueError: if nothing is stored there, or what is stored is damaged.
    """
    with _damage_told(folder):
        if (folder / SETTINGS_FILE).exists():
            return _kind_of(folder).draw(read_cells(folder), out or folder)
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
        ValueError: if nothing is stored in a folder, it has no table of that number, or the second mark is missing.
    """

    def block(match: re.Match[str]) -> str:
        tables = tables_of(root / match["folder"])
        numbers = [int(number) for number in match["numbers"].split()] or list(range(1, len(tables) + 1))
        for number in numbers:
            if not 1 <= number <= len(tables):
                raise ValueError(f"{match['folder']} has {len(tables)} tables, no number {number}")
        shown = [f"{title}\n\n{to_markdown(table)}\n" for title, table in (tables[number - 1] for number in numbers)]
        return match[1] + "\n" + "\n".join(shown) + "\n" + match[4]

    opened, closed = len(_OPENS.findall(page)), len(_BLOCK.findall(page))
    if opened != closed:
        raise ValueError(f"{opened} marks <!-- tables: ... --> begin tables, but {closed} of them end with <!-- /tables -->")
    return _BLOCK.sub(block, page)


def fill_pages(paths: Sequence[Path], root: Path = Path()) -> list[bool]:
    """Bring pages up to date, all of them or none; returns whether anything changed, for each.

    Raises:
        ValueError: see `filled`; and for a file that is no text.
    """
    pages = []
    for path in paths:
        try:
            page = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no UTF-8 text: {error}") from error
        try:
            pages.append((path, page, filled(page, root)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    for path, page, new in pages:
        if new != page:
            write_text(new, path)
    return [new != page for _, page, new in pages]

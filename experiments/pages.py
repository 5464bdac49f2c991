"""Markdown pages show stored results: between two marks stand the tables of a results folder, written by a command.

<!-- tables: results/no2 1 3 -->   the first and the third table of that folder; without numbers all of them
<!-- /tables -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from experiments.kinds import kind_of
from experiments.runner.store import Results, read_results
from experiments.show.tables import Titled, to_markdown
from mixrl.files import write_bytes

_BLOCK = re.compile(r"(<!-- tables: (?P<folder>\S+)(?P<numbers>[ 0-9]*) -->\n).*?(<!-- /tables -->)", re.DOTALL)
_OPENS = re.compile(r"^<!-- tables: ", re.MULTILINE)


def tables_of(folder: Path, splits: Sequence[int] = ()) -> list[Titled]:
    """Titles and tables of a results folder, for any kind of study.

    Args:
        folder: of the study.
        splits: only these; all if empty.

    Raises:
        ValueError: if nothing is stored there, or none of these splits.
    """
    kind, results = kind_of(folder), read_results(folder)
    if splits:
        kept = [record for record in results.records if record.labels.get("split_seed") in splits]
        if not kept:
            raise ValueError(f"{folder} holds none of the splits {', '.join(map(str, splits))}")
        results = Results(folder, kept, results.failed)
    return kind.tables(results)


def draw_stored(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of a results folder, for any kind of study; returns the files written.

    Args:
        folder: of the study.
        out: where the figures go; the study's own folder if not given.

    Raises:
        ValueError: if nothing is stored there.
    """
    return kind_of(folder).draw(read_results(folder), out or folder)


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
        ValueError: see `filled`.
    """
    pages = []
    for path in paths:
        page = path.read_text(encoding="utf-8")
        try:
            pages.append((path, page, filled(page, root)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    for path, page, new in pages:
        if new != page:
            write_bytes(new.encode(), path)
    return [new != page for _, page, new in pages]

"""Tables for people: in a terminal, and as Markdown in the pages."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

Titled = tuple[str, pd.DataFrame]
"""A title and a table of texts."""


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown."""
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_rich(title: str, table: pd.DataFrame, width: int) -> Table:
    """A table for a terminal of this many columns; in a table that is too wide, cells wrap between words, never in numbers."""
    out = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    cells = [[str(column), *map(str, table[column])] for column in table.columns]
    fits = sum(max(map(len, column)) + 1 for column in cells) <= width
    for column in cells:
        out.add_column(column[0], width=None if fits else max(map(len, " ".join(column).split())))
    for row in zip(*(column[1:] for column in cells), strict=True):
        out.add_row(*row)
    return out


def print_tables(tables: Iterable[Titled], console: Console, markdown: bool = False) -> None:
    """Print titles and tables, for the terminal or as Markdown; empty tables are left out."""
    for title, table in tables:
        if table.empty:
            continue
        if markdown:
            print(f"{title}\n\n{to_markdown(table)}\n")
        else:
            console.print(to_rich(title, table, console.width))

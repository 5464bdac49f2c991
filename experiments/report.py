"""One HTML page of stored results that needs nothing else: tables, figures, settings, and the command behind each study."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import matplotlib
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.pages import draw_stored, holds_results, tables_of
from experiments.provenance import Provenance, provenance
from experiments.results import slug, write_text
from experiments.summary import summary_table

_TEMPLATE = "report.html.jinja"
_NUMBERS = re.compile(r"(?:of|to|e|nan|[\s\d.,%±+\-−\[\]()])*")
_WRAPPED = 20  # characters of a line where text in a table is wrapped
_SUMMARY = (
    "MixRL against No Augmentation and the baseline that is best on the test rows: differences of the test RMSE of "
    "averaged predictions, paired by split; negative is better. The paper's RMSE and ours beside it are of single predictions"
)


class Column(NamedTuple):
    """A table's column: its name, whether it holds numbers, and how many characters it needs; longer text is wrapped."""

    name: str
    numeric: bool
    width: int


class HtmlTable(NamedTuple):
    """A table as the template prints it."""

    title: str
    columns: list[Column]
    rows: list[list[str]]

    @property
    def width(self) -> int:
        """In characters, the room between columns included."""
        return sum(column.width + 2 for column in self.columns)


class Picture(NamedTuple):
    """A figure as the template prints it."""

    title: str
    uri: str


class Section(NamedTuple):
    """One study."""

    anchor: str
    folder: Path
    told: Provenance
    tables: list[HtmlTable]
    pictures: list[Picture]


def folders_with_results(root: Path) -> list[Path]:
    """The folders in a folder that hold results.

    Raises:
        ValueError: if there are none.
    """
    found = [folder for folder in sorted(root.glob("*")) if holds_results(folder)]
    if not found:
        raise ValueError(f"no folder in {root} holds results; name the folders of studies, such as results/no2-default")
    return found


def write_report(folders: Sequence[Path], out: Path, made: date) -> None:
    """Write the report of some results folders, or replace it in one go.

    Args:
        folders: of studies, in the order of the page.
        out: the page to write.
        made: the date that it shows.

    Raises:
        ValueError: if a folder holds no results, or `out` is a folder.
    """
    if out.is_dir():
        raise ValueError(f"{out} is a folder; --out takes the name of a page, such as {out / 'report.html'}")
    page = report_page(folders, made)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, out)


def report_page(folders: Sequence[Path], made: date) -> str:
    """The report as HTML; see `write_report`."""
    empty = [str(folder) for folder in folders if not holds_results(folder)]
    if empty:
        raise ValueError(f"there are no results in {', '.join(empty)}")
    folders = list(dict.fromkeys(folders))
    summary = summary_table(folders)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        sections=[_section(folder) for folder in folders],
        summary=_html_table(_SUMMARY, summary) if len(summary) else None,
        made=made.isoformat(),
    )


def _section(folder: Path) -> Section:
    tables = [_html_table(title, table) for title, table in tables_of(folder)]
    vector = matplotlib.rc_context({"savefig.format": "svg", "svg.hashsalt": "mixrl"})  # the salt: same figure, same bytes
    with tempfile.TemporaryDirectory() as out, vector:
        pictures = [_picture(path) for path in draw_stored(folder, Path(out))]
    return Section(slug(str(folder)), folder, provenance(folder), tables, pictures)


def _html_table(title: str, table: pd.DataFrame) -> HtmlTable:
    cells = table.astype(str)
    columns = [_column(str(name), cells[name].tolist()) for name in cells]
    return HtmlTable(title, columns, cells.to_numpy().tolist())


def _column(name: str, cells: list[str]) -> Column:
    numeric = all(map(_NUMBERS.fullmatch, cells))
    width = max(len(cell) if numeric else min(len(cell), _WRAPPED) for cell in [*cells, ""])
    return Column(name, numeric, max(width, *map(len, name.split())))


def _picture(path: Path) -> Picture:
    data = base64.b64encode(path.read_bytes()).decode()
    return Picture(path.stem.replace("_", " "), f"data:image/svg+xml;base64,{data}")

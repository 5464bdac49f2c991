"""Tables in files: CSV with a line of column names, or Parquet."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import islice
from pathlib import Path

import pandas as pd

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it stands in a file; of its values nothing is checked yet.

    Attributes:
        frame: rows numbered from 0, columns named by texts.
        source: the file, as messages call it.
        text: of a CSV file; None for Parquet.
    """

    frame: pd.DataFrame
    source: str
    text: str | None

    @cached_property
    def lines(self) -> list[int] | None:
        """Of a CSV file the line of every row, from 1, which is the line of the column names; None for Parquet."""
        return None if self.text is None else [number for number, _ in _lines(self.text, self.source)][1:]

    def place(self, row: int) -> str:
        """In words where a row is."""
        return from_0(row) if self.lines is None else f"line {self.lines[row]}"

    def cells(self) -> list[list[str]]:
        """The rows as texts: those of the CSV file as they stand there, or as pandas would write them."""
        text = self.frame.to_csv(index=False) if self.text is None else self.text
        return [cells for _, cells in _lines(text, self.source)][1:]


def read_file(path: str | Path) -> Table:
    """A table from a file: Parquet if its name ends so, or else CSV with values apart by commas, in UTF-8.

    Raises:
        ValueError: for a file that is empty, is no UTF-8 text, has another delimiter, a name twice or lines longer than its
            header; for Parquet that cannot be read, or has an index with a name; and if there is nothing to read it with.
        OSError: if there is no such file.
    """
    path = Path(path)
    if is_parquet(path):
        return Table(_read_parquet(path), str(path), None)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error.reason}): save the table as CSV in UTF-8") from error
    _check_header(text, path)
    try:
        frame = pd.read_csv(StringIO(text), low_memory=False)
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} is no CSV table: {str(error).strip()}") from error
    return Table(frame, str(path), text)


def is_parquet(path: Path) -> bool:
    """Whether a file's name says so."""
    return path.suffix.lower() == ".parquet"


def check_parquet_installed() -> None:
    """Raises ValueError if pandas finds nothing to read and write Parquet with."""
    try:
        pd.DataFrame({"any": [0]}).to_parquet(None)
    except ImportError as error:
        raise ValueError("Parquet needs the package pyarrow: pip install pyarrow") from error


def check_once(columns: Iterable[Hashable], source: str | Path) -> None:
    """Raises ValueError if a name is there twice."""
    for column, count in Counter(columns).items():
        if count > 1:
            raise ValueError(f"{source} has {count} columns called {column!r}: rename or drop all but one")


def from_0(row: int) -> str:
    """In words where a row is that has no line in a file."""
    return f"row {row} (from 0)"


def _read_parquet(path: Path) -> pd.DataFrame:
    path.open("rb").close()  # the same error for a missing file of both kinds
    check_parquet_installed()
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are these
        raise ValueError(f"{path} is no Parquet table: {str(error).splitlines()[0]}") from error
    if named := [name for name in frame.index.names if name is not None]:
        raise ValueError(f"{path} has an index called '{named[0]}': write it with frame.reset_index() or index=False")
    return frame.set_axis([str(column) for column in frame.columns], axis=1).reset_index(drop=True)


def _check_header(text: str, path: str | Path) -> None:
    """What pandas would pass over: another delimiter, a name that is there twice, lines longer than the header."""
    header, *first_row = [cells for _, cells in islice(_lines(text, path), 2)] or [[]]
    if not header:
        raise ValueError(f"{path} is empty")
    found = [(sign, words) for sign, words in _DELIMITERS.items() if sign in header[0]] if len(header) == 1 else []
    if found:
        sign, words = found[0]
        raise ValueError(
            f"the values of {path} are apart by {words}, not commas: read it with pandas.read_csv(path, sep={sign!r}), and "
            "decimal=',' if it has decimal commas, and give the frame to mixrl_env.from_frame; or save it with commas"
        )
    check_once([column for column in header if column], path)
    if first_row and len(first_row[0]) > len(header):  # pandas would take the first values of every line for an index
        raise ValueError(f"the lines of {path} have {len(first_row[0])} values, but it names {len(header)} columns: name all")


def _lines(text: str, source: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that pandas does not skip, with the number of each in the file, from 1."""
    reader = csv.reader(StringIO(text))
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells
    except csv.Error as error:  # such as a cell of more than 131072 characters
        raise ValueError(f"{source} is no CSV table: {error} in line {reader.line_num}") from error

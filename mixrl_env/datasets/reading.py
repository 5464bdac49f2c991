"""Tables in files: CSV with a line of column names, or Parquet."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from itertools import islice
from pathlib import Path

import pandas as pd

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_NAMED = {"\t": "tab"}  # as a shell takes it


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it stands in a file; of its values nothing is checked yet.

    Attributes:
        frame: rows numbered from 0, columns named by texts.
        source: the file, as messages call it.
        text: of a CSV file; None for Parquet.
        delimiter: between the values of a CSV file.
        encoding: of its text.
    """

    frame: pd.DataFrame
    source: str
    text: str | None
    delimiter: str = ","
    encoding: str = "utf-8"

    @cached_property
    def lines(self) -> list[int] | None:
        """Of a CSV file the line of every row, from 1, which is the line of the column names; None for Parquet."""
        return None if self.text is None else [number for number, _ in self._lines(self.text)][1:]

    def place(self, row: int) -> str:
        """In words where a row is."""
        return from_0(row) if self.lines is None else f"line {self.lines[row]}"

    def cells(self) -> list[list[str]]:
        """The rows as texts: those of the CSV file as they stand there, or as pandas would write them."""
        text = self.frame.to_csv(index=False, sep=self.delimiter) if self.text is None else self.text
        return [cells for _, cells in self._lines(text)][1:]

    def without(self, columns: Sequence[str]) -> Table:
        """The table without some columns."""
        if not columns:
            return self
        kept = [number for number, name in enumerate(self.frame) if name not in columns]
        frame = self.frame.iloc[:, kept]
        if self.text is None:
            return replace(self, frame=frame)
        written = StringIO()
        blank = dict(self._lines(self.text))
        ending = "\r\n" if "\r\n" in self.text else "\n"
        writer = csv.writer(written, delimiter=self.delimiter, lineterminator=ending)
        for number in range(1, max(blank) + 1):  # lines keep their numbers
            writer.writerow([blank[number][column] for column in kept] if number in blank else [])
        return replace(self, frame=frame, text=written.getvalue())

    def _lines(self, text: str) -> Iterator[tuple[int, list[str]]]:
        return _lines(text, self.source, self.delimiter)


def read_file(path: str | Path, delimiter: str = ",", decimal: str = ".", encoding: str = "utf-8") -> Table:
    """A table from a file: Parquet if its name ends so, or else CSV.

    Args:
        path: of the file.
        delimiter: between the values.
        decimal: sign between whole number and fraction.
        encoding: of the text.

    Raises:
        ValueError: for a file that is empty, is no text in this encoding, has another delimiter, a name twice or lines longer
            than its header; for Parquet that cannot be read, or has an index with a name; and if there is nothing to read it
            with.
        OSError: if there is no such file.
    """
    path = Path(path)
    if is_parquet(path):
        return Table(_read_parquet(path), str(path), None)
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            text = file.read()
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}; known are utf-8, latin-1, cp1252 and others of Python") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in {encoding.upper()} ({error.reason}): name its encoding, such as latin-1 or cp1252, or save "
            "it in UTF-8"
        ) from error
    _check_header(text, path, delimiter)
    try:
        frame = pd.read_csv(StringIO(text), low_memory=False, sep=delimiter, decimal=decimal)
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} is no CSV table: {str(error).strip()}") from error
    return Table(frame, str(path), text, delimiter, encoding)


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


def _check_header(text: str, path: str | Path, delimiter: str) -> None:
    """What pandas would pass over: another delimiter, a name that is there twice, lines longer than the header."""
    header, *first_row = [cells for _, cells in islice(_lines(text, path, delimiter), 2)] or [[]]
    if not header:
        raise ValueError(f"{path} is empty")
    found = (
        [(sign, words) for sign, words in _DELIMITERS.items() if sign in header[0] and sign != delimiter]
        if len(header) == 1
        else []
    )
    if found:
        sign, words = found[0]
        raise ValueError(
            f"the values of {path} are separated by {words}: give mixrl augment --sep {_NAMED.get(sign, repr(sign))}, and "
            "--decimal , for decimal commas; in Python read it with pandas.read_csv(path, sep=..., decimal=...), and give the "
            "frame to mixrl_env.from_frame"
        )
    check_once([column for column in header if column], path)
    if first_row and len(first_row[0]) > len(header):  # pandas would take the first values of every line for an index
        raise ValueError(f"the lines of {path} have {len(first_row[0])} values, but it names {len(header)} columns: name all")


def _lines(text: str, source: str | Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that pandas does not skip, with the number of each in the file, from 1."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells
    except csv.Error as error:  # such as a cell of more than 131072 characters
        raise ValueError(f"{source} is no CSV table: {error} in line {reader.line_num}") from error

"""Augmented tables as CSV and Parquet files: the table's own rows unchanged, followed by the mixed rows."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

from mixrl_env.datasets.reading import Table

_DIGITS = 13  # of mixed values, without errors of rounding


def as_csv(table: Table, everything: pd.DataFrame, decimal: str = ".") -> bytes:
    """A CSV file in which the table's own rows are as they stand in its file, byte by byte where no column is new.

    Args:
        table: the table as read.
        everything: its rows followed by the mixed rows. Columns of the same name keep their cells in its own rows, but for
            truth values, which become 1 and 0 if there are mixed rows.
        decimal: sign between whole number and fraction.
    """
    mixed = _texts(everything[len(table.frame) :], decimal)
    written = StringIO()
    writer = csv.writer(written, delimiter=table.delimiter, lineterminator="\r\n" if "\r\n" in (table.text or "") else "\n")
    as_it_was = table.text is not None and list(everything) == list(table.frame)
    flags = [name for name in everything if name in table.frame and is_bool_dtype(table.frame[name]) and len(mixed)]
    if as_it_was and not flags:
        text = table.text or ""
        written.write(text if text.endswith("\n") else f"{text}\n")
    else:
        own = _texts(everything[: len(table.frame)], decimal)
        cells = dict(zip(table.frame, zip(*table.cells(), strict=True), strict=True))
        columns = [own[name] if name in flags else cells.get(name, own[name]) for name in everything]
        writer.writerow(everything)
        writer.writerows(zip(*columns, strict=True))
    writer.writerows(mixed.itertuples(index=False))
    return written.getvalue().encode(table.encoding)


def as_parquet(table: Table, everything: pd.DataFrame) -> bytes:
    """A Parquet file; columns of floats and of categories keep their type, others become floats if there are mixed rows.

    Args:
        table: the table as read.
        everything: as for `as_csv`.
    """
    count, columns = len(table.frame), {}
    for name in everything:
        mixed = everything[name][count:]
        if name not in table.frame:
            columns[name] = everything[name]
        elif is_float_dtype(table.frame[name]) or not len(mixed) or not is_numeric_dtype(mixed):
            columns[name] = pd.concat([table.frame[name], _rounded(mixed).astype(table.frame[name].dtype)], ignore_index=True)
        else:
            columns[name] = pd.concat([everything[name][:count].astype(float), _rounded(mixed)], ignore_index=True)
    written = BytesIO()
    pd.DataFrame(columns).to_parquet(written, index=False)
    return written.getvalue()


def _texts(frame: pd.DataFrame, decimal: str) -> pd.DataFrame:
    """Numbers with all their digits, and no more; nothing where a value is missing."""

    def text(value: object) -> str:
        if pd.isna(value):  # type: ignore[call-overload]
            return ""
        return f"{value:.15g}".replace(".", decimal) if isinstance(value, float | int | np.number) else str(value)

    return pd.DataFrame({name: [text(value) for value in _rounded(frame[name])] for name in frame}, dtype=object)


def _rounded(values: pd.Series) -> pd.Series:
    if not is_float_dtype(values):
        return values
    largest = values.abs().max()
    decimals = _DIGITS - 1 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    return values.round(min(decimals, 300)) + 0.0  # no -0

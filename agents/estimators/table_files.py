"""Augmented tables as CSV and Parquet files: the table's own rows unchanged, followed by the mixed rows."""

from __future__ import annotations

import csv
from collections.abc import Hashable
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype

from mixrl.estimators.columns import Columns
from mixrl_env.datasets.reading import Table

_DIGITS = 13  # of mixed values, without errors of rounding


def numeric_columns(frame: pd.DataFrame, name: Hashable) -> list[str]:
    """Names of the numeric columns made of a column: the column itself, or one for every value if it holds no numbers."""
    return list(Columns(frame[[name]], "one_hot").names)


def as_csv(table: Table, numbers: pd.DataFrame) -> bytes:
    """A CSV file with the table's own cells unchanged.

    Truth values become 1 and 0 if there are mixed rows; categories become one column of 0 and 1 for every value.

    Args:
        table: the table as read.
        numbers: its rows followed by the mixed rows, with the columns of `numeric_columns`.
    """
    frame, columns = table.frame, {}
    count = len(frame)
    for name, cells in zip(frame, zip(*table.cells(), strict=True), strict=True):
        for numeric in numeric_columns(frame, name):
            own, mixed = numbers[numeric][:count], _rounded(numbers[numeric])[count:]
            as_it_was = numeric == name and not (is_bool_dtype(frame[name]) and len(mixed))
            columns[numeric] = [*(cells if as_it_was else map(_text, own)), *map(_text, mixed)]
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return written.getvalue().encode()


def as_parquet(table: Table, numbers: pd.DataFrame) -> bytes:
    """A Parquet file; columns of floats keep their type, others become floats if there are mixed rows.

    Args:
        table: the table as read.
        numbers: as for `as_csv`.
    """
    frame, columns = table.frame, {}
    count = len(frame)
    for name in frame:
        for numeric in numeric_columns(frame, name):
            own, mixed = numbers[numeric][:count], _rounded(numbers[numeric])[count:]
            if numeric == name and (is_float_dtype(frame[name]) or not len(mixed)):
                own, mixed = frame[name], mixed.astype(frame[name].dtype)
            columns[numeric] = pd.concat([own, mixed], ignore_index=True)
    written = BytesIO()
    pd.DataFrame(columns).to_parquet(written, index=False)
    return written.getvalue()


def _rounded(values: pd.Series) -> pd.Series:
    largest = values.abs().max()
    decimals = _DIGITS - 1 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    return values.round(min(decimals, 300)) + 0.0  # no -0


def _text(value: float) -> str:
    return f"{value:.15g}"

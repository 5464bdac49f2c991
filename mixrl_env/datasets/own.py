"""Tables of the user's own: a DataFrame, a CSV or a Parquet file whose target columns are named."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from mixrl_env.data import LARGEST, RegressionData
from mixrl_env.datasets.reading import check_once, from_0, read_file

PARTS = ("train", "val", "test")
"""What a column that gives the split may hold."""
_MOST_NAMES = 10  # columns that a message lists
Place = Callable[[int], str]
"""Says in words where a row is, from its index."""


def from_frame(
    frame: pd.DataFrame,
    targets: str | Sequence[str],
    *,
    split: str | None = None,
    sizes: tuple[int, int, int] | None = None,
    split_seed: int = 0,
    name: str = "custom",
) -> RegressionData:
    """A task from a table whose target columns are named; every other column is a feature, its index is not used.

    Labels keep their units. Booleans and numbers written as text count as numbers.

    Args:
        frame: one row an example; numbers only, none missing, except in the column `split`.
        targets: the columns to predict, one or several.
        split: a column that holds "train", "val" or "test" for every row; it is no feature. "test" may be left out. None
            draws the split.
        sizes: of a drawn split: training, validation and test rows, together at most those of the table. None draws two
            fifths, two fifths and the rest, the shares of the paper's NO2: rewards are paid on validation rows, so a policy
            needs as many of them as it has rows to choose for.
        split_seed: the same seed draws the same split.
        name: what tables and messages call the task.

    Raises:
        ValueError: naming what is wrong and what to do: a column that is missing, twice there, without a name or used twice;
            a value that is missing, no number or no part of a split; a part without rows, or sizes that do not fit.
    """
    return _from_checked(frame, targets, split, sizes, split_seed, name, "the table", from_0)


def read_table(
    path: str | Path,
    targets: str | Sequence[str],
    *,
    split: str | None = None,
    sizes: tuple[int, int, int] | None = None,
    split_seed: int = 0,
    name: str | None = None,
) -> RegressionData:
    """`from_frame` for a CSV file (one line of column names, values apart by commas, UTF-8) or a Parquet file (.parquet).

    Args:
        path: of the file.
        targets: the columns to predict; see `from_frame`, also for the next three.
        split: the column that gives the split, or None.
        sizes: of a drawn split.
        split_seed: of a drawn split.
        name: what tables and messages call the task; the file's name without its ending if not given.

    Raises:
        ValueError: as `from_frame` does, with the line in the file; and for a file that is empty, is no UTF-8 text, has
            another delimiter, or lines longer than its header, or is Parquet without pyarrow to read it with.
        OSError: if there is no such file.
    """
    table = read_file(path)
    name = Path(path).stem if name is None else name
    return _from_checked(table.frame, targets, split, sizes, split_seed, name, table.source, table.place)


def as_numbers(frame: pd.DataFrame, source: str | Path, place: Place, *, missing: bool = False) -> pd.DataFrame:
    """The same table as float64.

    Args:
        frame: any columns.
        source: what messages call the table.
        place: says in words where a row is, from the frame's index.
        missing: True lets values be missing, which become NaN.

    Raises:
        ValueError: naming place and column of the first value that is no finite number or beyond `mixrl_env.data.LARGEST`, or
            else of the first missing one.
    """
    columns = [frame[name] if is_numeric_dtype(frame[name]) else frame[name].astype(object) for name in frame]  # dates are none
    values = np.empty(frame.shape)
    for number, column in enumerate(columns):
        values[:, number] = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    none = frame.isna().to_numpy()
    for bad in (~(np.abs(values) <= LARGEST) & ~none, none & (not missing)):
        if bad.any():
            row, number = np.argwhere(bad)[0]
            what, advice = _what_is_wrong(frame.iat[row, number], values[row, number], none[row, number])
            raise ValueError(
                f"{source} has {what} in {place(frame.index[row])}, column '{frame.columns[number]}' "
                f"(the first of {bad.sum()} in {len(frame)} rows): {advice}"
            )
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _what_is_wrong(value: object, number: float, missing: bool) -> tuple[str, str]:
    if missing:
        return "no value", "fill in or drop the rows or columns with missing values"
    if np.isfinite(number):
        return f"{value}, which is beyond {LARGEST:g},", "give the column in another unit"
    if isinstance(value, float):
        return f"{value}, which is not finite,", "correct or drop the rows or columns with such values"
    return f"{reprlib.repr(str(value))}, which is no number,", "encode the column as numbers, or drop it"


def _from_checked(
    frame: pd.DataFrame,
    targets: str | Sequence[str],
    split: str | None,
    sizes: tuple[int, int, int] | None,
    split_seed: int,
    name: str,
    source: str,
    place: Place,
) -> RegressionData:
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1).reset_index(drop=True)
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    check_columns(list(frame.columns), targets, split, source)
    if split is None:
        sizes = _drawn_sizes(sizes, len(frame), source)
    elif sizes is not None:
        raise ValueError(f"the column '{split}' gives the split, so sizes cannot be given too: leave out one of them")
    else:
        _check_parts(frame[split], source, place)
    features = tuple(column for column in frame.columns if column not in (*targets, split))
    numbers = as_numbers(frame[[*features, *targets]], source, place).to_numpy()
    x, y = np.split(numbers, [len(features)], axis=1)
    if split is None:
        assert sizes is not None
        return RegressionData.from_table(
            x, y, sizes=sizes, split_seed=split_seed, feature_names=features, target_names=targets, name=name
        )
    train, val, test = (np.flatnonzero(frame[split] == part) for part in PARTS)
    x_test, y_test = (x[test], y[test]) if len(test) else (None, None)
    return RegressionData(x[train], y[train], x[val], y[val], x_test, y_test, features, targets, name)


def check_columns(columns: Sequence[str], targets: Sequence[str], split: str | None, source: str) -> None:
    """Check that names are given, known and used once, and that something is left as a feature.

    Args:
        columns: of the table.
        targets: those to predict.
        split: the one that gives the split, or None.
        source: what messages call the table.

    Raises:
        ValueError: naming the column, and for one that is missing the nearest.
    """
    for number, column in enumerate(columns, start=1):
        if not column.strip() or re.fullmatch(r"Unnamed: \d+", column):
            raise ValueError(
                f"column {number} of {source} has no name. If it is the index that pandas writes, write the file with "
                "index=False or drop the column; else give it a name"
            )
    check_once(columns, source)
    if not targets:
        raise ValueError("targets is empty: name at least one column to predict")
    for target in targets:
        _check_known(target, columns, "target", source)
        if list(targets).count(target) > 1:
            raise ValueError(f"the target '{target}' is named twice")
    if split is not None:
        _check_known(split, columns, "split", source)
        if split in targets:
            raise ValueError(f"'{split}' is named as a target and as the column of the split")
    if len(columns) == len(targets) + (split is not None):
        raise ValueError(f"{source} has no column that is a feature, only {', '.join(map(repr, columns))}")


def _check_known(column: str, columns: Sequence[str], what: str, source: str) -> None:
    if column in columns:
        return
    by_lower = {known.lower(): known for known in columns}
    near = difflib.get_close_matches(str(column).lower(), by_lower, n=1)
    shown = ", ".join(columns[:_MOST_NAMES]) + (", ..." if len(columns) > _MOST_NAMES else "")
    hint = f"did you mean '{by_lower[near[0]]}'?" if near else f"its columns are {shown}"
    raise ValueError(f"{source} has no column '{column}', which is named as {what}; {hint}")


def _check_parts(given: pd.Series, source: str, place: Place) -> None:
    """Every row belongs to a part, and there are training and validation rows."""
    unknown = ~given.isin(PARTS).to_numpy()
    if unknown.any():
        row = int(np.argmax(unknown))
        value = "no value" if pd.isna(given[row]) else reprlib.repr(str(given[row]))
        raise ValueError(f"{source} has {value} in {place(row)}, column '{given.name}'; it must be 'train', 'val' or 'test'")
    for part in PARTS[:2]:
        if not (given == part).any():
            raise ValueError(f"{source} has no row with '{part}' in column '{given.name}', and a task needs some")


def _drawn_sizes(sizes: tuple[int, int, int] | None, num_rows: int, source: str) -> tuple[int, int, int]:
    if sizes is None:
        part = num_rows * 2 // 5
        if part < 2:
            raise ValueError(f"{source} has {num_rows} rows, too few to draw training, validation and test rows: it needs 5")
        return part, part, num_rows - 2 * part
    whole = len(sizes) == 3 and all(isinstance(size, int | np.integer) and not isinstance(size, bool) for size in sizes)
    if not whole or sizes[0] < 2 or sizes[1] < 1 or sizes[2] < 0 or sum(sizes) > num_rows:
        raise ValueError(
            "sizes must be three whole numbers, of training rows (2 or more), validation rows (1 or more) and test rows, "
            f"together at most the {num_rows} rows of {source}; got {sizes}"
        )
    return sizes[0], sizes[1], sizes[2]

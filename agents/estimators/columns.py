"""Features and labels as numbers: checked input, columns that hold categories, and errors that name row and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from mixrl_env.data import LARGEST, FloatArray, IntArray
from mixrl_env.datasets.own import as_numbers
from mixrl_env.datasets.reading import check_once, from_0

Categorical = Literal["refuse", "one_hot", "within"]
"""What is done with columns of categories; see `mixrl.MixRLSampler`."""
FEWEST_ROWS = 4
"""Of a table that can be augmented."""
_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
_MOST = 0.5  # of the values of a column


class Columns:
    """How the columns of a DataFrame become numbers.

    A column holds categories if its dtype is categorical, or if most of its values are not numbers.

    Args:
        frame: the features given to fit.
        categorical: for columns that hold categories: "refuse" them, "one_hot": one column of 0 and 1 for every value, or
            "within": likewise, but `frame` gives back the columns as they were.

    Attributes:
        names: of the columns of numbers, in order.
        categories: the values of every column that is one-hot encoded, by its name.

    Raises:
        ValueError: for categories that are refused, for two columns of the same name, or without columns.
    """

    def __init__(self, frame: pd.DataFrame, categorical: Categorical) -> None:
        check_names(frame, "X")
        for name in frame.columns:
            check_no_dates(frame[name], "X")
        self.categories: dict[Any, list[Any]] = {}
        for name in frame.columns:
            if holds_categories(frame[name]):
                self.categories[name] = sorted(frame[name].dropna().unique(), key=str)
        if self.categories and categorical == "refuse":
            shown = ", ".join(f"{name!r} ({_first_few(values)})" for name, values in self.categories.items())
            raise ValueError(
                f"X has columns of categories: {shown}. Mixing needs numbers: encode or drop them, or set categorical='within' "
                "to mix only rows of the same categories, or 'one_hot' for one column of 0 and 1 per value"
            )
        self._given, self._dtypes, self._restored = list(frame.columns), frame.dtypes.to_dict(), categorical == "within"
        self.names = list(self._given)
        if self.categories:  # scikit-learn requires that all column names are strings, or none
            parts = [[f"{name}={one}" for one in self.categories.get(name, ())] or [str(name)] for name in self._given]
            self.names = [name for part in parts for name in part]
            check_names(pd.DataFrame(columns=self.names), "X, one-hot encoded,")

    def check_categories(self, frame: pd.DataFrame) -> None:
        """Raise ValueError for a column with more different values than half its rows, such as names of people."""
        for name, values in self.categories.items():
            if too_many_categories(len(values), len(frame)):
                raise ValueError(
                    f"X has {len(values)} different values in {len(frame)} rows of column {name!r} ({_first_few(values)}), "
                    "too many for categories: drop the column, or convert it to numbers"
                )

    def numbers(self, frame: pd.DataFrame, source: str = "X", *, missing: bool = False) -> FloatArray:
        """The columns as numbers, shape (n, len(names)); a category that was not in the fitted columns is 0 everywhere.

        Args:
            frame: the fitted columns, in the same order.
            source: their name in messages.
            missing: True lets numbers be missing, which become NaN.

        Raises:
            ValueError: for a value that is missing or is not a number.
        """
        frame = frame.set_axis(self._given, axis=1).reset_index(drop=True)
        plain = [name for name in self._given if name not in self.categories]
        numbers = as_numbers(frame[plain], source, from_0, missing=missing)
        parts = [
            self._one_hot(frame[name], source) if name in self.categories else numbers[[name]].to_numpy()
            for name in self._given
        ]
        return np.concatenate(parts, axis=1)

    def _one_hot(self, column: pd.Series, source: str) -> FloatArray:
        values, missing = self.categories[column.name], column.isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"{source} has no value in {from_0(int(np.argmax(missing)))}, column {column.name!r} (the first of "
                f"{missing.sum()} in {len(column)} rows): fill in or drop the rows or columns with missing values"
            )
        one_hot: FloatArray = (column.to_numpy(dtype=object)[:, None] == np.array(values, dtype=object)).astype(np.float64)
        return one_hot

    def kinds(self, x: FloatArray) -> IntArray:
        """A number for each combination of categories, shape (n,).

        Args:
            x: as from `numbers`.
        """
        codes = [x[:, place] for name, place in self._places() if name in self.categories]
        coded = np.column_stack([np.zeros(len(x)), *codes])
        return np.unique(coded, axis=0, return_inverse=True)[1].ravel().astype(np.int64)

    def frame(self, x: FloatArray) -> pd.DataFrame:
        """Numbers as a DataFrame, with the columns as they were where categories are kept.

        Args:
            x: as from `numbers`, and mixed rows; one-hot columns of these lie between values, unless categories are kept.
        """
        if not self._restored:
            return pd.DataFrame(x, columns=pd.Index(self.names))
        columns = {}
        for name, place in self._places():
            if name in self.categories:
                known = x[:, place].any(axis=1)
                values = np.array([*self.categories[name], None], dtype=object)
                own = values[np.where(known, x[:, place].argmax(axis=1), -1)]
                columns[name] = pd.Series(own).astype(self._dtypes[name])
            else:
                columns[name] = pd.Series(x[:, place.start])
        return pd.DataFrame(columns)

    def _places(self) -> Iterator[tuple[Any, slice]]:
        """Of each column that was fitted the columns of numbers that it became."""
        first = 0
        for name in self._given:
            width = len(self.categories.get(name, [name]))
            yield name, slice(first, first + width)
            first += width


def check_no_dates(column: pd.Series, source: str, how: str = "") -> None:
    """Raise ValueError for a column of dates or time spans, with the line that makes numbers of them.

    Args:
        column: of a table.
        source: what messages call the table.
        how: to drop the column.
    """
    given = column.dropna()
    texts = column.dtype.kind == "O" and len(given) > 0 and given.astype(str).str.match(_DATE).mean() > _MOST
    if texts or column.dtype.kind in "mM":
        made = (
            f"pd.to_timedelta(frame[{column.name!r}])"
            if column.dtype.kind == "m"
            else f"(pd.to_datetime(frame[{column.name!r}]) - pd.Timestamp(2000, 1, 1))"
        )
        raise ValueError(
            f"{source} has {'time spans' if column.dtype.kind == 'm' else 'dates'} in column {column.name!r}: make numbers of "
            f"them, such as frame[{column.name!r}] = {made}.dt.days, or drop the column{how}"
        )


def too_many_categories(different: int, rows: int) -> bool:
    """Whether a column has too many different values to be categories, as names of people do."""
    return 2 * different > rows


def holds_categories(column: pd.Series) -> bool:
    """Whether most values are not numbers; a single text among numbers is an error, not a category."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return bool(column.notna().any())
    if is_numeric_dtype(column):
        return False
    given = column.dropna()
    return len(given) > 0 and bool(pd.to_numeric(given.astype(object), errors="coerce").notna().mean() <= _MOST)


def _first_few(values: list[Any]) -> str:
    return ", ".join(map(repr, values[:5])) + (", ..." if len(values) > 5 else "")


def as_matrix(y: Any, name: str = "y") -> FloatArray:
    """Labels as floats of shape (n, e); a single target may come flat.

    Args:
        y: an array, a Series or a DataFrame.
        name: its name in messages.

    Raises:
        ValueError: if a value is not a finite number, or two columns of a DataFrame have the same name.
    """
    if isinstance(y, pd.Series | pd.DataFrame):
        frame = pd.DataFrame(y).reset_index(drop=True)
        check_names(frame, name)
        return as_numbers(frame, name, from_0).to_numpy()
    from sklearn.utils.validation import check_array  # slow to import; the command needs no more than names and numbers

    labels = as_floats(
        y, name, lambda: check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name=name)
    )
    return labels.reshape(len(labels), -1)


def as_floats(values: Any, name: str, check: Callable[[], FloatArray], *, missing: bool = False) -> FloatArray:
    """An array-like as scikit-learn checks it; the error for a value that is not a finite number names row and column.

    Args:
        values: the array-like.
        name: its name in messages.
        check: scikit-learn's check of types and shape, which accepts NaN and infinity.
        missing: True accepts NaN.
    """
    if (kind := np.asarray(values).dtype.kind) in "mM":
        raise ValueError(f"{name} holds {'dates' if kind == 'M' else 'time spans'}: make numbers of them")
    try:
        checked = check()
    except ValueError:
        array = np.asarray(values)
        if array.dtype.kind in "OUS" and array.ndim in (1, 2):
            as_numbers(pd.DataFrame(array), name, from_0)
        raise
    bad = np.argwhere(np.isinf(checked) if missing else ~np.isfinite(checked))
    if len(bad):
        first = checked[tuple(bad[0])]
        what, column = "NaN" if np.isnan(first) else first, f", column {bad[0][1]}" if checked.ndim > 1 else ""
        raise ValueError(
            f"{name} contains {what} in row {bad[0][0]}{column} (from 0; the first of {len(bad)} in {len(checked)} rows): "
            "fill in or drop the rows or columns with such values"
        )
    beyond = np.argwhere(np.abs(checked) > LARGEST)
    if len(beyond):
        first, column = checked[tuple(beyond[0])], f", column {beyond[0][1]}" if checked.ndim > 1 else ""
        raise ValueError(
            f"{name} contains {first} in row {beyond[0][0]}{column} (from 0), beyond {LARGEST:g}: give it in another unit"
        )
    return checked


def check_names(frame: pd.DataFrame, name: str) -> None:
    """Raise ValueError if there is no column, or two columns have the same name."""
    if frame.shape[1] == 0:
        raise ValueError(f"{name} has no columns")
    check_once(frame.columns, name)

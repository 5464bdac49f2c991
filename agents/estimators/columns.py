"""Features and labels as numbers: checked input, columns that hold categories, and errors that name row and column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.utils.validation import check_array

from mixrl_env.data import LARGEST, FloatArray
from mixrl_env.datasets.own import as_numbers
from mixrl_env.datasets.reading import check_once, from_0

Categorical = Literal["refuse", "one_hot"]


class Columns:
    """How the columns of a DataFrame become numbers.

    A column holds categories if its dtype is categorical, or if most of its values are not numbers.

    Args:
        frame: the features given to fit.
        categorical: for columns that hold categories: "refuse" them, or "one_hot": one column of 0 and 1 for every value.

    Attributes:
        names: of the columns of numbers, in order.
        categories: the values of every column that is one-hot encoded, by its name.

    Raises:
        ValueError: for categories that are refused, for two columns of the same name, or without columns.
    """

    def __init__(self, frame: pd.DataFrame, categorical: Categorical) -> None:
        check_names(frame, "X")
        self.categories: dict[Any, list[Any]] = {}
        for name in frame.columns:
            if _holds_categories(frame[name]):
                self.categories[name] = sorted(frame[name].dropna().unique(), key=str)
        if self.categories and categorical == "refuse":
            shown = ", ".join(f"{name!r} ({_first_few(values)})" for name, values in self.categories.items())
            raise ValueError(
                f"X has columns of categories: {shown}. Mixing needs numbers: encode or drop them, or "
                "set categorical='one_hot' for one column of 0 and 1 per value"
            )
        self._given = list(frame.columns)
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

    def numbers(self, frame: pd.DataFrame, source: str = "X") -> FloatArray:
        """The columns as numbers, shape (n, len(names)).

        Args:
            frame: the fitted columns, in the same order.
            source: their name in messages.

        Raises:
            ValueError: for a value that is missing, is not a number, or is a category that was not in the fitted columns.
        """
        frame = frame.set_axis(self._given, axis=1).reset_index(drop=True)
        plain = [name for name in self._given if name not in self.categories]
        numbers = as_numbers(frame[plain], source, from_0)
        parts = [
            self._one_hot(frame[name], source) if name in self.categories else numbers[[name]].to_numpy()
            for name in self._given
        ]
        return np.concatenate(parts, axis=1)

    def _one_hot(self, column: pd.Series, source: str) -> FloatArray:
        values, missing = self.categories[column.name], column.isna().to_numpy()
        unknown = ~column.isin(values).to_numpy() & ~missing
        for bad, advice in (
            (missing, "fill in or drop the rows or columns with missing values"),
            (unknown, f"the fitted values are {_first_few(values)}"),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                what = "no value" if missing[row] else repr(column.iloc[row])
                raise ValueError(
                    f"{source} has {what} in {from_0(row)}, column {column.name!r} (the first of {bad.sum()} in {len(column)} "
                    f"rows): {advice}"
                )
        one_hot: FloatArray = (column.to_numpy(dtype=object)[:, None] == np.array(values, dtype=object)).astype(np.float64)
        return one_hot

    def frame(self, x: FloatArray) -> pd.DataFrame:
        """Numbers as a DataFrame with the columns' names; one-hot columns stay, since mixed rows lie between values."""
        return pd.DataFrame(x, columns=pd.Index(self.names))


def too_many_categories(different: int, rows: int) -> bool:
    """Whether a column has too many different values to be categories, as names of people do."""
    return 2 * different > rows


def _holds_categories(column: pd.Series) -> bool:
    """Whether most values are not numbers; a single text among numbers is an error, not a category."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return bool(column.notna().any())
    if is_numeric_dtype(column):
        return False
    given = column.dropna()
    return len(given) > 0 and bool(pd.to_numeric(given.astype(object), errors="coerce").notna().mean() <= 0.5)


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
    labels = as_floats(
        y, name, lambda: check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=False, input_name=name)
    )
    return labels.reshape(len(labels), -1)


def as_floats(values: Any, name: str, check: Callable[[], FloatArray]) -> FloatArray:
    """An array-like as scikit-learn checks it; the error for a value that is not a finite number names row and column.

    Args:
        values: the array-like.
        name: its name in messages.
        check: scikit-learn's check of types and shape, which accepts NaN and infinity.
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
    bad = np.argwhere(~np.isfinite(checked))
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

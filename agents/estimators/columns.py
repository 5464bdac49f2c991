"""Feature columns of a table as numbers, and back: mixed rows are made of numbers, people have DataFrames."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from mixrl.estimators.checks import check_names
from mixrl_env.data import FloatArray
from mixrl_env.datasets.own import as_numbers
from mixrl_env.datasets.reading import from_0

Categorical = Literal["refuse", "one_hot"]


class Columns:
    """How the columns of a DataFrame become numbers.

    Columns hold categories if pandas says so, or if most of their values are no numbers.

    Args:
        frame: the features, as they were given to fit.
        categorical: what to do with columns that hold categories: "refuse" them, or "one_hot": one column of 0 and 1 for every
            value.

    Attributes:
        names: of the columns of numbers, in order.
        categories: the values of every column that is one-hot encoded, by its name.

    Raises:
        ValueError: for categories where they are refused, naming the columns; names that are there twice; or no columns.
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
                f"X has columns that hold no numbers, but categories: {shown}. Mixing needs numbers: encode or drop them, or "
                "set categorical='one_hot' for one column of 0 and 1 per value"
            )
        self._given = list(frame.columns)
        self.names = list(self._given)
        if self.categories:  # scikit-learn wants all names to be texts, or none
            parts = [[f"{name}={one}" for one in self.categories.get(name, ())] or [str(name)] for name in self._given]
            self.names = [name for part in parts for name in part]
            check_names(pd.DataFrame(columns=self.names), "X, one-hot encoded,")

    def check_categories(self, frame: pd.DataFrame) -> None:
        """Raises ValueError for a column where more than half of the rows have a category of their own, such as a name."""
        for name, values in self.categories.items():
            if too_many_categories(len(values), len(frame)):
                raise ValueError(
                    f"X has {len(values)} different values in {len(frame)} rows of column {name!r} ({_first_few(values)}), "
                    "which are no numbers and too many for categories: drop the column, or make numbers of it"
                )

    def numbers(self, frame: pd.DataFrame, source: str = "X") -> FloatArray:
        """The columns as numbers, shape (n, len(names)).

        Args:
            frame: with as many columns as were given, in the same order.
            source: what messages call it.

        Raises:
            ValueError: for a value that is missing, is no number, or was not there when the columns were fitted.
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
            (unknown, f"what it was fitted with is {_first_few(values)}"),
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
    """Whether a column has so many different values for its rows that they are names rather than categories."""
    return 2 * different > rows


def _holds_categories(column: pd.Series) -> bool:
    """Whether most of what it holds is no number; a text among numbers is an error, not a category."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return bool(column.notna().any())
    if is_numeric_dtype(column):
        return False
    given = column.dropna()
    return len(given) > 0 and bool(pd.to_numeric(given.astype(object), errors="coerce").notna().mean() <= 0.5)


def _first_few(values: list[Any]) -> str:
    return ", ".join(map(repr, values[:5])) + (", ..." if len(values) > 5 else "")

"""Checked input: what is wrong with it is said in words, with row and column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array

from mixrl_env.data import LARGEST, FloatArray
from mixrl_env.datasets.own import as_numbers
from mixrl_env.datasets.reading import check_once, from_0


def as_matrix(y: Any, name: str = "y") -> FloatArray:
    """Labels as floats of shape (n, e); a single target may come flat.

    Args:
        y: an array, a Series or a DataFrame.
        name: what messages call it.

    Raises:
        ValueError: if they are no finite numbers, or a DataFrame has two columns of one name.
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
    """An array-like as scikit-learn checks it; where it finds values that are no finite numbers, row and column are said.

    Args:
        values: the array-like.
        name: what messages call it.
        check: scikit-learn's check, which lets NaN and infinity pass.
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
    """Raises ValueError if there is no column, or a name is there twice."""
    if frame.shape[1] == 0:
        raise ValueError(f"{name} has no columns")
    check_once(frame.columns, name)

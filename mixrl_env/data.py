"""A regression task: training, validation and test rows, checked once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mixrl_env.checks import check_seed
from mixrl_env.streams import data_stream

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


LARGEST = 1e150
"""Values beyond it, of either sign, are refused: their squares have no floating-point number."""


class LabelScale(NamedTuple):
    """The affine map between labels in their own units and the labels that a regressor is trained on, target by target.

    Attributes:
        mean: what is subtracted, shape (e,).
        scale: what the difference is divided by, shape (e,), above 0.
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def identity(cls, targets: int) -> LabelScale:
        """Labels as they are."""
        return cls(np.zeros(targets), np.ones(targets))

    def to_standard(self, y: FloatArray) -> FloatArray:
        """Labels (..., e) as the regressor is trained on them."""
        standard: FloatArray = (y - self.mean) / self.scale
        return standard

    def to_labels(self, y: FloatArray) -> FloatArray:
        """The inverse of `to_standard`: predictions (..., e) in label units."""
        labels: FloatArray = y * self.scale + self.mean
        return labels


@dataclass(frozen=True, eq=False)
class RegressionData:
    """Rows of a regression task, split into three parts (Table 1 of the paper).

    Features and labels are kept in their own units as float64 copies that cannot be written to; a one-dimensional label array
    becomes one column. Standardisation is fitted on the training rows alone.

    Args:
        x_train: training features, shape (n_train, d), n_train >= 2.
        y_train: training labels, shape (n_train,) or (n_train, e).
        x_val: validation features, shape (n_val, d), n_val >= 1.
        y_val: validation labels.
        x_test: test features, shape (n_test, d), or None where there is no test part.
        y_test: test labels, or None.
        feature_names: d column names; "x0", "x1", ... if not given.
        target_names: e column names; "y0", "y1", ... if not given.
        name: what tables and messages call this task.

    Raises:
        ValueError: for NaN, infinite values and those beyond `LARGEST` (naming row and column), other values than numbers,
            lengths or widths that do not match, fewer than two training rows, or no validation row.
    """

    x_train: FloatArray
    y_train: FloatArray
    x_val: FloatArray
    y_val: FloatArray
    x_test: FloatArray | None = None
    y_test: FloatArray | None = None
    feature_names: Sequence[str] = ()
    target_names: Sequence[str] = ()
    name: str = "custom"

    def __post_init__(self) -> None:
        if (self.x_test is None) != (self.y_test is None):
            raise ValueError("x_test and y_test must be given together, or neither")
        for part in ("train", "val") if self.x_test is None else ("train", "val", "test"):
            x = _matrix(getattr(self, f"x_{part}"), f"x_{part}", columns_required=True)
            y = _matrix(getattr(self, f"y_{part}"), f"y_{part}", columns_required=False)
            if len(x) != len(y):
                raise ValueError(f"x_{part} has {len(x)} rows but y_{part} has {len(y)}; every row needs its label")
            object.__setattr__(self, f"x_{part}", x)
            object.__setattr__(self, f"y_{part}", y)
        if len(self.x_train) < 2:
            raise ValueError(f"mixing needs at least 2 training rows, got {len(self.x_train)}")
        if len(self.x_val) < 1:
            raise ValueError("there is no validation row, and the reward is the loss on the validation rows; give at least 1")
        if self.x_test is not None and len(self.x_test) < 1:
            raise ValueError("x_test is empty; leave x_test and y_test out where there is no test part")
        self._check_columns()
        self._check_finite()

    def _check_columns(self) -> None:
        """All parts have the widths of the training part, and there is one name a column."""
        for kind, names_field, prefix in (("x", "feature_names", "x"), ("y", "target_names", "y")):
            width = getattr(self, f"{kind}_train").shape[1]
            if width == 0:
                raise ValueError(f"{kind}_train has no columns")
            for part in ("val", "test"):
                array = getattr(self, f"{kind}_{part}")
                if array is not None and array.shape[1] != width:
                    raise ValueError(f"{kind}_train has {width} columns but {kind}_{part} has {array.shape[1]}")
            given = getattr(self, names_field)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise ValueError(f"{names_field} must be a list of names, got {given!r}")
            names = tuple(given) or tuple(f"{prefix}{column}" for column in range(width))
            if len(names) != width:
                raise ValueError(f"{names_field} has {len(names)} names for {width} columns")
            object.__setattr__(self, names_field, names)

    def _check_finite(self) -> None:
        for part in ("train", "val", "test"):
            for kind, names in (("x", self.feature_names), ("y", self.target_names)):
                array = getattr(self, f"{kind}_{part}")
                if array is None:
                    continue
                bad = np.argwhere(~(np.abs(array) <= LARGEST))
                if len(bad):
                    row, column = bad[0]
                    if np.isfinite(array[row, column]):
                        place = f"row {row}, column {column} ('{names[column]}')"
                        raise ValueError(
                            f"{kind}_{part} holds {array[row, column]} at {place}, beyond {LARGEST:g}: give it in another unit"
                        )
                    bad = np.argwhere(~np.isfinite(array))
                    raise ValueError(
                        f"{kind}_{part} holds {array[row, column]} at row {row}, column {column} ('{names[column]}'); "
                        f"{len(bad)} value(s) are not finite: drop or fill these rows first"
                    )

    @classmethod
    def from_table(
        cls,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        sizes: tuple[int, int, int],
        split_seed: int,
        **names: Any,
    ) -> RegressionData:
        """Split one table at random into training, validation and test rows.

        Args:
            x: features, shape (n, d).
            y: labels, shape (n,) or (n, e).
            sizes: number of training, validation and test rows; together at most n. 0 test rows: no test part.
            split_seed: the same seed draws the same split.
            **names: feature_names, target_names and name of `RegressionData`.

        Raises:
            ValueError: if x and y differ in length, or the sizes are negative or need more rows than there are.
        """
        x, y = np.asarray(x), np.asarray(y)
        if not x.ndim or not y.ndim:
            raise ValueError(f"x and y must be arrays of rows, got shapes {x.shape} and {y.shape}")
        if len(sizes) != 3 or not all(isinstance(size, int | np.integer) and not isinstance(size, bool) for size in sizes):
            raise ValueError(f"sizes must be three whole numbers, of training, validation and test rows, got {sizes!r}")
        check_seed(split_seed, "split_seed")
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} rows but y has {len(y)}; every row needs its label")
        if min(sizes) < 0 or sum(sizes) > len(x):
            raise ValueError(f"cannot draw {sizes} training, validation and test rows from a table of {len(x)} rows")
        order = data_stream(split_seed).permutation(len(x))
        train, val, test = np.split(order[: sum(sizes)], np.cumsum(sizes)[:2])
        return cls(x[train], y[train], x[val], y[val], x[test] if sizes[2] else None, y[test] if sizes[2] else None, **names)

    def first_rows(self, train: int | None = None, val: int | None = None) -> RegressionData:
        """The same task with the first so many training and validation rows; None keeps all, test rows stay.

        Raises:
            ValueError: for more rows than there are, or too few for a task.
        """
        for part, count in (("train", train), ("val", val)):
            have = len(getattr(self, f"x_{part}"))
            if count is not None and (not isinstance(count, int | np.integer) or not 1 <= count <= have):
                raise ValueError(f"cannot take {count} {part} rows: {self.name} has {have}")
        return replace(
            self, x_train=self.x_train[:train], y_train=self.y_train[:train], x_val=self.x_val[:val], y_val=self.y_val[:val]
        )

    def with_standardized_labels(self) -> RegressionData:
        """The same rows with labels in standard deviations of the training rows around their mean.

        So that one learning rate suits labels of any unit; losses, rewards and errors are then in these units too.
        """
        y_test = None if self.y_test is None else self.standardize_y(self.y_test)
        return replace(self, y_train=self.standardize_y(self.y_train), y_val=self.standardize_y(self.y_val), y_test=y_test)

    @cached_property
    def x_scaler(self) -> StandardScaler:
        """Standardisation of the features, fitted on the training rows; a constant column is only centred."""
        from sklearn.preprocessing import StandardScaler  # slow to import; checking a table does not need it

        return StandardScaler().fit(self.x_train)

    @cached_property
    def y_scaler(self) -> StandardScaler:
        """Standardisation of the labels, fitted on the training rows; a constant target is only centred."""
        from sklearn.preprocessing import StandardScaler

        return StandardScaler().fit(self.y_train)

    def standardize_x(self, x: FloatArray) -> FloatArray:
        """Features (n, d) in units of the training rows' standard deviation around their mean."""
        return np.asarray(self.x_scaler.transform(x))

    def standardize_y(self, y: FloatArray) -> FloatArray:
        """Labels (n, e) in units of the training rows' standard deviation around their mean."""
        return np.asarray(self.y_scaler.transform(y))

    @property
    def label_scale(self) -> LabelScale:
        """Centre and scale of the labels on the training rows; a constant target is only centred."""
        return LabelScale(self.y_scaler.mean_, self.y_scaler.scale_)

    def restore_x(self, x: FloatArray) -> FloatArray:
        """The inverse of `standardize_x`."""
        return np.asarray(self.x_scaler.inverse_transform(x))


def _matrix(values: Any, name: str, *, columns_required: bool) -> FloatArray:
    """A read-only float64 copy with two dimensions; a single column may be given flat where that is unambiguous."""
    try:
        kind = np.asarray(values).dtype.kind
        if kind in "cmM" or np.ma.is_masked(values):
            raise TypeError(
                {"c": "they are complex", "m": "they are time spans", "M": "they are dates"}.get(kind, "some are masked")
            )
        array = np.array(values, dtype=np.float64, order="C")  # the order of the columns in memory changes no bit
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers only: {error}") from error
    if array.ndim == 1 and not columns_required:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (rows, columns), got {array.shape}")
    array.setflags(write=False)
    return array

"""What is likely to be wrong with a table, although it can be read: one line each, with what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pandas as pd
from pandas.api.types import is_integer_dtype

from mixrl_env.datasets.reading import Table

_ID_NAME = re.compile(r"(^|_)(id|index|idx|key|nr|no|number|row|rowid|rownames)$", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"0\d+")
_MOST_OF_VARIANCE = 0.5
_FEW = 0.01  # of the rows
_FEW_ROWS = 20


def warnings_of(table: Table, targets: Sequence[str]) -> Iterator[str]:
    """Lines for people.

    Args:
        table: as read; its columns can be used.
        targets: columns to predict.
    """
    frame = table.frame
    if len(frame) < _FEW_ROWS:
        yield f"fewer than {_FEW_ROWS} rows are hardly enough to learn from"
    features = [name for name in frame if name not in targets]
    for name in features:
        if _counts_rows(frame[name]):
            yield f"'{name}' seems to number the rows, which says nothing of new ones: leave it out with --drop {name}"
    if table.text is not None:
        for name, cells in zip(frame, zip(*table.cells(), strict=True), strict=True):
            zeros = [cell for cell in cells if _LEADING_ZERO.fullmatch(cell)]
            if name in features and zeros:
                yield f"'{name}' has codes such as {zeros[0]}, which are read as numbers: leave it out with --drop {name}"
    for target in targets:
        apart: pd.Series = (frame[target].astype(float) - frame[target].astype(float).mean()) ** 2
        few = apart.nlargest(max(1, int(_FEW * len(frame))))
        if len(frame) >= _FEW_ROWS and few.sum() > _MOST_OF_VARIANCE * apart.sum():
            places = ", ".join(table.place(int(row)) for row in few.index[:3])
            yield (
                f"{few.sum() / apart.sum():.0%} of the variance of '{target}' come from {len(few)} of {len(frame)} rows "
                f"({places}): check these, or predict its logarithm"
            )
    if doubled := int(frame.duplicated(keep=False).sum()):
        yield f"{doubled} of {len(frame)} rows are there more than once; they are held out together"


def _counts_rows(column: pd.Series) -> bool:
    if not is_integer_dtype(column) or column.nunique() < len(column):
        return False
    in_steps = bool((column.sort_values().diff().dropna() == 1).all())
    return in_steps or _ID_NAME.search(str(column.name)) is not None

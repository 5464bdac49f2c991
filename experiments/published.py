"""What others report on NO2: test RMSE of methods that mix rows, each source with its own split and training."""

from __future__ import annotations

from typing import NamedTuple

from experiments.paper import PUBLISHED
from experiments.statistics import BASELINE


class Reported(NamedTuple):
    """One published test RMSE, in label units.

    Attributes:
        source: figures of one source share a split, and can be compared with its `BASELINE`.
        method: its name; a method that we have is named as in our tables.
        rmse: as printed.
    """

    source: str
    method: str
    rmse: float


_TABLE_2 = (BASELINE, "Original Mixup", "AdaMixUp", "Global kNN", "MixRL")
_ON_THE_SPLIT_OF_C_MIXUP = {
    BASELINE: 0.537,
    "Original Mixup": 0.528,
    "MixRL": 0.517,
    "ADA": 0.515,
    "FOMA": 0.512,
    "C-Mixup": 0.509,
    "CEMS": 0.507,
}
"""C-Mixup (Yao et al., 2022) and its successors load the same files; each method has its own rate, batch size and epochs."""

REPORTED: tuple[Reported, ...] = (
    *(Reported("MixRL, Table 2", method, PUBLISHED["no2"][method].rmse) for method in _TABLE_2),
    *(Reported("C-Mixup and later", method, rmse) for method, rmse in _ON_THE_SPLIT_OF_C_MIXUP.items()),
)

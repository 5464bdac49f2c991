"""The real table behind the paper's Synthetic task: train.csv of DACON competition 235554, for those who have it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mixrl_env.data import RegressionData
from mixrl_env.datasets.own import as_numbers
from mixrl_env.datasets.thin_film import SYNTHETIC_SIZES, SYNTHETIC_THICKNESSES

TARGETS = tuple(f"layer_{layer}" for layer in range(1, 5))
FEATURES = tuple(map(str, range(226)))
_ROWS_AT_ONCE = 20_000  # of 230 numbers: 37 MB


def load_dacon(path: str | Path, split_seed: int) -> RegressionData:
    """The Synthetic task from the real table: its rows with all thicknesses within 10 to 100 nm (App. B.1).

    The file is read once, part by part; only rows in that range are kept (10,000 of 810,000 in the real one).

    Args:
        path: of a CSV file with the columns layer_1 to layer_4 (thicknesses in nm) and 0 to 225 (reflectance); others are
            ignored.
        split_seed: the same seed draws the same 500 / 300 / 300 rows.

    Raises:
        ValueError: naming a missing column, a value that is missing or no number, or how many rows in the range there are if
            fewer than 1,100.
        FileNotFoundError: if there is no such file.
    """
    header = pd.read_csv(path, nrows=0).columns
    missing = [name for name in (*TARGETS, *FEATURES) if name not in header]
    if missing:
        raise ValueError(
            f"{path} has no column '{missing[0]}' ({len(missing)} missing); it needs layer_1 to layer_4 and 0 to 225"
        )
    lowest, highest = SYNTHETIC_THICKNESSES[[0, -1]]
    kept = []
    with pd.read_csv(path, usecols=[*TARGETS, *FEATURES], chunksize=_ROWS_AT_ONCE, low_memory=False) as parts:
        for read in parts:
            part = as_numbers(read, path, lambda row: f"line {row + 2}")  # line 1 is the header
            targets = part[list(TARGETS)]
            kept.append(part[((targets >= lowest) & (targets <= highest)).all(axis=1)])
    rows = pd.concat(kept)
    if len(rows) < sum(SYNTHETIC_SIZES):
        raise ValueError(
            f"{path} has {len(rows)} rows with all thicknesses within {lowest:g} to {highest:g} nm; "
            f"{sum(SYNTHETIC_SIZES)} are needed"
        )
    return RegressionData.from_table(
        rows[list(FEATURES)].to_numpy(),
        rows[list(TARGETS)].to_numpy(),
        sizes=SYNTHETIC_SIZES,
        split_seed=split_seed,
        feature_names=FEATURES,
        target_names=TARGETS,
        name="DACON",
    )

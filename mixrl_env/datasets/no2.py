"""NO2: air pollution beside a road in Oslo, 500 measured rows.

Source: StatLib dataset archive (lib.stat.cmu.edu/datasets), "NO2", submitted by Magne Aldrin in 2004. Hourly values measured
at Alnabru, Oslo, between October 2001 and August 2003, by the Norwegian Public Roads Administration.
"""

from __future__ import annotations

from importlib.resources import files

from mixrl_env.data import RegressionData

SPLIT_SIZES = (200, 200, 100)
"""Training, validation and test rows (Table 1)."""


def load_no2(split_seed: int) -> RegressionData:
    """The NO2 task: 7 features (traffic, weather, time), label log concentration of NO2 particles.

    Args:
        split_seed: the same seed draws the same 200 / 200 / 100 rows.
    """
    import pandas as pd  # slow to import; listing the datasets does not need it

    with files("mixrl_env.datasets").joinpath("no2.csv").open() as table:
        frame = pd.read_csv(table)
    target = "log_no2"
    features = frame.drop(columns=target)
    return RegressionData.from_table(
        features.to_numpy(),
        frame[[target]].to_numpy(),
        sizes=SPLIT_SIZES,
        split_seed=split_seed,
        feature_names=tuple(features.columns),
        target_names=(target,),
        name="NO2",
    )

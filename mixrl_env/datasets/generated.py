"""A distribution of tables (ours), so that a policy can learn on many and be judged on others.

A table has one function, of a family; columns that carry it and columns that do not; and one kind of noise:

    smooth      sum of 2 to 6 waves of less than one period over 1 to 6 columns
    wiggly      the same with up to three periods, over 1 or 2 columns
    steps       sum of 3 to 10 boxes, each over 1 to 3 of up to 6 columns
    products    sum of products of up to three of 3 to 8 columns
    spectra     peaks over 20 to 200 channels, as high as 2 to 4 latent quantities are; a smooth function of these
    regimes     two smooth functions, left and right of a threshold of one column

    even        one standard deviation for all rows
    growing     grows along a random direction
    patch       ten times as large in a quarter of the rows, on one side of a column
    tails       Student's t with three degrees of freedom

The standard deviation of the function is 1, that of even noise between 0.02 and 1, log-uniform. Columns are uniform, normal, of
heavy tails or of a few levels; up to ten more are irrelevant or nearly collinear with others. There are 30 to 1,000 training
rows, log-uniform, as many validation rows up to 300, and 1,000 test rows, whose labels have no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np

from mixrl_env.checks import check_seed
from mixrl_env.data import FloatArray, RegressionData
from mixrl_env.streams import stream

Part = Literal["training", "validation", "test", "held out"]
"""Which tables: no two parts share one; "held out" has the families of `HELD_OUT` alone, which no other part has."""
FAMILIES = ("smooth", "wiggly", "steps", "products", "spectra")
HELD_OUT = ("regimes",)
NOISES = ("even", "growing", "patch", "tails")
_TEST_ROWS, _MOST_VALIDATION_ROWS = 1000, 300

Function = Callable[[FloatArray], FloatArray]
"""Values (n,) of rows (n, columns)."""


class GeneratedTable(NamedTuple):
    """A table and what it was drawn as.

    Attributes:
        data: its rows, named "PART TABLE_SEED".
        family: of the function.
        noise: kind of noise.
        noise_sd: standard deviation of the label noise of each training row, (n_train,).
    """

    data: RegressionData
    family: str
    noise: str
    noise_sd: FloatArray


def generate_table(table_seed: int, part: Part = "training") -> GeneratedTable:
    """Draw one table of a part; the same seed draws the same table.

    Raises:
        ValueError: for an unknown part, or a seed below 0.
    """
    check_seed(table_seed, "table_seed")
    check_part(part)
    rng = stream(table_seed, "generated tables", get_args(Part).index(part))
    family = str(rng.choice(HELD_OUT if part == "held out" else FAMILIES))
    n_train = round(float(np.exp(rng.uniform(np.log(30), np.log(1000)))))
    sizes = (n_train, min(n_train, _MOST_VALIDATION_ROWS), _TEST_ROWS)
    columns, function = _spectra(rng, sum(sizes)) if family == "spectra" else _columns(rng, sum(sizes), family)
    truth = function(columns)
    truth = (truth - truth.mean()) / (truth.std() or 1.0)
    x = columns if family == "spectra" else _with_nuisance(rng, columns)
    kind = str(rng.choice(NOISES))
    sd, draws = _noise(rng, kind, columns)
    labels = truth + sd * draws
    rows: dict[str, FloatArray] = {}
    for name, first, size in zip(("train", "val", "test"), np.cumsum([0, *sizes]), sizes, strict=False):
        own = slice(first, first + size)
        rows |= {f"x_{name}": x[own], f"y_{name}": (truth if name == "test" else labels)[own]}
    data = RegressionData(name=f"{part} {table_seed}", **rows)  # type: ignore[arg-type]  # the parts are all arrays
    return GeneratedTable(data, family, kind, sd[:n_train])


def check_part(part: Part) -> Part:
    """The part, as given.

    Raises:
        ValueError: if it is unknown.
    """
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(map(repr, get_args(Part)))}, got {part!r}")
    return part


def _columns(rng: np.random.Generator, n: int, family: str) -> tuple[FloatArray, Function]:
    """The columns that carry the function, (n, r), and the function."""
    low, high = {"wiggly": (1, 2), "products": (3, 8)}.get(family, (1, 6))
    count = int(rng.integers(low, high + 1))
    columns = np.stack([_column(rng, n) for _ in range(count)], axis=1)
    if family == "steps":
        return columns, _steps(rng, columns)
    if family == "products":
        return columns, _products(rng, count)
    if family == "regimes":
        left, right = _waves(rng, count, 1.0), _waves(rng, count, 1.0)
        by, threshold = int(rng.integers(count)), float(rng.uniform(-0.5, 0.5))
        return columns, lambda x: np.where(x[:, by] < threshold, left(x), right(x))
    return columns, _waves(rng, count, 3.0 if family == "wiggly" else 1.0)


def _column(rng: np.random.Generator, n: int) -> FloatArray:
    """Values (n,) of order 1."""
    kind = rng.choice(4)
    if kind == 0:
        return rng.uniform(-1, 1, n)
    if kind == 1:
        return rng.normal(0, 0.6, n)
    if kind == 2:
        return 0.4 * rng.standard_t(3, n)
    return rng.integers(0, rng.integers(2, 8), n, endpoint=True) / 3.0 - 1.0


def _waves(rng: np.random.Generator, count: int, periods: float) -> Function:
    """A sum of sines along random directions, with at most so many periods over [-1, 1]."""
    terms = int(rng.integers(2, 7))
    directions = rng.normal(size=(count, terms)) / np.sqrt(count)
    frequency = np.pi * periods * rng.uniform(0.1, 1, terms)
    phase, height = rng.uniform(0, 2 * np.pi, terms), rng.normal(size=terms) / frequency
    return lambda x: np.sin(frequency * (x @ directions) + phase) @ height


def _steps(rng: np.random.Generator, columns: FloatArray) -> Function:
    """A sum of boxes between quantiles of columns."""
    boxes = []
    for _ in range(int(rng.integers(3, 11))):
        among = rng.permutation(columns.shape[1])[: int(rng.integers(1, 4))]
        bounds = np.sort(rng.uniform(-0.2, 1.2, (2, len(among))), axis=0).clip(0, 1)
        edges = [np.quantile(columns[:, column], bounds[:, place]) for place, column in enumerate(among)]
        boxes.append((among, np.array(edges), rng.normal()))
    return lambda x: np.sum(
        [height * ((x[:, among] >= edges[:, 0]) & (x[:, among] <= edges[:, 1])).all(axis=1) for among, edges, height in boxes],
        axis=0,
    )


def _products(rng: np.random.Generator, count: int) -> Function:
    terms = [rng.permutation(count)[: int(rng.integers(1, 4))] for _ in range(int(rng.integers(2, 7)))]
    height = rng.normal(size=len(terms))
    return lambda x: np.stack([np.tanh(x[:, own]).prod(axis=1) for own in terms], axis=1) @ height


def _spectra(rng: np.random.Generator, n: int) -> tuple[FloatArray, Function]:
    """Channels (n, 20 to 200), and a function of the latent quantities that they show."""
    latent, channels = int(rng.integers(2, 5)), int(rng.integers(20, 201))
    quantities = rng.uniform(0, 1, (n, latent))
    places, widths = rng.uniform(0, 1, latent), rng.uniform(0.03, 0.3, latent)
    peaks = np.exp(-np.square((np.linspace(0, 1, channels) - places[:, None]) / widths[:, None]))
    baseline = rng.normal(0, 0.5, (n, 1)) * rng.integers(2)
    x: FloatArray = quantities @ peaks + baseline + rng.normal(0, 0.01, (n, channels))
    truth = _waves(rng, latent, 0.7)(2 * quantities - 1)
    return x, lambda _: truth


def _with_nuisance(rng: np.random.Generator, columns: FloatArray) -> FloatArray:
    """The columns among up to ten others, in random order: irrelevant ones, and near copies of mixtures."""
    others = []
    for _ in range(int(rng.integers(0, 11)) if rng.random() < 0.5 else 0):
        if rng.random() < 0.5:
            others.append(_column(rng, len(columns)))
        else:
            others.append(columns @ rng.normal(size=columns.shape[1]) + rng.normal(0, 0.1, len(columns)))
    every = np.column_stack([columns, *others])
    return every[:, rng.permutation(every.shape[1])]


def _noise(rng: np.random.Generator, kind: str, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard deviations and draws of standard deviation 1, each (n,)."""
    n, level = len(columns), float(np.exp(rng.uniform(np.log(0.02), np.log(1))))
    draws = rng.standard_t(3, n) / np.sqrt(3) if kind == "tails" else rng.normal(size=n)
    sd = np.full(n, level)
    if kind == "growing":
        along = columns @ rng.normal(size=columns.shape[1])
        sd = level * 3 * np.square(along.argsort().argsort() / n)
    elif kind == "patch":
        by = columns[:, int(rng.integers(columns.shape[1]))] * rng.choice([-1, 1])
        sd = np.where(by > np.quantile(by, 0.75), min(10 * level, 2.0), level)
    return sd, draws

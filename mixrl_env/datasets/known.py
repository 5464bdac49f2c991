"""Tables whose truth is known: drawn from a function, so that it can be said where mixing rows invents wrong labels.

Not from the paper, except that half_wiggly is the situation of its Fig. 1. 200 rows have noisy labels: few to train on, where
mixing matters, and more to learn a policy from. The labels of the test rows have no noise, so that they measure the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, RegressionData
from mixrl_env.streams import data_stream

SIZES = (60, 140, 1000)
"""Training, validation and test rows."""


@dataclass(frozen=True)
class KnownTable:
    """A function with its rows.

    Attributes:
        draw: features (n, d) of n rows, from a generator; the training rows may lack a part that is true of the others.
        label: noise-free labels (n,) of features (n, d).
        noise: standard deviation of the label noise of each training and validation row, (n,) from features (n, d).
        groups: names of the two kinds of rows.
        in_first: which rows are of the first kind, (n,) from features (n, d).
    """

    draw: Callable[[np.random.Generator, int, bool], FloatArray]
    label: Callable[[FloatArray], FloatArray]
    noise: Callable[[FloatArray], FloatArray]
    groups: tuple[str, str]
    in_first: Callable[[FloatArray], npt.NDArray[np.bool_]]


def _uniform(columns: int) -> Callable[[np.random.Generator, int, bool], FloatArray]:
    return lambda rng, n, training: rng.uniform(-1, 1, (n, columns))


def _apart(rng: np.random.Generator, n: int, training: bool) -> FloatArray:
    x = rng.uniform(-1, 1, (n, 1))
    return np.sign(x) * (0.2 + 0.8 * abs(x))  # no row within 0.2 of 0, so that few neighbours lie in the other half


def _with_gap(rng: np.random.Generator, n: int, training: bool) -> FloatArray:
    x = rng.uniform(-1, 1, (n, 1))
    return np.sign(x) * (0.4 + 0.6 * abs(x)) if training else x  # no training row within 0.4 of 0


KNOWN: dict[str, KnownTable] = {
    # Linear left of 0, a sine right of it.
    "half_wiggly": KnownTable(
        draw=_apart,
        label=lambda x: np.where(x[:, 0] < 0, x[:, 0], 0.5 * np.sin(3 * np.pi * x[:, 0])),
        noise=lambda x: np.full(len(x), 0.1),
        groups=("linear half", "wiggly half"),
        in_first=lambda x: x[:, 0] < 0,
    ),
    # A plane whose labels are ten times as noisy in one quarter.
    "noisy_corner": KnownTable(
        draw=_uniform(2),
        label=lambda x: x[:, 0] - x[:, 1],
        noise=lambda x: np.where((x[:, 0] > 0) & (x[:, 1] > 0), 1.0, 0.1),
        groups=("noisy corner", "the rest"),
        in_first=lambda x: (x[:, 0] > 0) & (x[:, 1] > 0),
    ),
    # A parabola without training rows around its vertex: equal labels lie on either side of the gap.
    "gap": KnownTable(
        draw=_with_gap,
        label=lambda x: 2 * np.square(x[:, 0]),
        noise=lambda x: np.full(len(x), 0.05),
        groups=("left of the gap", "right of the gap"),
        in_first=lambda x: x[:, 0] < 0,
    ),
}


def load_known(name: str, split_seed: int) -> RegressionData:
    """One of `KNOWN`, drawn anew for every seed.

    Args:
        name: of the table.
        split_seed: the same seed draws the same rows.
    """
    table, rng = KNOWN[name], data_stream(split_seed)
    rows: dict[str, FloatArray] = {}
    for part, size in zip(("train", "val", "test"), SIZES, strict=True):
        x = table.draw(rng, size, part == "train")
        noise = table.noise(x) * rng.normal(size=size) if part != "test" else 0.0
        rows |= {f"x_{part}": x, f"y_{part}": table.label(x) + noise}
    return RegressionData(name=name, **rows)  # type: ignore[arg-type]  # the parts are all arrays

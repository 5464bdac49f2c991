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


def _spectra(rng: np.random.Generator, n: int, training: bool) -> FloatArray:
    """Two peaks of random heights over a baseline, 1 for a third of the rows; the last channel is the baseline alone."""
    channel = np.arange(40)
    peaks = np.exp(-np.square((channel - np.array([[10], [24]])) / 5))
    baseline = np.where(rng.random(n) < 1 / 3, 1.0, 0.0)[:, None]
    x: FloatArray = rng.uniform(0, 1, (n, 2)) @ peaks + baseline + rng.normal(0, 0.01, (n, 40))
    x[:, 39] = baseline[:, 0]
    return x


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
    # A plane in four dimensions whose noise grows with the first feature, from 0.05 to 2.
    "growing_noise": KnownTable(
        draw=_uniform(4),
        label=lambda x: x @ np.array([0.5, 1.0, -1.0, 0.5]),
        noise=lambda x: 0.05 + 2 * np.square(np.maximum(x[:, 0], 0)),
        groups=("loud half", "quiet half"),
        in_first=lambda x: x[:, 0] > 0,
    ),
    # Two regimes in five dimensions: a plane left of 0, another one with fifteen times the noise right of it.
    "regimes": KnownTable(
        draw=_uniform(5),
        label=lambda x: x[:, 1] + np.where(x[:, 0] < 0, x[:, 2], -x[:, 2]),
        noise=lambda x: np.where(x[:, 0] < 0, 0.1, 1.5),
        groups=("quiet plane", "loud plane"),
        in_first=lambda x: x[:, 0] < 0,
    ),
    # Spectra of 40 channels of two quantities; a third of the rows are from a bad batch: a raised baseline and wild labels.
    "bad_batch": KnownTable(
        draw=_spectra,
        label=lambda x: 4 * (x[:, 10] - x[:, 39]),
        noise=lambda x: np.where(x[:, 39] > 0.5, 2.0, 0.05),
        groups=("bad batch", "the rest"),
        in_first=lambda x: x[:, 39] > 0.5,
    ),
    # A noisy line left of 0, a sine almost without noise right of it.
    "noisy_line": KnownTable(
        draw=_uniform(1),
        label=lambda x: np.where(x[:, 0] < 0, x[:, 0], 0.7 * np.sin(2 * np.pi * x[:, 0])),
        noise=lambda x: np.where(x[:, 0] < 0, 0.8, 0.05),
        groups=("noisy line", "quiet wave"),
        in_first=lambda x: x[:, 0] < 0,
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

"""Paired comparisons over splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from mixrl_env.streams import stream

BASELINE = "No Augmentation"
_FEWEST = 5
_RESAMPLES = 9999
_QUARTER, _QUARTILE_RESAMPLES = 0.25, 4999


class Difference(NamedTuple):
    """Mean of paired differences over splits, or a ratio of means, with a 95% interval, which is NaN for a single split."""

    mean: float
    low: float
    high: float

    @property
    def score(self) -> str:
        """`text` of a normalised score, which has no sign."""
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def text(self) -> str:
        """Mean and, where there is one, the interval."""
        return self.rounded(4)

    def rounded(self, digits: int) -> str:
        """`text` with another number of digits."""
        mean, low, high = (f"{value:+.{digits}f}" for value in self)
        return mean if np.isnan(self.low) else f"{mean} [{low}, {high}]"


def mean_interval(values: npt.ArrayLike) -> Difference:
    """Mean of differences that are paired already, one a split."""
    given = np.asarray(values, dtype=np.float64).tolist()
    return paired_difference(given, [0.0] * len(given))


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Values minus reference, pair by pair, with a t interval.

    Args:
        values: one number a split.
        reference: one number a split, in the same order.
    """
    differences = np.subtract(values, reference)
    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean, np.nan, np.nan)
    if np.ptp(differences) == 0:
        return Difference(mean, mean, mean)
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high))


def ratio_of_means(gained: npt.ArrayLike, possible: npt.ArrayLike) -> Difference:
    """The normalised score: mean gain over the mean gain that was possible, pair by pair, with a percentile bootstrap interval.

    Args:
        gained: one number a split or table.
        possible: likewise, in the same order, of an oracle.
    """
    own, best = np.asarray(gained, dtype=np.float64), np.asarray(possible, dtype=np.float64)
    picks = stream(0, "bootstrap of scores").integers(len(own), size=(2000, len(own)))
    low, high = np.quantile(own[picks].mean(axis=1) / best[picks].mean(axis=1), (0.025, 0.975))
    return Difference(float(own.mean() / best.mean()), float(low), float(high))


def bootstrap_interval(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float] | None:
    """95% interval of the mean paired difference by the bootstrap (BCa), which does not lean on the normal distribution.

    Args:
        values: one number a split.
        reference: one number a split, in the same order.

    Returns:
        Lower and upper end; None for fewer than five splits, which are too few to draw from again.
    """
    differences = np.subtract(values, reference)
    if len(differences) < _FEWEST:
        return None
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    found = stats.bootstrap((differences,), np.mean, n_resamples=_RESAMPLES, rng=stream(0, "bootstrap"))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def interquartile_difference(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Values minus reference, pair by pair: the mean without the lowest and the highest quarter.

    The interval is that of the percentile bootstrap, the splits drawn again.

    Args:
        values: one number a split.
        reference: one number a split, in the same order.
    """
    differences = np.subtract(values, reference)
    mean = float(stats.trim_mean(differences, _QUARTER))
    if len(differences) < 2:
        return Difference(mean, np.nan, np.nan)
    drawn = stream(0, "quartile bootstrap").choice(differences, (_QUARTILE_RESAMPLES, len(differences)))
    low, high = np.quantile(stats.trim_mean(drawn, _QUARTER, axis=1), (0.025, 0.975))
    return Difference(mean, float(low), float(high))

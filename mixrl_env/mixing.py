"""Mixup itself: pairs of rows and their ratio lambda give mixed rows (Sec. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, IntArray

MixRatio = float | tuple[str, float]
"""A fixed lambda in [0, 1], or ("beta", alpha) to draw lambda ~ Beta(alpha, alpha) anew for every pair."""


def check_ratio(lam: MixRatio | Sequence[object]) -> MixRatio:
    """The mix ratio, checked.

    Raises:
        ValueError: if it is neither a number in [0, 1] nor ("beta", alpha) with alpha > 0.
    """
    if isinstance(lam, int | float) and not isinstance(lam, bool) and 0 <= lam <= 1:
        return float(lam)
    if isinstance(lam, tuple | list) and len(lam) == 2 and lam[0] == "beta":
        alpha = lam[1]
        if isinstance(alpha, int | float) and not isinstance(alpha, bool) and 0 < alpha < np.inf:
            return ("beta", float(alpha))
    raise ValueError(f"lam must be a number in [0, 1] or ('beta', alpha) with alpha > 0, got {lam!r}")


def draw_lam(lam: MixRatio, num_pairs: int, rng: np.random.Generator) -> FloatArray:
    """One lambda for each pair, shape (num_pairs,); the generator is used only for a Beta ratio."""
    if isinstance(lam, tuple):
        return rng.beta(lam[1], lam[1], size=num_pairs)
    return np.full(num_pairs, lam)


def mix(
    x: FloatArray, y: FloatArray, i: IntArray, j: IntArray, lam: float | npt.NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Mixed rows lambda x_i + (1 - lambda) x_j with labels lambda y_i + (1 - lambda) y_j.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        i: first rows of the pairs, shape (p,).
        j: second rows of the pairs, shape (p,).
        lam: one ratio for all pairs, or one a pair, shape (p,).

    Returns:
        Features (p, d) and labels (p, e).
    """
    weight = np.broadcast_to(np.asarray(lam, dtype=np.float64), i.shape)[:, None]
    return weight * x[i] + (1 - weight) * x[j], weight * y[i] + (1 - weight) * y[j]

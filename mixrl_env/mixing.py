"""Mixup itself: pairs of rows and their ratio lambda give mixed rows (Sec. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, IntArray

MixRatio = float | tuple[str, float] | FloatArray
"""A fixed lambda in [0, 1]; ("beta", alpha) to draw lambda ~ Beta(alpha, alpha) anew for every pair; or an array (n, n) with
the lambda of every pair (i, j) of training rows, as AdaMixUp learns them (App. B.4)."""


def check_ratio(lam: MixRatio | Sequence[object]) -> MixRatio:
    """The mix ratio, checked; an array is copied and cannot be written to.

    Raises:
        ValueError: if it is neither a number in [0, 1], nor ("beta", alpha) with alpha > 0, nor a square array in [0, 1].
    """
    if isinstance(lam, np.ndarray):
        if lam.dtype.kind not in "fiub":
            raise ValueError(f"lam as an array must hold numbers, got one of {lam.dtype}")
        if lam.ndim != 2 or lam.shape[0] != lam.shape[1] or not ((lam >= 0) & (lam <= 1)).all():
            raise ValueError(f"lam as an array must have shape (n_train, n_train) and lie in [0, 1], got shape {lam.shape}")
        own = lam.astype(np.float64)
        own.setflags(write=False)
        return own
    if isinstance(lam, int | float) and not isinstance(lam, bool) and 0 <= lam <= 1:
        return float(lam)
    if isinstance(lam, tuple | list) and len(lam) == 2 and lam[0] == "beta":
        alpha = lam[1]
        if isinstance(alpha, int | float) and not isinstance(alpha, bool) and 0 < alpha < np.inf:
            return ("beta", float(alpha))
    raise ValueError(f"lam must be a number in [0, 1], ('beta', alpha) with alpha > 0, or an array, got {lam!r}")


def draw_lam(lam: MixRatio, i: IntArray, j: IntArray, rng: np.random.Generator) -> FloatArray:
    """One lambda for each pair of rows (i, j), arrays of shape (p,); the generator is used only for a Beta ratio."""
    if isinstance(lam, tuple):
        return rng.beta(lam[1], lam[1], size=len(i))
    if isinstance(lam, np.ndarray):
        return lam[i, j]
    return np.full(len(i), lam)


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


def with_mixed_rows(x: FloatArray, y: FloatArray, x_mixed: FloatArray, y_mixed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Features and labels of the rows, followed by the mixed rows without repetitions."""
    first = _first_of_equal(np.concatenate([x_mixed, y_mixed], axis=1))
    return np.concatenate([x, x_mixed[first]]), np.concatenate([y, y_mixed[first]])


def _first_of_equal(rows: FloatArray) -> IntArray:
    """Indices of the first of equal rows, in order."""
    rows = np.ascontiguousarray(rows + 0.0)  # -0.0 becomes 0.0, which it equals
    as_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()  # one comparison a row, not one a column
    found: IntArray = np.sort(np.unique(as_bytes, return_index=True)[1])
    return found

"""Random functions of observation rows: features with random weights, and policies that are linear in them."""

from __future__ import annotations

import numpy as np

from mixrl.training import FloatArray, Rows, check_rows


class RandomFeatures:
    """relu(W z + b) with fixed random W and b, z the standardised row; a last feature that is always 1.

    Args:
        rows: observation rows that set mean and standard deviation, shape (..., row size).
        num_features: how many, besides the constant.
        rng: draws W and b.
    """

    def __init__(self, rows: Rows, num_features: int, rng: np.random.Generator) -> None:
        rows = np.reshape(rows, (-1, np.shape(rows)[-1]))
        self._mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        self._scale = np.where(spread > 0, spread, 1.0) * rows.shape[1] ** 0.5
        self._w = rng.normal(size=(rows.shape[1], num_features))
        self._b = rng.uniform(-1, 1, num_features)

    def __call__(self, rows: Rows) -> FloatArray:
        """Features (..., num_features + 1) of rows (..., row size)."""
        return relu_features(rows, self._mean, self._scale, self._w, self._b)


def relu_features(
    rows: Rows, centre: FloatArray | float, scale: FloatArray | float, w: FloatArray, b: FloatArray
) -> FloatArray:
    """relu(W z + b) of rows (..., row size), z the centred and scaled row, and 1; shape (..., num_features + 1)."""
    check_rows(rows, len(w))
    hidden = np.maximum((rows - centre) / scale @ w + b, 0)
    return np.concatenate([hidden, np.ones((*hidden.shape[:-1], 1))], axis=-1)


def random_policies(features: FloatArray, exploration: float, rng: np.random.Generator) -> FloatArray:
    """Weights (m, features) of m policies, one a batch: the logits of its rows are features @ weights.

    Similar rows have similar logits, so that a policy selects them together.

    Args:
        features: of m batches of B rows, as from `RandomFeatures`, shape (m, B, features).
        exploration: standard deviation of the logits over the rows of the batch, and of their mean over policies.
        rng: draws the weights.
    """
    m, _, size = features.shape
    weights = rng.normal(size=(m, size))
    logits = np.einsum("mif,mf->mi", features, weights)
    spread = logits.std(axis=1)
    weights /= np.where(spread > 0, spread, 1.0)[:, None]
    weights[:, -1] += rng.normal(size=m) - np.einsum("mif,mf->m", features, weights) / features.shape[1]
    return exploration * weights

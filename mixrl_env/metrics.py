"""The two accuracy measures of the paper (Sec. 4, Measures)."""

from __future__ import annotations

import numpy as np

from mixrl_env.data import FloatArray


def rmse(y_true: FloatArray, y_pred: FloatArray) -> float:
    """Root of the mean squared error over all rows and label columns, in label units; lower is better.

    Args:
        y_true: labels, shape (n, e).
        y_pred: predictions, shape (n, e).
    """
    return float(np.sqrt(np.mean(np.square(y_true - y_pred))))


def r2(y_true: FloatArray, y_pred: FloatArray) -> float:
    """Share of the label variance explained: 1 - sum of squared errors / sum of squares around each column's mean.

    Squares are summed over all label columns before dividing, as the paper's formula reads for vector labels; a constant column
    counts with its errors. Labels that are constant throughout leave nothing to explain: 1 if predicted exactly, else 0.

    Args:
        y_true: labels, shape (n, e).
        y_pred: predictions, shape (n, e).
    """
    error = float(np.sum(np.square(y_true - y_pred)))
    spread = float(np.sum(np.square(y_true - y_true.mean(axis=0))))
    return 1 - error / spread if spread > 0 else float(error == 0)

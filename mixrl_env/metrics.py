"""The two accuracy measures of the paper (Sec. 4, Measures)."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import r2_score

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

    Squares are summed over all label columns before dividing, as the paper's formula reads for vector labels.

    Args:
        y_true: labels, shape (n, e).
        y_pred: predictions, shape (n, e).
    """
    return float(r2_score(y_true, y_pred, multioutput="variance_weighted"))

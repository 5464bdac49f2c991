"""Features of a row and an option that mean the same on every table (ours, not the paper's).

Small regressors are trained on half of the training rows each; a mixed row is judged by the regressors that have seen neither
of its parents. With y_hat their mean prediction and s the root mean square of the rows' own out-of-fold residuals, target by
target, an option (space, k) of a row i with neighbours j, mixed rows (x_ij, y_ij), has

    label_error      mean over j of |y_ij - y_hat(x_ij)| / s
    disagreement     mean over j of the regressors' standard deviation at x_ij, / s
    bend             mean over j of |y_hat(x_ij) - lambda y_hat(x_i) - (1 - lambda) y_hat(x_j)| / s
    neighbor_error   mean over j of |y_j - y_hat(x_j)| / s
    residual         |y_i - y_hat(x_i)| / s
    data_distance    mean over j of |x_i - x_j| / sqrt(d), standardised features
    label_distance   mean over j of |y_i - y_j| / sqrt(e), standardised labels
    sparsity         distance to the nearest other row, divided by the median over all rows
    log_k            log k / log n
    label_space      0 for data distance, 1 for label distance, 1/2 for every other row

The first eight, u >= 0, are squashed to u / (1 + u), so that all lie in [0, 1].

What the table is like, the same for all its rows, is the context: the means of the first eight over all rows and options, and

    noise            s / (1 + s), s in standard deviations of the label
    log_n, log_d     log n / log 1000 and log d / log 1000, at most 1

The same regressors tell how well the label of a validation row can be known: with r^2 the mean of ((y - y_hat(x)) / s)^2 over
the row and its 14 nearest validation rows, and R its mean over all rows, a row has the weight 1 / (r^2 + R / 4), divided by the
mean weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mixrl_env.data import FloatArray, IntArray, LabelScale
from mixrl_env.mixing import MixRatio, draw_lam, mix
from mixrl_env.neighbors import NeighborTable, nearest_neighbors
from mixrl_env.regressor import RegressorConfig, TrainingSet, fit_regressors
from mixrl_env.streams import stream

FEATURES = (
    "label_error",
    "disagreement",
    "bend",
    "neighbor_error",
    "residual",
    "data_distance",
    "label_distance",
    "sparsity",
    "log_k",
    "label_space",
)
"""Names of the columns, in order; all lie in [0, 1]."""
CONTEXT = (*(f"mean {name}" for name in FEATURES[:8]), "noise", "log_n", "log_d")
"""Names of the columns of a table's context, in order; all lie in [0, 1]."""
SPACE_CODES = {"data": 0.0, "label": 1.0, "all": 0.5}
"""Values of label_space."""
CENTRE, SPREAD = 1 / 3, 1 / 4  # of the columns, roughly, so that parameters of order 1 matter to an agent
_SQUASHED = FEATURES.index("log_k")  # the features before it
_REGRESSORS = 16
_NEAR, _FLOOR = 14, 1 / 4  # of the weights: neighbours, and the share of the mean square that is added
_BLOCK = 4096  # mixed rows that are predicted at once
CROSS_FITTED = RegressorConfig(hidden_sizes=(64, 64), learning_rate=0.003, max_steps=3000)
"""The regressors behind the features; they stop early on the validation rows."""


class Judged(NamedTuple):
    """What the cross-fitted regressors say.

    Attributes:
        features: of every training row with every option, shape (n, |N|, len(FEATURES)), in [0, 1].
        context: of the table, shape (len(CONTEXT),), in [0, 1].
        val_weights: of the validation rows, shape (n_val,), with mean 1.
    """

    features: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    val_weights: FloatArray


def judge_rows(
    train: TrainingSet, val: TrainingSet, neighbors: NeighborTable, lam: MixRatio, labels: LabelScale, device: str = "auto"
) -> Judged:
    """Train the regressors and compute what they say.

    Args:
        train: standardised features (n, d) and labels (n, e) of the training rows.
        val: those of the validation rows, also for the early stop of the regressors.
        neighbors: of the training rows, with the options.
        lam: mix ratio; a ratio that is drawn counts as 1/2.
        labels: scale of the labels.
        device: where the regressors are trained.
    """
    x, y = train
    y = labels.to_standard(y)
    judge = _Judges((x, y), (val[0], labels.to_standard(val[1])), device)
    n, options = len(x), neighbors.options
    nearest = np.linalg.norm(x - x[nearest_neighbors(x, 1)[:, 0]], axis=1)
    found = np.empty((n, len(options), len(FEATURES)))
    found[..., FEATURES.index("residual")] = judge.residual[:, None]
    found[..., FEATURES.index("sparsity")] = (nearest / (np.median(nearest) or 1.0))[:, None]
    for space, own in neighbors.by_space.items():
        widest = max(own, key=lambda index: options[index].k)
        i, j = neighbors.pairs(np.arange(n), np.full(n, widest))
        count = len(i) // n
        ratio = draw_lam(0.5 if isinstance(lam, tuple) else lam, i, j, stream(0, "ratios of features"))
        of_pair = judge.pairs(i, j, ratio) | {
            "data_distance": np.linalg.norm(x[i] - x[j], axis=1) / x.shape[1] ** 0.5,
            "label_distance": np.linalg.norm(y[i] - y[j], axis=1) / y.shape[1] ** 0.5,
        }
        for name, values in of_pair.items():  # neighbours come nearest first: a smaller k is a prefix
            means = values.reshape(n, count).cumsum(axis=1) / np.arange(1, count + 1)
            for index in own:
                found[:, index, FEATURES.index(name)] = means[:, (options[index].k or count) - 1]
        for index in own:
            found[:, index, FEATURES.index("log_k")] = np.log(options[index].k or count) / np.log(n)
            found[:, index, FEATURES.index("label_space")] = SPACE_CODES[space]
    found[..., :_SQUASHED] /= 1 + found[..., :_SQUASHED]
    noise = float(judge.scale.mean())
    context = np.append(found[..., :_SQUASHED].mean(axis=(0, 1)), [noise / (1 + noise), *_log_shares(n, x.shape[1])])
    return Judged(found.astype(np.float32), context.astype(np.float32), judge.weights())


def _log_shares(*counts: int) -> FloatArray:
    """Each log count / log 1000, at most 1."""
    shares: FloatArray = np.minimum(np.log(counts) / np.log(1000), 1)
    return shares


class _Judges:
    """Regressors that each see a random half of the training rows."""

    def __init__(self, train: TrainingSet, val: TrainingSet, device: str) -> None:
        (self.x, self.y), self._val = train, val
        n = len(self.x)
        rng = stream(0, "cross-fitted halves")
        self.seen = np.zeros((_REGRESSORS, n), dtype=bool)
        for first, second in zip(self.seen[::2], self.seen[1::2], strict=True):  # a half and its complement
            first[rng.permutation(n)[: n // 2]] = True
            second[:] = ~first
        sets = [(self.x[rows], self.y[rows]) for rows in self.seen]
        rngs = [stream(0, "cross-fitted regressors", number) for number in range(_REGRESSORS)]
        config = replace(CROSS_FITTED, device=device)
        self._fitted = fit_regressors(sets, *val, config, rngs)
        at_rows = self._fitted.predict(self.x)  # (R, n, e)
        self.at_rows = _mean(at_rows, ~self.seen)
        residual = self.y - self.at_rows
        self.scale = np.sqrt(np.square(residual).mean(axis=0))
        self.scale[self.scale == 0] = 1.0
        self.residual = np.abs(residual / self.scale).mean(axis=1)

    def weights(self) -> FloatArray:
        """Of the validation rows, shape (n_val,)."""
        x, y = self._val
        square = np.square((y - self._fitted.predict(x).mean(axis=0)) / self.scale).mean(axis=1)
        near = np.arange(len(x))[:, None]
        if len(x) > 1:
            near = np.concatenate([near, nearest_neighbors(x, min(_NEAR, len(x) - 1))], axis=1)
        local = square[near].mean(axis=1)
        weight = 1 / (local + _FLOOR * local.mean()) if local.any() else np.ones(len(x))
        scaled: FloatArray = weight / weight.mean()
        return scaled

    def pairs(self, i: IntArray, j: IntArray, lam: FloatArray) -> dict[str, FloatArray]:
        """The features that need predictions, of mixed rows (p,)."""
        parts = []
        for first in range(0, len(i), _BLOCK):
            block = slice(first, first + _BLOCK)
            one, other, ratio = i[block], j[block], lam[block]
            x, y = mix(self.x, self.y, one, other, ratio)
            unseen = ~self.seen[:, one] & ~self.seen[:, other]
            unseen = np.where(unseen.any(axis=0), unseen, ~self.seen[:, one])
            predicted = self._fitted.predict(x)
            mean = _mean(predicted, unseen)
            straight = ratio[:, None] * self.at_rows[one] + (1 - ratio[:, None]) * self.at_rows[other]
            spread = np.sqrt(_mean(np.square(predicted - mean), unseen))
            parts.append([np.abs(values / self.scale).mean(axis=1) for values in (y - mean, spread, mean - straight)])
        error, disagreement, bend = (np.concatenate(values) for values in zip(*parts, strict=True))
        return {"label_error": error, "disagreement": disagreement, "bend": bend, "neighbor_error": self.residual[j]}


def _mean(values: FloatArray, which: npt.NDArray[np.bool_]) -> FloatArray:
    """Mean over the regressors (R, p, e) flagged in (R, p), shape (p, e)."""
    weight = which / which.sum(axis=0)
    mean: FloatArray = np.einsum("rp,rpe->pe", weight, values)
    return mean

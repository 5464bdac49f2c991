"""Anchor Data Augmentation: rows move towards or away from the mean of their cluster (Schneider et al., NeurIPS 2023)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from experiments.methods.base import Augmented, Trial
from experiments.methods.peers import DRAWS, generators, keep_best
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.regressor import TrainingSet

CLUSTERS = (2, 4, 8)
ALPHAS = (1.5, 3.5, 8.0)
"""The largest gamma; the original reports 4 clusters and 3.5 for NO2."""


def augment(trial: Trial) -> Augmented:
    """The training rows and 20 moved rows for each of them.

    The original draws one gamma for every minibatch and projects within it; here every moved row has its own gamma, the
    clusters are those of all training rows' features, and each final regressor has a set of its own draws. The validation rows
    choose the number of clusters among `CLUSTERS` (those not above the number of rows) and alpha among `ALPHAS`.
    """
    x, y = trial.problem.x_train, trial.problem.data.y_train
    rows = np.repeat(np.arange(len(x)), DRAWS)

    def draw(clusters: IntArray, alpha: float, rng: np.random.Generator) -> TrainingSet:
        # Every row as often as the others, so that the means of the clusters stay theirs.
        x_moved, y_moved = move(x[rows], y[rows], clusters[rows], draw_gamma(alpha, len(rows), rng))
        return np.concatenate([x, x_moved]), np.concatenate([y, y_moved])

    groupings = {}
    for count in (count for count in CLUSTERS if count <= len(x)):
        state = int(generators(trial)[0].integers(2**32))
        groupings[count] = KMeans(count, random_state=state).fit_predict(x).astype(np.int64)
    candidates = [
        ({"clusters": count, "alpha": alpha}, [draw(clusters, alpha, rng) for rng in generators(trial)])
        for (count, clusters), alpha in product(groupings.items(), ALPHAS)
    ]
    return keep_best(trial, candidates)


def draw_gamma(alpha: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Gamma of every moved row, shape (count,): beta or 1 / beta with equal chances, beta ~ Uniform(1, alpha)."""
    beta = rng.uniform(1, alpha, size=count)
    return np.where(rng.random(count) < 0.5, beta, 1 / beta)


def move(x: FloatArray, y: FloatArray, clusters: IntArray, gamma: FloatArray) -> TrainingSet:
    """Every row moved along the line through the mean of its cluster.

    Row i becomes (x_i + s_i (P x)_i) / (1 + s_i sum_j P_ij) with s = sqrt(gamma) - 1, the labels alike. P projects on one-hot
    anchors: (P x)_i is the mean of i's cluster, and P's rows sum to 1. Gamma above 1 moves towards the mean, below 1 away.

    Args:
        x: features, shape (n, d).
        y: labels, shape (n, e).
        clusters: the cluster of every row, counted from 0, shape (n,).
        gamma: above 0, shape (n,).
    """
    s = np.sqrt(gamma)[:, None] - 1

    def moved(values: FloatArray) -> FloatArray:
        means = pd.DataFrame(values).groupby(clusters).transform("mean").to_numpy(dtype=np.float64)
        return np.asarray((values + s * means) / (1 + s))

    return moved(x), moved(y)

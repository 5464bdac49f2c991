"""C-Mixup: partners are drawn by how close their labels are (Yao et al., NeurIPS 2022)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import softmax

from experiments.methods.base import Augmented, Trial
from experiments.methods.peers import DRAWS, Candidate, generators, keep_best, with_mixed
from mixrl_env.data import FloatArray
from mixrl_env.mixing import draw_lam
from mixrl_env.regressor import TrainingSet

BANDWIDTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the kernel, in standard deviations of the label: from nearly the nearest label to nearly any."""
_LAM = ("beta", 2.0)


def augment(trial: Trial) -> Augmented:
    """The training rows and 20 mixed rows for each of them, lambda ~ Beta(2, 2) for every pair.

    The original draws a partner for every row of every minibatch, one lambda a minibatch, and trains on mixed rows alone. Here
    each final regressor has a set of its own draws, and the training rows stay, as for all methods. The validation rows choose
    the bandwidth among `BANDWIDTHS`.
    """
    labels = trial.problem.data.standardize_y(trial.problem.data.y_train)

    def draw(chances: FloatArray, rng: np.random.Generator) -> TrainingSet:
        n = len(chances)
        i = np.repeat(np.arange(n), DRAWS)
        j = np.concatenate([rng.choice(n, size=DRAWS, p=row) for row in chances])
        return with_mixed(trial.problem, i, j, draw_lam(_LAM, i, j, rng))

    candidates: list[Candidate] = []
    for bandwidth in BANDWIDTHS:
        chances = partner_chances(labels, bandwidth)
        candidates.append(({"bandwidth": bandwidth}, [draw(chances, rng) for rng in generators(trial)]))
    return keep_best(trial, candidates)


def partner_chances(labels: FloatArray, bandwidth: float) -> FloatArray:
    """Probability that row j is drawn as the partner of row i, shape (n, n); each row sums to 1.

    In proportion to exp(-d(i, j)^2 / (2 bandwidth^2)), d the Euclidean distance of labels. The original lets a row be its own
    partner, which makes no new row; here the diagonal is 0.

    Args:
        labels: shape (n, e), n >= 2.
        bandwidth: above 0, in the units of the labels.
    """
    # Relative to the nearest label before it is divided: no row runs out of partners however narrow the kernel is.
    squared = cdist(labels, labels, "sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    squared -= squared.min(axis=1, keepdims=True)
    chances: FloatArray = softmax(-squared / (2 * bandwidth**2), axis=1)
    return chances

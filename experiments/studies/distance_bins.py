"""Pairs of training rows dealt into bins of distance: how wrong their mixed labels are, and what training on them is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist

from experiments.runner.cells import Row
from mixrl_env import FittedRegressors, MixingProblem
from mixrl_env.data import FloatArray, IntArray
from mixrl_env.metrics import rmse
from mixrl_env.mixing import mix
from mixrl_env.streams import stream

SPACES = ("data", "label")
MIXED_PER_ROW = 5
"""Mixed rows of a bin for every training row."""
_LAM = 0.5
_STORED_PAIRS = 400  # of a split, for the scatter plot


def measure(problem: MixingProblem, bins: int, repeats: int, seed: int) -> list[Row]:
    """Train without mixing and on the mixed rows of every bin, and compare labels and models.

    Args:
        problem: data with test rows, and the regressor; its options are not used.
        bins: ranges of each distance.
        repeats: trainings on every training set; repeat r draws the same initial weights for all of them.
        seed: of the sampled pairs and of the trainings.

    Returns:
        Rows of four kinds, named in "what". "reference", one a repeat: val_rmse and test_rmse without mixing. "bin", one for
        each space, bin and repeat: range and mean of the normalised distance, val_rmse and test_rmse with the bin's mixed
        rows, and of these label_error and bend; see `label_errors`. "pair": both distances of some pairs. "all pairs": the
        rank correlation of the distances.

    Raises:
        ValueError: if a bin has fewer pairs than it must give mixed rows, or there are no test rows.
    """
    data, rng = problem.data, stream(seed, "sampled pairs")
    if data.x_test is None or data.y_test is None:
        raise ValueError(f"{data.name} has no test rows to judge the regressors on")
    i, j, distances = pair_distances(problem)
    size = MIXED_PER_ROW * len(problem.x_train)
    if len(i) // bins < size:
        raise ValueError(f"{len(i)} pairs of training rows in {bins} bins are fewer than {size} a bin; take fewer bins")
    sampled = [bin_ for space in SPACES for bin_ in _sampled_bins(space, distances[space], bins, size, rng)]

    sets = [(problem.x_train, data.y_train)]
    for _, pairs in sampled:
        x, y = mix(problem.x_train, data.y_train, i[pairs], j[pairs], _LAM)
        sets.append((np.concatenate([problem.x_train, x]), np.concatenate([data.y_train, y])))
    jobs = [one for one in sets for _ in range(repeats)]
    rngs = [stream(seed, "pair trainings", repeat) for _ in sets for repeat in range(repeats)]
    fitted = problem.fit(jobs, rngs)
    predictions = fitted.predict(data.standardize_x(data.x_test))
    scores = [
        {"val_rmse": float(loss) ** 0.5, "test_rmse": rmse(data.y_test, predicted)}
        for loss, predicted in zip(fitted.val_loss, predictions, strict=True)
    ]

    unmixed = replace(fitted, weights=[weight[:repeats] for weight in fitted.weights], val_loss=fitted.val_loss[:repeats])
    rows: list[Row] = [{"what": "reference", **score} for score in scores[:repeats]]
    for number, (bin_, pairs) in enumerate(sampled, start=1):
        own = scores[number * repeats : (number + 1) * repeats]
        errors = label_errors(problem, unmixed, i[pairs], j[pairs])
        rows += [{"what": "bin", **bin_, **error, **score} for error, score in zip(errors, own, strict=True)]
    for pair in rng.choice(len(i), min(_STORED_PAIRS, len(i)), replace=False):
        rows.append({"what": "pair", **{f"{space}_distance": round(float(distances[space][pair]), 4) for space in SPACES}})
    return [*rows, {"what": "all pairs", "spearman": stats.spearmanr(distances["data"], distances["label"]).statistic}]


def pair_distances(problem: MixingProblem) -> tuple[IntArray, IntArray, dict[str, FloatArray]]:
    """All pairs i < j of training rows, and their Euclidean distances in units of the largest.

    Features and labels are standardised, as they are for nearest neighbours.

    Returns:
        i and j, and by space the distances; all of shape (n (n - 1) / 2,).
    """
    i, j = np.triu_indices(len(problem.x_train), k=1)
    points = {"data": problem.x_train, "label": problem.data.standardize_y(problem.data.y_train)}
    distances = {space: pdist(of_space) for space, of_space in points.items()}
    return i, j, {space: of_space / (of_space.max() or 1.0) for space, of_space in distances.items()}


def equal_bins(values: FloatArray, bins: int) -> list[IntArray]:
    """Indices of the values dealt into bins by rank, the lowest first; sizes differ by one at most, also with ties."""
    return list(np.array_split(np.argsort(values, kind="stable"), bins))


def label_errors(problem: MixingProblem, regressors: FittedRegressors, i: IntArray, j: IntArray) -> list[Row]:
    """How wrong the labels of mixed rows are by the lights of regressors trained without mixing (Sec. 4.1).

    Args:
        problem: whose training rows are mixed.
        regressors: M of them.
        i: first rows of the pairs.
        j: second rows of the pairs.

    Returns:
        For each regressor label_error, the RMSE between mixed labels and its predictions, and bend, the RMSE between the mean
        of its predictions at the two rows and its prediction at their middle: the part that is no misfit of the two rows.
    """
    x, y = mix(problem.x_train, problem.data.y_train, i, j, _LAM)
    return [
        {"label_error": rmse(y, middle), "bend": rmse(_LAM * ends[i] + (1 - _LAM) * ends[j], middle)}
        for middle, ends in zip(regressors.predict(x), regressors.predict(problem.x_train), strict=True)
    ]


def _sampled_bins(
    space: str, distances: FloatArray, bins: int, size: int, rng: np.random.Generator
) -> list[tuple[Row, IntArray]]:
    """What a bin is, and a sample of its pairs; the nearest pairs first."""
    sampled = []
    for number, members in enumerate(equal_bins(distances, bins), start=1):
        own = distances[members]
        bin_: Row = {"space": space, "bin": number, "low": own.min(), "high": own.max(), "distance": own.mean()}
        sampled.append((bin_, rng.choice(members, size, replace=False)))
    return sampled

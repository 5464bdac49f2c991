"""How good an augmented training set is: final regressors, judged on test rows that no method but a yardstick reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixrl_env import MixingProblem
from mixrl_env.metrics import r2, rmse
from mixrl_env.regressor import TrainingSet
from mixrl_env.streams import stream


@dataclass(frozen=True)
class FinalScore:
    """One final regressor.

    Attributes:
        seed: which of the repeated trainings.
        val_rmse, test_rmse: label units.
        test_r2: share of label variance explained on the test rows.
        val_rmse_averaged, test_rmse_averaged: of the mean prediction of all repeats, the same in each of them.
    """

    seed: int
    val_rmse: float
    test_rmse: float
    test_r2: float
    val_rmse_averaged: float
    test_rmse_averaged: float


def final_scores(problem: MixingProblem, train_sets: Sequence[TrainingSet], split_seed: int, repeats: int) -> list[FinalScore]:
    """Train regressors from scratch to the early stop on augmented sets and score them on the test rows (Sec. 4).

    Training r takes set r (modulo their number) and draws the same initial weights for every method on a split, so that
    methods are compared paired.

    Raises:
        ValueError: if the data have no test part.
    """
    data = problem.data
    if data.x_test is None or data.y_test is None:
        raise ValueError(f"{data.name} has no test rows to judge the final regressors on")
    rngs = [stream(split_seed, "final trainings", repeat) for repeat in range(repeats)]
    sets = [train_sets[repeat % len(train_sets)] for repeat in range(repeats)]
    fitted = problem.fit(sets, rngs)
    predictions = fitted.predict(data.standardize_x(data.x_test))
    averaged = rmse(data.y_val, fitted.predict(problem.x_val).mean(axis=0)), rmse(data.y_test, predictions.mean(axis=0))
    return [
        FinalScore(
            seed, float(fitted.val_loss[seed]) ** 0.5, rmse(data.y_test, predicted), r2(data.y_test, predicted), *averaged
        )
        for seed, predicted in enumerate(predictions)
    ]

"""Global kNN: every row is mixed with its k nearest data and its k nearest label neighbours, one k for all (Sec. 4)."""

from __future__ import annotations

import pandas as pd

from experiments.methods.base import Augmented, Cell
from mixrl_env.augmentation import choose_plan
from mixrl_env.neighbors import NeighborOption


def augment(cell: Cell) -> Augmented:
    """Try every k that N holds for both distances; keep the one with the lowest validation loss.

    The paper searches k with Bayesian optimisation; with all k trained at once, trying each is cheaper and misses none.
    """
    problem, settings = cell.problem, cell.settings
    every_k = [k for space, k in problem.options if space == "data" and NeighborOption("label", k) in problem.options]
    rows = range(len(problem.x_train))
    plans = [
        [pd.DataFrame([(row, space, k) for row in rows for space in ("data", "label")], columns=["row", "space", "k"])]
        for k in every_k
    ]
    total = len(plans) * settings.knn_repeats
    cell.report(0, total, f"trying k = {every_k[0]}..{every_k[-1]}")
    choice = choose_plan(problem, plans, settings.knn_repeats, cell.split_seed)
    cell.report(total, total, f"k = {every_k[choice.kept[0]]}")
    trials = pd.DataFrame({"k": every_k, "num_rows": choice.num_rows, "val_rmse": choice.val_rmse.mean(axis=1)})
    trials.to_csv(cell.folder / "global_knn.csv", index=False)
    return Augmented(choice.sets, choice.trainings, f"k={every_k[choice.kept[0]]}")

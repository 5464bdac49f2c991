"""Reward fidelity: what of a reward is the mask, what is training noise, and does it rank masks as a full training does?

The yardstick is training from scratch to the early stop. Rewards are cut at several step budgets, start from scratch or from a
pre-trained state, and take the last or the best validation loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from experiments.figures import save_figure
from experiments.studies.cells import Row
from mixrl_env import MixingProblem, ProblemConfig, fit_regressors, load_dataset

_STREAM = 7


@dataclass(frozen=True)
class Fidelity:
    """Settings of the study.

    Attributes:
        dataset: name of the dataset.
        splits: seeds.
        masks: masks that are compared; mask i selects a share of the rows that rises with i from none to all.
        repeats: trainings a mask.
        scratch_steps: step budgets from scratch.
        pretrained_steps: step budgets from a pre-trained state.
    """

    dataset: str = "no2"
    splits: tuple[int, ...] = (0,)
    masks: int = 24
    repeats: int = 4
    scratch_steps: tuple[int, ...] = (300, 1000, 2500)
    pretrained_steps: tuple[int, ...] = (30, 100, 300, 1000)

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        """One a split."""
        return [(f"{self.dataset}-split{split}", partial(self._split, split)) for split in self.splits]

    def _split(self, split: int) -> list[Row]:
        problem = MixingProblem(load_dataset(self.dataset, split), ProblemConfig())
        config, y_train, y_val = problem.config.regressor, problem.data.y_train, problem.data.y_val
        rng = np.random.default_rng([_STREAM, split])
        shares = np.linspace(0, 1, self.masks)
        sets = []
        for share in shares:
            batch = problem.sample_batch(rng)
            chosen = rng.random(problem.num_rows) < share
            x, y = problem.mix(batch.rows[chosen], batch.options[chosen], rng)
            sets.append((np.concatenate([problem.x_train, x]), np.concatenate([y_train, y])))
        pretrained = fit_regressors([(problem.x_train, y_train)], problem.x_val, y_val, config, [rng]).weights

        rows: list[Row] = []
        for number, (start, steps, loss) in enumerate(self._regimes()):
            regressor = config
            if steps and loss == "last":
                regressor = replace(config, max_steps=steps, patience=None)
            elif steps:  # look often and never stop early
                regressor = replace(config, max_steps=steps, patience=steps, eval_every=min(steps, config.eval_every))
            jobs = range(self.masks * self.repeats)
            rngs = [np.random.default_rng([_STREAM, split, number, job]) for job in jobs]
            initial = [pretrained for _ in jobs] if start == "pre-trained" else None
            fitted = fit_regressors(sets * self.repeats, problem.x_val, y_val, regressor, rngs, initial)
            shared = {"split_seed": split, "start": start, "steps": steps, "loss": loss}
            rows += [
                {
                    **shared,
                    "mask": job % self.masks,
                    "repeat": job // self.masks,
                    "share": shares[job % self.masks],
                    "val_rmse": float(fitted.val_loss[job]) ** 0.5,
                    "train_steps": int(fitted.train_steps[job]),
                }
                for job in jobs
            ]
        return rows

    def _regimes(self) -> list[tuple[str, int, str]]:
        """Start, step budget (0 is the early stop) and which loss counts."""
        cut = [("from scratch", steps) for steps in self.scratch_steps]
        cut += [("pre-trained", steps) for steps in self.pretrained_steps]
        return [("from scratch", 0, "best"), *((start, steps, loss) for start, steps in cut for loss in ("last", "best"))]

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """One row a regime."""
        summary = _summary(stored)
        return [
            ("What a reward tells, means over splits; RMSE on validation rows", _rounded(summary)),
            (
                "Does it pay for small selections? Rank correlation of the loss with the share of selected rows",
                _small_selections(stored),
            ),
        ]

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        """Agreement with a full training against the cost of a reward."""
        summary = _summary(stored)
        figure = Figure(figsize=(6.5, 3.8), layout="constrained")
        axes = figure.subplots()
        for (start, loss), rows in summary.groupby(["Start", "Loss"], sort=False):
            cut = rows[rows["Steps"] != "early stop"]
            style = "o-" if loss == "last" else "s--"
            axes.plot(cut["Steps a reward"], cut["Rank correlation"], style, label=f"{start}, {loss} loss")
            for _, row in cut.iterrows():
                axes.annotate(
                    row["Steps"], (row["Steps a reward"], row["Rank correlation"]), (3, 4), textcoords="offset points", size=7
                )
        axes.axhline(0, color="#8a8a8a", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlabel="optimiser steps a reward", ylabel="rank correlation with a full training")
        axes.legend(frameon=False, fontsize=8)
        return [save_figure(figure, out / "fidelity.png")]


def _summary(stored: pd.DataFrame) -> pd.DataFrame:
    """Mask and noise SD, agreement and cost of every regime, means over splits.

    The variance of mask means holds a share of the noise, which is taken out. "Signal" is the squared correlation of a single
    reward with the mask's mean after full trainings; a step costs the same in all regimes, so that per step is per second.
    """
    keys = ["start", "steps", "loss"]
    lines = []
    for split, of_split in stored.groupby("split_seed"):
        full = of_split[of_split["steps"] == 0].groupby("mask")["val_rmse"].mean()
        for key, rows in of_split.groupby(keys, sort=False):
            by_mask = rows.groupby("mask")["val_rmse"]
            repeats = rows["repeat"].nunique()
            noise = by_mask.var().mean()
            mask_variance = max(by_mask.mean().var() - noise / repeats, 0.0)
            one = rows["val_rmse"].corr(rows["mask"].map(full))
            if key[1] == 0:  # a repeat agrees with its own mean too well; compare with the others
                others = (rows["mask"].map(full) * repeats - rows["val_rmse"]) / (repeats - 1)
                one = rows["val_rmse"].corr(others)
            lines.append(
                {
                    **dict(zip(("Start", "Steps", "Loss"), key, strict=True)),
                    "split": split,
                    "SD of masks": mask_variance**0.5,
                    "SD of noise": noise**0.5,
                    "Rank correlation": stats.spearmanr(by_mask.mean(), full).statistic if key[1] else np.nan,
                    "Correlation of one": one,
                    "Steps a reward": rows["train_steps"].mean(),
                    "Signal per 1,000 steps": 1000 * one**2 * np.sign(one) / rows["train_steps"].mean(),
                }
            )
    table = pd.DataFrame(lines).drop(columns="split").groupby(["Start", "Steps", "Loss"], sort=False).mean().reset_index()
    table["Steps"] = table["Steps"].astype(str).where(table["Steps"] > 0, "early stop")
    return table


def _rounded(summary: pd.DataFrame) -> pd.DataFrame:
    formats = {"SD of masks": "{:.4f}", "SD of noise": "{:.4f}", "Steps a reward": "{:.0f}"}
    table = summary.copy()
    for column in table.columns[3:]:
        table[column] = ["" if np.isnan(v) else formats.get(column, "{:.2f}").format(v) for v in table[column]]
    return table


def _small_selections(stored: pd.DataFrame) -> pd.DataFrame:
    """Below zero: the more is selected, the lower the loss."""
    rows = []
    for key, regime in stored.groupby(["start", "steps", "loss"], sort=False):
        ranks = [stats.spearmanr(rows["share"], rows["val_rmse"]).statistic for _, rows in regime.groupby("split_seed")]
        steps = str(key[1]) if key[1] else "early stop"
        line = {"Start": key[0], "Steps": steps, "Loss": key[2], "Rank correlation with share": f"{np.mean(ranks):+.2f}"}
        rows.append(line | {"Lowest, highest split": f"{min(ranks):+.2f}, {max(ranks):+.2f}"})
    return pd.DataFrame(rows)

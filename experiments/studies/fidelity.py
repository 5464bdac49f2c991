"""Reward fidelity: what of a reward is the mask, what is training noise, and does it rank masks as a full training does?

The yardstick is the test loss of full trainings: from scratch to the early stop at a constant rate, the paper's reward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import PositiveInt
from scipy import stats

from experiments.presets import SMALL_REGRESSOR
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import save_figure
from experiments.show.tables import Titled
from experiments.study import Datasets, Seeds, Study
from mixrl_env import MixingProblem, RegressorConfig
from mixrl_env.backends import TrainingRows, ValidationRows, forward
from mixrl_env.data import FloatArray
from mixrl_env.env import make_problem
from mixrl_env.regressor import Minibatches, TrainingSet, initial_weights, make_stack
from mixrl_env.streams import stream

_CHECK_EVERY = 10  # optimiser steps
_CHECKS = 5  # whose mean is taken
_AVERAGE_OVER = 50  # optimiser steps that the exponential average of weights looks back


def _steps(progress: FloatArray) -> FloatArray:
    return np.select([progress < 0.5, progress < 0.75], [1.0, 1 / 4], 1 / 16)


SHAPES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "constant": np.ones_like,
    "1, 1/4, 1/16": _steps,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + np.cos(np.pi * progress)) / 2,
}
"""The share of the learning rate over the progress of a training."""
LAST, CHECKS, AVERAGE = "last", f"mean of {_CHECKS} checks", "averaged weights"
SCRATCH, SHARED, HALF, EARLY = "scratch", "scratch, shared weights", "half-way", "early stop"
STARTS = {HALF: 0.5, EARLY: 1.0}


@dataclass(frozen=True)
class Protocol:
    """How one reward is computed.

    Attributes:
        start: of the training; all but `SCRATCH` share the initial weights among all masks.
        steps: optimiser steps; 0 is the environment's own number.
        shape: of the learning rate.
        shared: whether the trainings of all masks of an update share the generator of their minibatches.
    """

    start: str
    steps: int
    shape: str
    shared: bool = False


PROTOCOLS = (
    *(Protocol(HALF, 0, shape) for shape in SHAPES),
    Protocol(HALF, 0, "cosine", shared=True),
    Protocol(HALF, 100, "cosine"),
    Protocol(HALF, 1000, "cosine"),
    Protocol(SHARED, 300, "cosine"),
    Protocol(SHARED, 1000, "cosine"),
    Protocol(EARLY, 100, "cosine"),
    Protocol(EARLY, 300, "constant"),
    Protocol(EARLY, 300, "cosine"),
    Protocol(EARLY, 600, "cosine"),
    Protocol(SCRATCH, 1500, "cosine"),
)


class Fidelity(Study):
    """Settings of the study.

    Attributes:
        datasets: names.
        splits: seeds.
        masks: masks that are compared, each drawn from a random policy.
        repeats: trainings a mask and protocol.
        full_trainings: trainings a mask from scratch to the early stop.
    """

    kind: Literal["fidelity"] = "fidelity"
    datasets: Datasets = ("no2",)
    splits: Seeds = (0,)
    masks: PositiveInt = 20
    repeats: PositiveInt = 3
    full_trainings: PositiveInt = 6

    def cells(self) -> list[Cell]:
        """One a dataset and split."""
        return self.grid(self._split, dataset=self.datasets, split_seed=self.splits)

    def _split(self, dataset: str, split: int) -> list[Row]:
        regressor = RegressorConfig() if dataset == "no2" else SMALL_REGRESSOR
        problem = make_problem(dataset, split, regressor=regressor)
        data, rng = problem.data, stream(split, "fidelity masks")
        assert data.x_test is not None
        assert data.y_test is not None
        sets = [_random_set(problem, rng) for _ in range(self.masks)]
        jobs = range(self.masks * self.full_trainings)
        rngs = [stream(split, "fidelity full trainings", job) for job in jobs]
        fitted = problem.fit([sets[job // self.full_trainings] for job in jobs], rngs)
        errors = np.square(fitted.predict(data.standardize_x(data.x_test)) - data.y_test).mean(axis=(1, 2))
        test_loss = errors.reshape(self.masks, -1).mean(axis=1)
        val_loss = fitted.val_loss.reshape(self.masks, -1)
        full = {"start": SCRATCH, "steps": 0, "shape": "constant", "minibatches": "own", "loss": "best"}
        rows = [full | _fidelity(val_loss, test_loss, val_loss.mean(axis=1), float(fitted.train_steps.mean()))]
        states = _states(problem, split)
        for number, protocol in enumerate(PROTOCOLS):
            steps, losses = self._losses(problem, sets, states, protocol, split, number)
            for loss, values in losses.items():
                if loss != LAST and (protocol.start, protocol.steps) != (HALF, 0):
                    continue
                own = {"start": protocol.start, "steps": protocol.steps, "shape": protocol.shape, "loss": loss}
                own["minibatches"] = "shared" if protocol.shared else "own"
                values = values.reshape(self.masks, self.repeats)
                if protocol.shared:  # what all masks of an update have in common, no comparison sees
                    values = values - values.mean(axis=0)
                rows.append(own | _fidelity(values, test_loss, val_loss.mean(axis=1), steps))
        return rows

    def _losses(
        self,
        problem: MixingProblem,
        sets: list[TrainingSet],
        states: dict[str, list[torch.Tensor]],
        protocol: Protocol,
        split: int,
        number: int,
    ) -> tuple[int, dict[str, FloatArray]]:
        """Steps of a training, and the validation losses (masks * repeats,) of every mask by what is taken as its loss."""
        jobs = range(self.masks * self.repeats)
        of_job = [job % self.repeats if protocol.shared else job for job in jobs]
        rngs = [stream(split, "fidelity rewards", number, one) for one in of_job]
        config, widths = problem.config.regressor, (problem.x_train.shape[1], problem.data.y_train.shape[1])
        if protocol.start == SCRATCH:
            starts = [initial_weights(*widths, config, rng) for rng in rngs]
        else:
            starts = [states[protocol.start]] * len(jobs)
        steps = protocol.steps or problem.reward_regressor.max_steps
        rates = config.learning_rate * SHAPES[protocol.shape]((np.arange(steps) + 0.5) / steps)
        weights = [torch.cat(parts) for parts in zip(*starts, strict=True)]
        return steps, _train(problem, [sets[job // self.repeats] for job in jobs], weights, rates, rngs)

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """One table a dataset, then every protocol against the paper's over all datasets."""
        stored = results.rows
        tables = [
            (f"{dataset}: means over {rows['split_seed'].nunique()} splits", _table(rows))
            for dataset, rows in stored.groupby("dataset", sort=False)
        ]
        return [
            *tables,
            ("The environment's default against the paper's reward", _default(stored)),
            ("Times the signal per step of the paper's reward, and rank correlation minus its own", _against(stored)),
        ]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Signal per step against rank correlation, one panel a dataset."""
        stored = results.rows
        datasets = list(dict.fromkeys(stored["dataset"]))
        rows, columns = -(-len(datasets) // 3), min(3, len(datasets))
        figure = Figure(figsize=(3.2 * columns, 2.8 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, dataset in zip(panels.flat, datasets, strict=False):
            means = _means(stored[stored["dataset"] == dataset])
            last = means[means["loss"].isin([LAST, "best"]) & (means["minibatches"] == "own")]
            for name, marker, chosen in (
                ("the paper's", "k*", last["loss"] == "best"),
                ("constant rate", "o", (last["shape"] == "constant") & (last["loss"] != "best")),
                ("annealed", "o", (last["shape"] != "constant") & ~_is_default(last)),
                ("annealed, the default", "D", _is_default(last)),
            ):
                axes.plot(last[chosen]["snr"], last[chosen]["rank_test"], marker, label=name, alpha=0.8)
            axes.set(xscale="log", title=dataset)
            axes.xaxis.set_minor_formatter("")
        figure.supxlabel("signal to noise per 1,000 steps", fontsize=10)
        figure.supylabel("rank correlation with test loss", fontsize=10)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        return [save_figure(figure, out / "fidelity.png")]


def _states(problem: MixingProblem, split: int) -> dict[str, list[torch.Tensor]]:
    """What all trainings of a start begin from, for every start but `SCRATCH`."""
    config, widths = problem.config.regressor, (problem.x_train.shape[1], problem.data.y_train.shape[1])
    states = {SHARED: initial_weights(*widths, config, stream(split, "fidelity shared weights"))}
    for start, share in STARTS.items():
        weights = make_problem(problem.data, regressor=config, pretrained=share).pretrained_weights
        assert weights is not None
        states[start] = weights
    return states


def _random_set(problem: MixingProblem, rng: np.random.Generator) -> TrainingSet:
    """The training rows and the mixed rows of a mask that a random policy draws.

    The logit is linear in the row's features and labels, in its distance and in log k, so that masks differ in how many rows
    they select and in which.
    """
    batch = problem.sample_batch(rng)
    known = problem.observe(batch)[:, : -len(problem.options)].astype(np.float64)
    options = [problem.options[option] for option in batch.options]
    of_option = np.array([[option.space == "data", np.log2(option.k)] for option in options], dtype=np.float64)
    parts = [(known - known.mean(axis=0)) @ rng.normal(size=known.shape[1])]
    parts += [part * rng.normal() for part in (of_option - of_option.mean(axis=0)).T]
    logit = 2 * rng.normal() + sum(2 * part / (part.std() or 1.0) * rng.normal() for part in parts)
    mask = rng.random(problem.num_rows) < 1 / (1 + np.exp(-logit))
    x, y = problem.mix(batch.rows[mask], batch.options[mask], rng)
    return np.concatenate([problem.x_train, x]), np.concatenate([problem.data.y_train, y])


def _train(
    problem: MixingProblem,
    sets: list[TrainingSet],
    weights: list[torch.Tensor],
    rates: FloatArray,
    rngs: list[np.random.Generator],
) -> dict[str, FloatArray]:
    """Validation losses (M,) of M trainings at the given learning rates, by what is taken as the loss."""
    config, labels = problem.config.regressor, problem.labels
    x, y = (np.concatenate(tables) for tables in zip(*sets, strict=True))
    sizes = [len(own) for own, _ in sets]
    offset = np.cumsum([0, *sizes[:-1]])
    val = ValidationRows(problem.x_val, labels.to_standard(problem.data.y_val), np.square(labels.scale))
    stack = make_stack(weights, TrainingRows(x, labels.to_standard(y)), val, config)
    batches = [Minibatches(size, config.batch_size, rng) for size, rng in zip(sizes, rngs, strict=True)]
    checks, averaged = [], [weight.clone() for weight in stack.weights()]
    for first in range(0, len(rates), _CHECK_EVERY):
        now = rates[first : first + _CHECK_EVERY]
        stack.advance(np.stack([own.take(len(now)) + start for own, start in zip(batches, offset, strict=True)]), now)
        for mean, weight in zip(averaged, stack.weights(), strict=True):
            mean.lerp_(weight, 1 - np.exp(-len(now) / _AVERAGE_OVER))
        if len(rates) - first <= _CHECKS * _CHECK_EVERY:
            checks.append(stack.losses())
    shape = config.shape(x.shape[1], y.shape[1])
    x_val = torch.tensor(problem.x_val, dtype=averaged[0].dtype).expand(len(sets), -1, -1)
    with torch.no_grad():
        predicted = labels.to_labels(forward(averaged, x_val, shape).double().numpy())
    of_average = np.square(predicted - problem.data.y_val).mean(axis=(1, 2))
    return {LAST: checks[-1], CHECKS: np.mean(checks, axis=0), AVERAGE: of_average}


def _fidelity(losses: FloatArray, test_loss: FloatArray, val_loss: FloatArray, steps: float) -> Row:
    """What the losses (masks, repeats) of a protocol tell; the share of noise in the variance of the masks' means is out."""
    noise = float(losses.var(axis=1, ddof=1).mean())
    signal = max(float(losses.mean(axis=1).var(ddof=1)) - noise / losses.shape[1], 0.0)
    return {
        "train_steps": steps,
        "signal_variance": signal,
        "noise_variance": noise,
        "rank_test": float(stats.spearmanr(losses.mean(axis=1), test_loss).statistic),
        "rank_val": float(stats.spearmanr(losses.mean(axis=1), val_loss).statistic),
    }


_KEYS = ["start", "steps", "shape", "minibatches", "loss"]


def _is_default(means: pd.DataFrame) -> pd.Series:
    """Which protocol is the environment's default."""
    same = (means["start"] == HALF) & (means["steps"] == 0) & (means["shape"] == "cosine")
    return same & (means["loss"] == LAST) & (means["minibatches"] == "own")


def _means(stored: pd.DataFrame) -> pd.DataFrame:
    """Every protocol of one dataset: means over splits, of the signal to noise per 1,000 steps the median."""
    snr = 1000 * stored["signal_variance"] / stored["noise_variance"] / stored["train_steps"]
    by_protocol = stored.assign(snr=snr).groupby(_KEYS, sort=False)
    means = by_protocol[["train_steps", "rank_test", "rank_val"]].mean()
    return means.assign(snr=by_protocol["snr"].median()).reset_index()


def _named(means: pd.DataFrame) -> pd.DataFrame:
    """The protocols as people read them."""
    steps = means["steps"].astype(str).where(means["steps"] > 0, "own rule").where(means["loss"] != "best", "early stop")
    return pd.DataFrame(
        {
            "Start": means["start"],
            "Steps": steps,
            "Rate": means["shape"],
            "Minibatches": means["minibatches"],
            "Loss": means["loss"],
        }
    )


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    means = _means(rows)
    paper = means[means["loss"] == "best"].iloc[0]
    return _named(means).assign(
        **{
            "Steps a reward": means["train_steps"].map("{:.0f}".format),
            "Signal to noise per 1,000 steps": means["snr"].map("{:.3g}".format),
            "against the paper's": (means["snr"] / paper["snr"]).map("{:.3g} x".format),
            "Rank, test loss": means["rank_test"].map("{:.2f}".format),
            "Rank, validation loss": means["rank_val"].map("{:.2f}".format),
        }
    )


def _default(stored: pd.DataFrame) -> pd.DataFrame:
    table = []
    for dataset, rows in stored.groupby("dataset", sort=False):
        means = _means(rows)
        paper, default = means[means["loss"] == "best"].iloc[0], means[_is_default(means)]
        if default.empty:
            continue
        table.append(
            {
                "Table": dataset,
                "Steps a reward": f"{default['train_steps'].item():.0f}, {paper['train_steps']:.0f}",
                "Signal to noise per 1,000 steps": f"{default['snr'].item() / paper['snr']:.3g} x",
                "Rank, test loss": f"{default['rank_test'].item():.2f}, {paper['rank_test']:.2f}",
            }
        )
    return pd.DataFrame(table)


def _against(stored: pd.DataFrame) -> pd.DataFrame:
    table: pd.DataFrame | None = None
    for dataset, rows in stored.groupby("dataset", sort=False):
        means = _means(rows)
        paper = means[means["loss"] == "best"].iloc[0]
        gain, lost = means["snr"] / paper["snr"], means["rank_test"] - paper["rank_test"]
        column = [f"{times:.3g} x, {rank:+.2f}" for times, rank in zip(gain, lost, strict=True)]
        table = (_named(means) if table is None else table).assign(**{str(dataset): column})
    assert table is not None
    return table

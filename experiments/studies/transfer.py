"""Transfer: does what is learned on the rewarded validation rows reach rows that it never sees?

Policies of growing freedom learn from the same rewards: one probability an option, a function of distances, the paper's
h(x, y, k), and all of it. Half of the validation rows pay the rewards, the other half and the test rows only look on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.figures import save_figure
from experiments.methods.mixrl import hold_back
from experiments.settings import PRESETS
from experiments.statistics import paired_difference
from experiments.studies.cells import Row
from mixrl import MaskRegression, ReinforceVariant, ReinforceVariantConfig
from mixrl_env import MixingProblem, MixRLVectorEnv, RegressionData, load_dataset
from mixrl_env.data import FloatArray
from mixrl_env.observation import PARTS
from mixrl_env.plans import apply_plan, sample_options
from mixrl_env.streams import stream

# Each sees some parts of an observation row.
POLICIES: dict[str, tuple[str, ...]] = {
    "one p an option": ("option",),
    "option and distances": ("option", "distances"),
    "h(x, y, k)": ("x", "y", "option"),
    "h(x, y, k) and distances": PARTS,
}
REINFORCE = "h(x, y, k), REINFORCE"
_GUARDED = ReinforceVariantConfig(learning_rate=0.003, baseline="leave_one_out", normalize=True, entropy_bonus=0.01)
_KINDS = ("rewarded", "unseen", "test")


@dataclass(frozen=True)
class Transfer:
    """Settings of the study.

    Attributes:
        dataset: name of the dataset.
        splits: seeds.
        checkpoints: trainings after which policies are judged, each whole updates.
        masks: sampled masks that a policy is judged by, before anything is trained to the end.
        repeats: regressors trained from scratch to the early stop on plans drawn from the policy.
    """

    dataset: str = "no2"
    splits: tuple[int, ...] = (0,)
    checkpoints: tuple[int, ...] = (256, 768)
    masks: int = 16
    repeats: int = 4

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        """One a split."""
        return [(f"{self.dataset}-split{split}", partial(self._split, split)) for split in self.splits]

    def _split(self, split: int) -> list[Row]:
        data = load_dataset(self.dataset, split)
        rewarded, unseen = hold_back(data, 0.5)
        settings = replace(PRESETS["mask_regression"], dataset=self.dataset, observe=PARTS)
        own = settings.env_settings() | {"data": rewarded}
        envs = gym.make_vec(settings.env_id, settings.num_envs, "vector_entry_point", **own)
        assert isinstance(envs, MixRLVectorEnv)
        judge = _Judge(envs.problem, unseen, self, split)
        rows = judge.masks("everything, p = 1/2", 0, np.full(judge.shape, 0.5))
        rows += judge.masks("everything, p = 1", 0, np.ones(judge.shape))

        states, masks, rewards = _random_masks(envs, self.checkpoints[-1], split)
        final: dict[str, FloatArray | None] = {"no augmentation": None, "everything, k alike": np.full(judge.shape, 0.5)}
        for name, parts in POLICIES.items():
            columns = _columns(parts, rewarded, len(envs.problem.options))
            for checkpoint in self.checkpoints:
                seen = checkpoint // settings.num_envs
                agent = MaskRegression(seed=split).fit(
                    [state[..., columns] for state in states[:seen]], masks[:seen], np.concatenate(rewards[:seen])
                )
                final[name] = p = agent.probabilities(judge.rows[:, columns]).reshape(judge.shape)
                rows += judge.masks(name, checkpoint, p)

        columns = _columns(("x", "y", "option"), rewarded, len(envs.problem.options))
        own["observe"] = ("x", "y", "option")
        learner = ReinforceVariant(_GUARDED, seed=split)

        def look(done: int, metrics: dict[str, float]) -> None:
            if done in self.checkpoints:
                final[REINFORCE] = p = learner.probabilities(judge.rows[:, columns]).reshape(judge.shape)
                rows.extend(judge.masks(REINFORCE, done, p))

        learner.learn(gym.make_vec(settings.env_id, settings.num_envs, "vector_entry_point", **own), self.checkpoints[-1], look)
        return [{"split_seed": split, **row} for row in rows + judge.final(final)]

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """RMSE of sampled masks against the start, and of final regressors against mixing everything alike."""
        return [
            (
                "RMSE of sampled masks, difference to p = 1/2, paired by split, 95% intervals",
                _differences(stored[stored["level"] == "masks"], "everything, p = 1/2", ""),
            ),
            (
                "RMSE of final regressors, difference to everything with k alike, paired by split, 95% intervals",
                _differences(stored[stored["level"] == "final"], "everything, k alike", ""),
            ),
            (
                "The same for the mean prediction of the final regressors",
                _differences(stored[stored["level"] == "final"], "everything, k alike", "_averaged"),
            ),
        ]

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        """Progress of the sampled masks on the three kinds of rows."""
        masks = stored[stored["level"] == "masks"]
        start = masks[masks["policy"] == "everything, p = 1/2"].set_index("split_seed")
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        for axes, kind in zip(figure.subplots(1, 3, sharey=True), _KINDS, strict=True):
            for name in [*POLICIES, REINFORCE]:
                ours = masks[masks["policy"] == name]
                gained = ours[kind].to_numpy() - start.loc[ours["split_seed"], kind].to_numpy()
                curve = pd.Series(gained).groupby(ours["trainings"].to_numpy()).agg(["mean", "sem"])
                axes.errorbar([0, *curve.index], [0, *curve["mean"]], [0, *curve["sem"]], label=name, capsize=2)
            axes.axhline(0, color="#8a8a8a", linewidth=0.8, linestyle=":")
            axes.set(title=f"{kind} rows", xlabel="inner trainings")
        figure.axes[0].set_ylabel("RMSE of sampled masks\nagainst p = 1/2, ± SE over splits")
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
        return [save_figure(figure, out / "transfer.png")]


class _Judge:
    """Trains regressors by a policy, and looks at them on all three kinds of rows."""

    def __init__(self, problem: MixingProblem, unseen: tuple[FloatArray, FloatArray], study: Transfer, split: int) -> None:
        self.problem, self.study, self.split = problem, study, split
        self.rows = problem.observe(problem.every_row_and_option())
        self.shape = (len(problem.x_train), len(problem.options))
        data = problem.data
        assert data.x_test is not None
        assert data.y_test is not None
        kinds = ((data.x_val, data.y_val), unseen, (data.x_test, data.y_test))
        self.looked_at = {name: (data.standardize_x(x), y) for name, (x, y) in zip(_KINDS, kinds, strict=True)}

    def masks(self, policy: str, trainings: int, p: FloatArray) -> list[Row]:
        """One row: RMSE of regressors trained as rewards are, on masks drawn from p; all policies see the same draws."""
        rng = stream(self.split, "transfer masks")
        batches = [self.problem.sample_batch(rng) for _ in range(self.study.masks)]
        drawn = [rng.random(len(batch.rows)) < p[batch.rows, batch.options] for batch in batches]
        rngs = [stream(self.split, "transfer rewards", number) for number in range(len(batches))]
        fitted, _ = self.problem.train(batches, drawn, rngs)
        rmse = {kind: float(np.square(fitted.predict(x) - y).mean() ** 0.5) for kind, (x, y) in self.looked_at.items()}
        return [{"level": "masks", "policy": policy, "trainings": trainings, "mean_p": p.mean(), "sd_p": p.std(), **rmse}]

    def final(self, policies: dict[str, FloatArray | None]) -> list[Row]:
        """One row a policy: regressors trained from scratch to the early stop, each on another plan drawn from the policy."""
        repeats, problem = self.study.repeats, self.problem
        sets = []
        for p in policies.values():
            for repeat in range(repeats):
                rng = stream(self.split, "transfer plans", repeat)
                plan = sample_options(problem, np.full(self.shape, 0.5) if p is None else p, rng)
                sets.append(apply_plan(problem, plan.iloc[:0] if p is None else plan, rng))
        rngs = [stream(self.split, "transfer trainings", repeat) for _ in policies for repeat in range(repeats)]
        fitted = problem.fit(sets, rngs)
        rows: list[Row] = [{"level": "final", "policy": name, "trainings": self.study.checkpoints[-1]} for name in policies]
        for kind, (x, y) in self.looked_at.items():
            predicted = fitted.predict(x).reshape(len(policies), repeats, *y.shape)
            single = np.sqrt(np.square(predicted - y).mean(axis=(2, 3))).mean(axis=1)
            averaged = np.sqrt(np.square(predicted.mean(axis=1) - y).mean(axis=(1, 2)))
            for row, one, mean in zip(rows, single, averaged, strict=True):
                row |= {kind: float(one), f"{kind}_averaged": float(mean)}
        return rows


def _random_masks(
    envs: MixRLVectorEnv, trainings: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """States, masks drawn by fair coins, and rewards, one entry a step of the vector."""
    rng = stream(seed, "random masks")
    state, _ = envs.reset(seed=seed)
    states, masks, rewards = [], [], []
    for _ in range(trainings // envs.num_envs):
        states.append(state)
        masks.append(rng.random(state.shape[:2]) < 0.5)
        state, reward, *_ = envs.step(masks[-1].astype(np.int8))
        rewards.append(reward)
    return states, masks, rewards


def _columns(parts: tuple[str, ...], data: RegressionData, num_options: int) -> np.ndarray:
    """Where the parts lie in an observation row that holds all of them."""
    sizes = dict(zip(PARTS, (data.x_train.shape[1], data.y_train.shape[1], num_options, 2), strict=True))
    owner = np.repeat(PARTS, [sizes[part] for part in PARTS])
    return np.flatnonzero(np.isin(owner, parts))


def _differences(rows: pd.DataFrame, reference: str, suffix: str) -> pd.DataFrame:
    base = rows[rows["policy"] == reference].set_index("split_seed")
    table = []
    for (policy, trainings), ours in rows.groupby(["policy", "trainings"], sort=False):
        if policy == reference:
            continue
        ours = ours.set_index("split_seed")
        line: dict[str, object] = {"Policy": policy, "Trainings": trainings, "Splits": len(ours)}
        for kind in _KINDS:
            line[f"{kind} rows"] = paired_difference(
                ours[kind + suffix].tolist(), base.loc[ours.index, kind + suffix].tolist()
            ).text
        table.append(line)
    return pd.DataFrame(table)

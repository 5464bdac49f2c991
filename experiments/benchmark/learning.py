"""How good a plan REINFORCE has found after how many inner trainings: Algorithm 1 and its variants on equal budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd

from experiments.results import read_stored, slug, write_csv
from experiments.settings import PRESETS, Settings
from experiments.statistics import paired_difference
from mixrl import ReinforceVariant, ReinforceVariantConfig
from mixrl_env import MixRLVectorEnv
from mixrl_env.plans import best_options, choose_plan, threshold_candidates
from mixrl_env.streams import stream

CHECKPOINTS = (96, 256, 512, 1024, 1536)
"""Inner trainings after which the plan is judged; whole updates of m = 16, and 512 is a third of the last."""
BUDGETS = {"Algorithm 1": 512}
"""Last checkpoint of variants that do not go to the end: a reward of Algorithm 1 takes ten times the steps of the others'."""
_STORED = ("variant", "split_seed", "trainings", "val_rmse")
_THRESHOLDS = 5
_FINAL_TRAININGS = 3


def _masks(config: ReinforceVariantConfig, num_envs: int = 16) -> Settings:
    return replace(PRESETS["default"], num_envs=num_envs, reinforce=config)


_LEAVE_ONE_OUT = ReinforceVariantConfig(learning_rate=0.003, baseline="leave_one_out")
VARIANTS: dict[str, Settings] = {
    # As printed: rewards from scratch to the early stop, m = 1. All others take the cheap rewards of the default preset.
    "Algorithm 1": replace(PRESETS["paper"], reinforce=ReinforceVariantConfig()),
    "Algorithm 1, pre-trained rewards": _masks(ReinforceVariantConfig(), num_envs=1),
    "16 masks, moving average": _masks(ReinforceVariantConfig(learning_rate=0.003)),
    "16 masks, leave-one-out": _masks(_LEAVE_ONE_OUT),
    "16 masks, leave-one-out, best kept": _masks(replace(_LEAVE_ONE_OUT, keep_best=True)),
    "16 masks, antithetic": _masks(replace(_LEAVE_ONE_OUT, antithetic=True)),
    "16 masks, critic": _masks(replace(_LEAVE_ONE_OUT, critic=True)),
    "16 masks, antithetic, critic": _masks(replace(_LEAVE_ONE_OUT, antithetic=True, critic=True)),
}


def run_learning(folder: Path, variants: Sequence[str], splits: Sequence[int], report: Callable[[str], None]) -> None:
    """Compute and store every variant on every split that is not stored yet, one file each."""
    for split_seed in splits:
        for name in variants:
            path = folder / "learning" / f"{slug(name)}-split{split_seed}.csv"
            if path.exists():
                continue
            rows = learn_and_judge(name, split_seed, report)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_csv(pd.DataFrame(rows), path)


def read_learning(folder: Path) -> pd.DataFrame:
    """All stored checkpoints: variant, split_seed, trainings, val_rmse, sampled_val_rmse, p_mean, num_rows, seconds.

    Raises:
        ValueError: if a file is damaged.
    """
    paths = sorted((folder / "learning").glob("*.csv"))
    return pd.concat([read_stored(path, _STORED) for path in paths], ignore_index=True) if paths else pd.DataFrame()


def learning_table(stored: pd.DataFrame) -> pd.DataFrame:
    """Validation RMSE of each variant's plan at each checkpoint, as the paired difference to Algorithm 1 at its end.

    Difference and 95% interval over the splits that both have; negative is better.
    """
    if "Algorithm 1" not in set(stored["variant"]):
        return pd.DataFrame()
    by_split = {key: rows.set_index("split_seed")["val_rmse"] for key, rows in stored.groupby(["variant", "trainings"])}
    reference = by_split["Algorithm 1", BUDGETS.get("Algorithm 1", max(CHECKPOINTS))]
    rows = []
    for variant in (name for name in VARIANTS if name in set(stored["variant"])):
        row = {"Variant": variant, "Splits": ""}
        for trainings in CHECKPOINTS:
            if (variant, trainings) in by_split and trainings <= BUDGETS.get(variant, trainings):
                ours, theirs = by_split[variant, trainings].align(reference, join="inner")
                row |= {"Splits": str(len(ours)), str(trainings): paired_difference(ours.tolist(), theirs.tolist()).text}
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def learn_and_judge(name: str, split_seed: int, report: Callable[[str], None]) -> list[dict[str, object]]:
    """Run one variant to the last checkpoint, and judge its plan at each.

    A plan is judged as it would be used: the threshold is chosen on the validation rows, then regressors are trained from
    scratch with fresh random numbers. Test rows are not looked at.
    """
    settings = VARIANTS[name]
    envs = gym.make_vec(
        settings.env_id,
        num_envs=settings.num_envs,
        vectorization_mode="vector_entry_point",
        split_seed=split_seed,
        **settings.env_settings(),
    )
    assert isinstance(envs, MixRLVectorEnv)
    problem, agent = envs.problem, ReinforceVariant(settings.reinforce, seed=split_seed)
    everything = problem.every_row_and_option()
    rows: list[dict[str, object]] = []
    sampled: list[float] = []
    start, judging = time.monotonic(), 0.0

    def judge(done: int, metrics: dict[str, float]) -> None:
        nonlocal judging
        sampled.append(metrics["env/val_rmse"])
        if done not in CHECKPOINTS:
            return
        began = time.monotonic()
        probabilities = agent.probabilities(problem.observe(everything)).reshape(len(problem.x_train), -1)
        options = best_options(problem, probabilities)
        candidates = threshold_candidates(options["probability"], _THRESHOLDS)
        plans = [[options[options["probability"] >= threshold]] for threshold in candidates]
        choice = choose_plan(problem, plans, settings.tuning_repeats, split_seed)
        rngs = [stream(split_seed, "judged plans", repeat) for repeat in range(_FINAL_TRAININGS)]
        sets = [choice.sets[0]] * _FINAL_TRAININGS
        fitted = problem.fit(sets, rngs)
        updates = max(1, 64 // settings.num_envs)
        judging += time.monotonic() - began
        rows.append(
            {
                "variant": name,
                "split_seed": split_seed,
                "trainings": done,
                "val_rmse": float(np.sqrt(fitted.val_loss).mean()),
                "sampled_val_rmse": float(np.mean(sampled[-updates:])),
                "p_mean": metrics["policy/p_mean"],
                "num_rows": len(choice.sets[0][0]),
                "seconds": round(time.monotonic() - start - judging, 1),
            }
        )
        report(f"split {split_seed}: {name}, {done} trainings, validation RMSE {rows[-1]['val_rmse']:.4f}")

    agent.learn(envs, BUDGETS.get(name, max(CHECKPOINTS)), judge)
    return rows

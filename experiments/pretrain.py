"""The verb pretrain: one policy for all tables learns on generated ones, and ships with the package."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from experiments.presets import SMALL_REGRESSOR
from mixrl import Checkpoints, CreditRegression
from mixrl.terminal import WorkProgress, say
from mixrl_env import MixRLTablesVectorEnv

_PLANS = 16  # trained side by side, each on another table


def pretrain(
    tables: int = 200,
    trainings: int = 6000,
    seed: int = 0,
    out: Path = Path("runs/pretrained.safetensors"),
    checkpoints: Path = Path("runs/pretrain"),
    resume: bool = False,
) -> None:
    """Learn one policy for all tables on generated ones, as agents/pretrained.safetensors was learned; about ten minutes.

    Args:
        tables: generated tables that it learns on.
        trainings: rewards, over all tables.
        seed: of everything random.
        out: file of the policy; an old one is replaced.
        checkpoints: folder of its checkpoints.
        resume: go on from the newest of them.
    """
    if out.suffix != ".safetensors" or out.is_dir():
        raise ValueError(f"--out must end in .safetensors, got {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    console, agent = Console(), CreditRegression(seed=seed)
    envs = MixRLTablesVectorEnv(_PLANS, num_tables=tables, action="plan", regressor=SMALL_REGRESSOR)
    with WorkProgress(console, "learning") as progress:

        def show(done: int, metrics: dict[str, float]) -> None:
            progress.update(done / trainings, f"{done} of {trainings} trainings, reward {metrics['reward/mean']:.4f}")

        try:
            agent.learn(envs, trainings, show, Checkpoints(checkpoints, 50, resume))
        except KeyboardInterrupt:
            print("interrupted: the same command with --resume goes on from the last checkpoint", file=sys.stderr)
            sys.exit(130)
    command = f"python -m experiments pretrain --tables {tables} --trainings {trainings} --seed {seed}"
    agent.save(out, command)
    say(console, f"  {out}")

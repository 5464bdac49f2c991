"""The verb pretrain: one policy for all tables learns on generated ones, and ships with the package."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from experiments.experience import PLANS, Done, TriedPlans, judged, learn
from mixrl import CreditRegression
from mixrl.terminal import WorkProgress, say


def pretrain(
    tables: int = 800,
    validation: int = 200,
    seed: int = 0,
    out: Path = Path("runs/pretrained.safetensors"),
    experience: Path = Path("runs/experience"),
) -> None:
    """Learn one policy for all tables on generated ones, as the one that ships was learned; about three quarters of an hour.

    Interrupted, the same command goes on: what was tried on a table is kept.

    Args:
        tables: generated tables that it learns on.
        validation: other tables, that it is calibrated on.
        seed: of the policy.
        out: file of the policy; an old one is replaced.
        experience: folder of what was tried, with a folder for each number of tables and seed.
    """
    if out.suffix != ".safetensors" or out.is_dir():
        raise ValueError(f"--out must end in .safetensors, got {out}")
    if min(tables, validation) < 1:
        raise ValueError(f"--tables and --validation must be at least 1, got {tables} and {validation}")
    console, agent, tried = Console(), CreditRegression(seed=seed), TriedPlans(experience / f"{tables}-{seed}", tables)
    with WorkProgress(console, "learning") as progress:

        def show(words: str, step: int, total: int = tables) -> Done:
            return lambda done: progress.update((step + done / total) / (len(PLANS) + 1), f"{words}: {done} of {total} tables")

        try:
            learn(agent, tried, show)
            promised, gains = judged([agent], "validation", validation, show("calibration", len(PLANS), validation))
            agent.calibrate(promised[:, 0], gains[:, 0])
        except KeyboardInterrupt:
            print("interrupted: the same command goes on from what was tried", file=sys.stderr)
            sys.exit(130)
    out.parent.mkdir(parents=True, exist_ok=True)
    agent.save(out, f"python -m experiments pretrain --tables {tables} --validation {validation} --seed {seed}")
    say(console, f"  {out}: mixes where it promises more than {agent.least_gain:.3f}, and keeps {agent.kept:.0%} of that")

"""The verb train: one agent learns on one split, and can be stopped at any moment without losing more than a few updates."""

from __future__ import annotations

import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import pandas as pd
from rich.console import Console
from stable_baselines3.common.logger import Logger, make_output_format

from experiments.presets import PRESETS
from experiments.runner.locks import locked
from experiments.studies.agents import AGENTS
from mixrl import Checkpoints, SB3Agent, ValueNetwork, save_value_network
from mixrl.files import write_bytes
from mixrl.terminal import WorkProgress, say
from mixrl_env import MixRLVectorEnv

_FILES = ("progress.csv", "policy.csv", "value_network.safetensors")


def train(
    agent: str = "MaskRegression",
    preset: Literal["default", "paper", "smoke"] = "default",
    dataset: str = "no2",
    split: int = 0,
    trainings: int = 512,
    out: Path = Path("runs/train"),
    every: int = 20,
    resume: bool = False,
) -> None:
    """Let one agent learn on one split, with checkpoints; --resume goes on from the newest.

    Leaves in the folder: progress.csv and a TensorBoard file (the curve), policy.csv (h of every row, space and k),
    value_network.safetensors for agents that have one, and checkpoints. A resumed run ends as one that was never stopped.

    Args:
        agent: such as REINFORCE, "Algorithm 1" or MaskRegression; not those of stable-baselines3.
        preset: how rewards are made: default from a pre-trained state in 300 steps, paper from scratch to the early stop.
        dataset: name of the dataset.
        split: seed of the random split, and of the agent.
        trainings: inner trainings that it may spend.
        out: folder of the run.
        every: updates between two checkpoints; the last two are kept.
        resume: go on from the newest whole checkpoint in the folder, or from the start if there is none.
    """
    learners = {name: entry for name, entry in AGENTS.items() if entry[1] and not isinstance(entry[1](0), SB3Agent)}
    if agent not in learners:
        kept = "; PPO and the like save themselves, see docs/running.md" if agent in AGENTS else ""
        raise ValueError(f"unknown agent {agent!r}; known: {', '.join(map(repr, learners))}{kept}")
    m, make = learners[agent]
    assert make is not None
    learner: Any = make(split)
    there = [name for name in _FILES if (out / name).exists()]
    if there and not resume:
        raise ValueError(f"{out} holds {there[0]} of another run: give --resume to go on with it, or another --out")
    settings = PRESETS[preset].on(dataset)
    envs = gym.make_vec(settings.env_id, m, "vector_entry_point", split_seed=split, **settings.env_settings())
    assert isinstance(envs, MixRLVectorEnv)

    console = Console()
    if (lock := locked(out, "train")) is None:
        raise ValueError(f"another process trains into {out}: wait until it is done, or give another --out")
    with lock, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        for left in out.glob("*.partial"):  # by a process that was killed
            left.unlink()
        with WorkProgress(console, "learning") as progress, closing(_Curve(out)) as learner.logger:

            def show(done: int, metrics: dict[str, float]) -> None:
                progress.update(done / trainings, f"{done} of {trainings} trainings, reward {metrics['reward/mean']:.4f}")

            try:
                learner.learn(envs, trainings, show, Checkpoints(out / "checkpoints", every, resume))
            except KeyboardInterrupt:
                print("interrupted: the same command with --resume goes on from the last checkpoint", file=sys.stderr)
                sys.exit(130)
        _write_policy(learner, envs, out)
    for name in _FILES:
        if (out / name).exists():
            say(console, f"  {out / name}")


class _Curve(Logger):
    """progress.csv and a TensorBoard file, begun anew with the first update: what cannot be resumed keeps its old ones."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), [])
        self._folder = folder

    def dump(self, step: int = 0) -> None:
        """Write an update."""
        if not self.output_formats:
            for old in self._folder.glob("events.out.tfevents.*"):
                old.unlink()
            self.output_formats = [make_output_format(kind, str(self._folder)) for kind in ("csv", "tensorboard")]
        super().dump(step)


def _write_policy(learner: Any, envs: MixRLVectorEnv, out: Path) -> None:
    """What was learned; policy.csv comes last, and says that the run has ended."""
    if isinstance(getattr(learner, "network", None), ValueNetwork):
        save_value_network(learner.network, out / "value_network.safetensors")
    problem = envs.problem
    every = problem.every_row_and_option()
    options = [problem.options[option] for option in every.options]
    table = {"row": every.rows, "space": [option.space for option in options], "k": [option.k for option in options]}
    probabilities = learner.probabilities(problem.observe(every)).ravel()
    write_bytes(pd.DataFrame({**table, "probability": probabilities}).to_csv(index=False).encode(), out / "policy.csv")

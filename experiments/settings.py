"""The settings of a run: what is learned, with how many inner trainings, and how the result is judged."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from agents import ReinforceConfig
from mixrl_env import RegressorConfig


@dataclass(frozen=True)
class Settings:
    """One preset: everything but the split that a stored result depends on.

    Attributes:
        dataset: name for `mixrl_env.load_dataset`.
        env_id: the environment with the paper's settings for that dataset.
        mixrl_name: what the tables call the MixRL of this preset.
        pretrained: whether rewards start from a pre-trained state; see `mixrl_env.ProblemConfig`.
        step_budget: optimiser steps of a reward; None trains to the early stop.
        regressor: network and training of f_phi; None is the environment's own, the paper's.
        num_envs: m, masks an update.
        trainings: inner trainings that REINFORCE may spend, if it does not converge before (`ReinforceConfig.patience`).
        reinforce: settings of Algorithm 1.
        tuning_repeats: trainings for every candidate of a choice on validation rows (the threshold T, the k of Global kNN).
        final_trainings: regressors trained on the augmented set (5 in Sec. 4).
    """

    dataset: str = "no2"
    env_id: str = "MixRL-NO2-v0"
    mixrl_name: str = "MixRL"
    pretrained: bool = False
    step_budget: int | None = None
    regressor: RegressorConfig | None = None
    num_envs: int = 1
    trainings: int = 5000
    reinforce: ReinforceConfig = field(default_factory=ReinforceConfig)
    tuning_repeats: int = 2
    final_trainings: int = 5

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return dataclasses.asdict(self)

    def env_settings(self) -> dict[str, Any]:
        """What `gym.make` is told besides the environment's own settings."""
        own_regressor = {} if self.regressor is None else {"regressor": self.regressor}
        return {"pretrained": self.pretrained, "step_budget": self.step_budget, **own_regressor}


PRESETS: dict[str, Settings] = {
    # m masks with the leave-one-out baseline, rewards from a pre-trained state: about a hundredth of the paper's steps.
    "default": Settings(
        pretrained=True,
        step_budget=300,
        num_envs=16,
        trainings=1600,
        reinforce=ReinforceConfig(learning_rate=0.003, baseline="leave_one_out", patience=40, keep_best=True),
    ),
    # Algorithm 1 as printed: one mask a step, moving average, every reward trained from scratch to the early stop. The paper
    # does not print its iterations; its 185 minutes at about two seconds a training are 5000. "Until convergence" is a thousand
    # updates without a new highest moving average of the reward.
    "paper": Settings(mixrl_name="MixRL (Algorithm 1)", reinforce=ReinforceConfig(patience=1000)),
    # Seconds instead of minutes, to see that everything runs; its results mean nothing.
    "smoke": Settings(
        pretrained=True,
        step_budget=20,
        regressor=RegressorConfig(max_steps=100),
        num_envs=2,
        trainings=8,
        reinforce=ReinforceConfig(baseline="leave_one_out"),
        tuning_repeats=1,
        final_trainings=2,
    ),
}

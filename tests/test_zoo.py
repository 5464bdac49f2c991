"""docs/zoo/ppo.yml: stable-baselines3 takes its settings, and rl-baselines3-zoo trains with them where it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import RowPolicy
from mixrl.sb3.agent import DEFAULTS
from tests.test_own_agent import PAGE

ROOT = Path(__file__).parent.parent
ENV_ID = "MixRL-NO2-v0"
CHEAP = {"regressor": {"hidden_sizes": [8], "max_steps": 5}, "step_budget": 5}
pytestmark = pytest.mark.usefixtures("_global_generators_kept")


@pytest.fixture
def settings() -> dict[str, Any]:
    by_env = yaml.safe_load((ROOT / "docs" / "zoo" / "ppo.yml").read_text())
    assert list(by_env) == [ENV_ID]
    return by_env[ENV_ID]


def test_ppo_takes_the_settings_and_learns(settings: dict[str, Any]) -> None:
    """What the zoo does with them, on tiny regressors and for one rollout."""
    module, name = settings.pop("policy").rsplit(".", 1)
    policy = getattr(import_module(module), name)
    assert policy is RowPolicy
    n_envs, n_timesteps = settings.pop("n_envs"), settings.pop("n_timesteps")
    spec = gym.spec(ENV_ID)  # by its id SB3 would ask for a render mode
    venv = make_vec_env(lambda **own: spec.make(**own), n_envs, seed=0, env_kwargs=CHEAP)
    rollout = settings["n_steps"] * n_envs
    assert n_timesteps % rollout == 0
    assert rollout % settings["batch_size"] == 0

    model = PPO(policy, venv, seed=0, device="cpu", **settings)
    before = [weight.clone() for weight in model.policy.parameters()]
    model.learn(rollout)
    assert model.num_timesteps == rollout
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))


def test_the_settings_are_those_of_our_agent(settings: dict[str, Any]) -> None:
    of_the_zoo = {"policy", "n_envs", "n_timesteps"}
    assert {key: value for key, value in settings.items() if key not in of_the_zoo} == DEFAULTS["ppo"]


@pytest.mark.skipif(find_spec("rl_zoo3") is None, reason='rl-baselines3-zoo is not installed: pip install -e ".[zoo]"')
def test_the_zoo_trains_and_enjoys(tmp_path: Path) -> None:
    """The commands of the page, with fewer steps and an environment that costs nothing."""
    commands = [line.split()[1:] for line in PAGE.splitlines() if "-m rl_zoo3." in line]
    assert [command[1] for command in commands] == ["rl_zoo3.train", "rl_zoo3.enjoy"]
    cheap = ["--env-kwargs", *(f"{name}:{value}".replace(" ", "") for name, value in CHEAP.items())]
    for command, more in zip(commands, (["--n-timesteps", "64", "-f", str(tmp_path)], ["-f", str(tmp_path)]), strict=True):
        done = subprocess.run(
            [sys.executable, *command, *more, *cheap, "--seed", "0"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if command[1] == "rl_zoo3.train":
            assert re.search(r"total_timesteps +\| 64 ", done.stdout)
        else:
            assert re.search(r"Mean reward: -\d+\.\d+", done.stdout)
    saved = tmp_path / "ppo" / f"{ENV_ID}_1" / f"{ENV_ID}.zip"
    assert f'PPO.load("runs/zoo/{saved.relative_to(tmp_path)}")' in PAGE
    p = PPO.load(saved).policy.probabilities(gym.make(ENV_ID).reset(seed=0)[0])
    assert p.shape == (200,)
    assert np.isfinite(p).all()

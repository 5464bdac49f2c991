"""Tests of an environment with nothing but mixrl installed; make release runs it: python -I tests/smoke.py VERSION."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np

import mixrl
import mixrl_env
from mixrl import MixRLRegressor, MixRLSampler, Reinforce
from mixrl_env.backends import kernel_problem
from mixrl_env.datasets.thin_film import materials

SHIPPED = ("py.typed", "backends/kernel.c", "datasets/no2.csv", "datasets/thin_film_indices.csv")

(expected,) = sys.argv[1:]
package, agents = Path(mixrl_env.__file__).parent, Path(mixrl.__file__).parent
assert package.is_relative_to(sys.prefix), f"{package} is not of this environment"
assert agents.is_relative_to(sys.prefix), f"{agents} is not of this environment"
assert version("mixrl") == mixrl_env.__version__ == expected, f"version {mixrl_env.__version__} instead of {expected}"
assert not [name for name in SHIPPED if not (package / name).is_file()], f"not all of {SHIPPED} are shipped"
assert not [name for name in ("experiments", "tests") if find_spec(name)], "more is installed than mixrl and mixrl_env"
assert "stable_baselines3" not in sys.modules, "import mixrl imports stable-baselines3"
assert materials(), "no refractive indices"

env = gym.make("MixRL-NO2-v0", split_seed=0, step_budget=50)
observation, _ = env.reset(seed=0)
assert observation in env.observation_space
_, reward, terminated, _, info = env.step(np.ones(200, dtype=np.int8))
assert terminated
assert info["num_mixed"] > 0
assert np.isfinite(reward)

envs = gym.make_vec("MixRL-NO2-v0", 1, "vector_entry_point", step_budget=20)
assert Reinforce(seed=0).learn(envs, 2).trainings == 2
x = np.random.default_rng(0).normal(size=(20, 2))
rows, labels = MixRLSampler(cv=2, time_budget=0.1, random_state=0).fit_resample(x, x[:, 0])
assert len(rows) == len(labels) >= 20
assert MixRLRegressor(cv=2, time_budget=0.1, random_state=0).fit(x, x[:, 0]).predict(x).shape == (20,)
command = Path(sysconfig.get_path("scripts")) / "mixrl"
done = subprocess.run([command, "augment", "--help"], capture_output=True, text=True, check=True)
assert "--target" in done.stdout
print(f"mixrl {expected}: reward {reward:.3f}; C kernel: {kernel_problem('float32', 3) or 'works'}")

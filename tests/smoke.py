"""What must work where mixrl alone is installed; make release runs it: python -I tests/smoke.py VERSION."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np

import mixrl_env
from mixrl_env.backends import kernel_problem
from mixrl_env.datasets.thin_film import materials

SHIPPED = ("py.typed", "backends/kernel.c", "datasets/no2.csv", "datasets/thin_film_indices.csv")

(told,) = sys.argv[1:]
package = Path(mixrl_env.__file__).parent
assert package.is_relative_to(sys.prefix), f"{package} is not of this environment"
assert version("mixrl") == mixrl_env.__version__ == told, f"version {mixrl_env.__version__} instead of {told}"
assert not [name for name in SHIPPED if not (package / name).is_file()], f"not all of {SHIPPED} are shipped"
assert not [name for name in ("agents", "experiments", "tests") if find_spec(name)], "more is installed than mixrl_env"
assert materials(), "no refractive indices"

env = gym.make("MixRL-NO2-v0", split_seed=0, step_budget=50)
observation, _ = env.reset(seed=0)
assert observation in env.observation_space
_, reward, terminated, _, info = env.step(np.ones(200, dtype=np.int8))
assert terminated
assert info["num_mixed"] > 0
assert np.isfinite(reward)
print(f"mixrl {told}: reward {reward:.3f}; C kernel: {kernel_problem('float32', 3) or 'works'}")

"""Gymnasium's vector environments for stable-baselines3, whose own run a list of single environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from mixrl.training import Envs, as_vector_env


class SB3VecEnv(VecEnv):
    """An SB3 VecEnv over a Gymnasium vector environment, such as `mixrl_env.MixRLVectorEnv`: one batched training a step.

    `PPO(RowPolicy, SB3VecEnv(envs))`, or with SB3's wrappers around it: `VecMonitor(SB3VecEnv(envs))`.

    Args:
        envs: with autoreset in the same step; or a single environment.

    Raises:
        ValueError: for another autoreset, which SB3 does not know.
    """

    def __init__(self, envs: Envs | gym.Env[Any, Any]) -> None:
        self.envs = as_vector_env(envs)
        self._actions: npt.NDArray[Any] | None = None
        super().__init__(self.envs.num_envs, self.envs.single_observation_space, self.envs.single_action_space)

    def reset(self) -> npt.NDArray[np.float32]:
        """The first observations (m, B, row size); seeds of `seed` are used once."""
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        options = next((own for own in self._options if own), None)
        observations, infos = self.envs.reset(seed=seeds, options=options)  # type: ignore[arg-type]  # a list is welcome, too
        self.reset_infos = [_info_of(infos, m) for m in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return np.array(observations)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the masks (m, B) of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Train; observations (m, B, row size), rewards (m,), dones (m,), and an info for each environment."""
        observations, rewards, terminated, truncated, gathered = self.envs.step(self._actions)
        infos = []
        for m in range(self.num_envs):
            info = _info_of(gathered, m)
            if terminated[m] or truncated[m]:  # the info of the finished episode, not of the one that has begun
                final, last = info.pop("final_info"), info.pop("final_obs")
                self.reset_infos[m], info = info, {**final, "terminal_observation": last}
            infos.append(info | {"TimeLimit.truncated": bool(truncated[m] and not terminated[m])})
        return np.array(observations), np.array(rewards, dtype=np.float32), terminated | truncated, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector environment, once for each index: all environments share it."""
        return [getattr(self.envs.unwrapped, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment, for all indices at once.

        Raises:
            ValueError: for some indices only.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"all {self.num_envs} environments share {attr_name}; set it for all of them")
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """Not there: the environments are no objects of their own.

        Raises:
            NotImplementedError: always; call the method on `envs`.
        """
        raise NotImplementedError(f"the environments are trained as one; call SB3VecEnv.envs.{method_name}() instead")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None) -> list[bool]:
        """False for each index: there are no single environments to wrap."""
        return [False] * len(list(self._get_indices(indices)))


def _info_of(gathered: Mapping[str, Any], m: int) -> dict[str, Any]:
    """The info of one environment, from infos as Gymnasium gathers them: arrays, and masks that say who has a value."""
    own = [key for key in gathered if f"_{key}" in gathered and gathered[f"_{key}"][m]]
    return {key: _info_of(gathered[key], m) if isinstance(gathered[key], Mapping) else gathered[key][m] for key in own}

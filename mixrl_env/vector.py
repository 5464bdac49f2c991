"""Many MixRL environments whose inner trainings run as one batched computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from mixrl_env.checks import check_whole
from mixrl_env.data import RegressionData
from mixrl_env.env import MixRLEnv, check_horizon, describe, environment_rng, make_problem, next_starts, spaces_of, training_rng
from mixrl_env.observation import Observation
from mixrl_env.problem import Batch, Outcome


class MixRLVectorEnv(VectorEnv[Observation, npt.NDArray[np.int8], npt.NDArray[Any]]):
    """num_envs copies of `MixRLEnv` on one problem; a step trains num_envs regressors at once.

    Sub-environment i draws what a `MixRLEnv` reset with the i-th seed draws. All episodes start together, last `horizon` steps
    and autoreset in their last step: the returned observation is the next episode's batch, the finished one is in
    `info["final_obs"]`, and the last step's info in `info["final_info"]`, as in `gymnasium.vector.SyncVectorEnv`. The steps
    before return the next batches, with their own info in `info`.

    A horizon above 1 is ours, not the paper's (T = 1): each step then trains on from the weights that the one before kept, so
    later rewards depend on earlier masks; see `MixRLEnv`.

    Args:
        num_envs: M, the masks evaluated in a step.
        data, split_seed, render_mode, horizon, **settings: as in `MixRLEnv`.

    Raises:
        ValueError: as `MixRLEnv`, and for num_envs below 1.
    """

    metadata = {  # noqa: RUF012  # as Gymnasium declares it
        **MixRLEnv.metadata,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        data: RegressionData | str,
        split_seed: int = 0,
        render_mode: str | None = None,
        horizon: int = 1,
        **settings: Any,
    ) -> None:
        check_whole(num_envs, "num_envs")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.horizon = check_horizon(horizon)
        self.problem = make_problem(data, split_seed, **settings)
        self.single_observation_space, self.single_action_space = spaces_of(self.problem)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._batches: list[Batch] = []
        self._starts: list[list[Tensor] | None] = []  # what the next trainings start from; None is the usual start
        self._steps_done = 0  # in these episodes, which all end together
        self._last: list[Outcome | None] = [None] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Offer M new batches.

        Args:
            seed: an int seeds sub-environment i with seed + i; a list gives each its own; None goes on with the generators.
            options: not used.

        Raises:
            ValueError: if a list of seeds does not have one entry per sub-environment.
        """
        seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None:
            if not isinstance(seeds, Sequence) or isinstance(seeds, str):
                raise ValueError(f"seed must be None, a whole number or a list of them, got {seeds!r}")
            if len(seeds) != self.num_envs:
                raise ValueError(f"got {len(seeds)} seeds for {self.num_envs} sub-environments")
            for i, own in enumerate(seeds):
                if own is not None:
                    self._rngs[i] = environment_rng(own)
        return self._new_episodes(), {}

    def step(
        self, actions: npt.NDArray[np.int8]
    ) -> tuple[Observation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Train M regressors, one a mask, and offer the next M batches.

        Args:
            actions: masks of zeros and ones, shape (M, B).

        Returns:
            The next observation (M, B, d + e + |N|), rewards (M,), terminated (all True in the last step of the episodes, else
            all False), truncated (all False), info.

        Raises:
            ResetNeeded: before the first reset.
            ValueError: if the actions are not M masks of B zeros and ones.
        """
        if not self._batches:
            raise ResetNeeded("call reset() before step()")
        count = len(actions) if isinstance(actions, Sequence | np.ndarray) and np.ndim(actions) else 0
        if count != self.num_envs:
            raise ValueError(f"got {count} masks for {self.num_envs} sub-environments")
        selected = [self.problem.select(batch, action) for batch, action in zip(self._batches, actions, strict=True)]
        batches, rngs = self._batches, [training_rng(rng) for rng in self._rngs]
        outcomes, fitted = self.problem.evaluate_selected(batches, selected, rngs, self._starts)
        self._last = list(outcomes)
        rewards = np.array([self.problem.reward(outcome) for outcome in outcomes])
        self._steps_done += 1
        terminated = np.full(self.num_envs, self._steps_done == self.horizon)
        infos: dict[str, Any] = {}
        for m, (batch, outcome) in enumerate(zip(batches, outcomes, strict=True)):
            info = outcome.info()
            if terminated[m]:
                info = {"final_obs": self.problem.offer(batch), "final_info": info}
            infos = self._add_info(infos, info, m)
        if terminated.all():
            observations = self._new_episodes()
        else:
            self._starts = next_starts(self._starts, outcomes, fitted)
            observations = self._new_batches()
        return observations, rewards, terminated, np.zeros(self.num_envs, dtype=np.bool_), infos

    def render(self) -> tuple[str, ...] | None:
        """A line on each sub-environment's last step in render mode "ansi", else None."""
        if self.render_mode != "ansi":
            return None
        return tuple(describe(self.problem, outcome) for outcome in self._last)

    def state_dict(self) -> dict[str, Any]:
        """See `MixRLEnv.state_dict`; a list entry a sub-environment."""
        return {
            "generators": [rng.bit_generator.state for rng in self._rngs],
            "batches": [batch._asdict() for batch in self._batches],
            "starts": list(self._starts),
            "steps_done": self._steps_done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the environments, made with the same arguments, that `state_dict` was called on."""
        for rng, own in zip(self._rngs, state["generators"], strict=True):
            rng.bit_generator.state = own
        self._batches = [Batch(**batch) for batch in state["batches"]]
        self._starts, self._steps_done = list(state["starts"]), state["steps_done"]
        self._last = [None] * self.num_envs

    def _new_episodes(self) -> Observation:
        self._starts, self._steps_done = [None] * self.num_envs, 0
        return self._new_batches()

    def _new_batches(self) -> Observation:
        self._batches = [self.problem.sample_batch(rng) for rng in self._rngs]
        return np.stack([self.problem.offer(batch) for batch in self._batches])

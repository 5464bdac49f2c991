"""Many MixRL environments whose inner trainings run as one batched computation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mixrl_env.data import RegressionData
from mixrl_env.env import MixRLEnv, describe, make_problem, spaces_of, training_rng
from mixrl_env.observation import Observation
from mixrl_env.problem import Batch, Outcome


class MixRLVectorEnv(VectorEnv[Observation, npt.NDArray[np.int8], npt.NDArray[Any]]):
    """num_envs copies of `MixRLEnv` on one problem; a step trains num_envs regressors at once.

    Sub-environment i draws what a `MixRLEnv` reset with the i-th seed draws. Episodes last one step and autoreset in the same
    step: the returned observation is the next batch, the finished one is in `info["final_obs"]`, and the step's info in
    `info["final_info"]`, as in `gymnasium.vector.SyncVectorEnv`.

    Args:
        num_envs: M, the masks evaluated in a step.
        data, split_seed, render_mode, **settings: as in `MixRLEnv`.

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
        **settings: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.problem = make_problem(data, split_seed, **settings)
        self.single_observation_space, self.single_action_space = spaces_of(self.problem)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs = [seeding.np_random()[0] for _ in range(num_envs)]
        self._batches: list[Batch] = []
        self._last: list[Outcome | None] = [None] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Offer M new batches.

        Args:
            seed: an int seeds sub-environment i with seed + i; a list gives each its own; None goes on with the generators.
            options: not used.

        Raises:
            ValueError: if a list of seeds has not one entry a sub-environment.
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None:
            if len(seeds) != self.num_envs:
                raise ValueError(f"got {len(seeds)} seeds for {self.num_envs} sub-environments")
            for i, own in enumerate(seeds):
                if own is not None:
                    self._rngs[i] = seeding.np_random(own)[0]
        return self._new_batches(), {}

    def step(
        self, actions: npt.NDArray[np.int8]
    ) -> tuple[Observation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Train M regressors, one a mask, and offer the next M batches.

        Args:
            actions: masks of zeros and ones, shape (M, B).

        Returns:
            The next observation (M, B, d + e + |N|), rewards (M,), terminated (all True), truncated (all False), info.

        Raises:
            ResetNeeded: before the first reset.
            ValueError: if the actions are not M masks of B zeros and ones.
        """
        if not self._batches:
            raise ResetNeeded("call reset() before step()")
        if len(actions) != self.num_envs:
            raise ValueError(f"got {len(actions)} masks for {self.num_envs} sub-environments")
        masks = [self.problem.check_mask(action) for action in actions]
        finished = self._batches
        outcomes = self.problem.evaluate(finished, masks, [training_rng(rng) for rng in self._rngs])
        self._last = list(outcomes)
        infos: dict[str, Any] = {}
        for m, (batch, outcome) in enumerate(zip(finished, outcomes, strict=True)):
            final = {"final_obs": self.problem.observe(batch), "final_info": outcome.info()}
            infos = self._add_info(infos, final, m)
        rewards = np.array([self.problem.reward(outcome) for outcome in outcomes])
        ended = np.ones(self.num_envs, dtype=np.bool_)
        return self._new_batches(), rewards, ended, ~ended, infos

    def render(self) -> tuple[str, ...] | None:
        """A line on each sub-environment's last step in render mode "ansi", else None."""
        if self.render_mode != "ansi":
            return None
        return tuple(describe(self.problem, outcome) for outcome in self._last)

    def _new_batches(self) -> Observation:
        self._batches = [self.problem.sample_batch(rng) for rng in self._rngs]
        return np.stack([self.problem.observe(batch) for batch in self._batches])

"""MixRL as a Gymnasium environment: each step is one batch, one mask, one reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete
from gymnasium.utils import seeding
from torch import Tensor

from mixrl_env.checks import check_seed
from mixrl_env.data import RegressionData
from mixrl_env.datasets import load_dataset
from mixrl_env.observation import Observation
from mixrl_env.problem import Batch, MixingProblem, Outcome, ProblemConfig
from mixrl_env.regressor import FittedRegressors
from mixrl_env.streams import stream

Action = npt.NDArray[np.int8]


def make_problem(data: RegressionData | str, split_seed: int = 0, **settings: Any) -> MixingProblem:
    """The mixing problem behind an environment.

    Args:
        data: the task, or the name of a dataset.
        split_seed: which random split of a named dataset.
        **settings: fields of `ProblemConfig`.

    Raises:
        ValueError: for an unknown dataset or setting, or a value out of its range.
    """
    config = ProblemConfig.from_settings(settings)
    check_seed(split_seed, "split_seed")
    return MixingProblem(load_dataset(data, split_seed) if isinstance(data, str) else data, config)


def spaces_of(problem: MixingProblem) -> tuple[Box, MultiBinary | MultiDiscrete]:
    """Observation and action space of one environment on a problem."""
    plan = problem.config.action == "plan"
    rows = problem.num_rows * (len(problem.options) if plan else 1)
    low, high = (np.tile(bound, (rows, 1)) for bound in problem.observation_bounds())
    return Box(low, high, dtype=np.float32), MultiDiscrete(problem.action_sizes) if plan else MultiBinary(rows)


def environment_rng(seed: int) -> np.random.Generator:
    """The generator of an environment that is reset with a seed: not that of the split with this number.

    Raises:
        gymnasium.error.Error: unless the seed is a whole number of at least 0.
    """
    _, checked = seeding.np_random(seed)
    return stream(checked, "environment")


def training_rng(np_random: np.random.Generator) -> np.random.Generator:
    """The generator of one inner training, so that its length never shifts the environment's own stream."""
    return stream(int(np_random.integers(2**63)), "inner training")


def check_horizon(horizon: int) -> int:
    """The steps of an episode, as given.

    Raises:
        ValueError: if it is not a whole number of at least 1.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise ValueError(f"horizon must be a whole number of at least 1, got {horizon!r}")
    return horizon


def next_starts(
    starts: Sequence[list[Tensor] | None], outcomes: Sequence[Outcome], fitted: FittedRegressors
) -> list[list[Tensor] | None]:
    """The weights that the next step of each episode starts from: the kept ones, or after a diverged step the same again."""
    return [  # clones, since a pickled slice would take the whole stack with it
        start if outcome.diverged else [weight[m : m + 1].clone() for weight in fitted.weights]
        for m, (start, outcome) in enumerate(zip(starts, outcomes, strict=True))
    ]


def describe(problem: MixingProblem, outcome: Outcome | None) -> str:
    """One line on the last step, for render mode "ansi"."""
    if outcome is None:
        return f"{problem.data.name}: no step yet"
    return (
        f"{problem.data.name}: selected {outcome.num_selected} of {problem.num_rows} rows, "
        f"{outcome.num_mixed} mixed rows, {outcome.train_steps} training steps, "
        f"validation RMSE {outcome.val_loss**0.5:.4f}, reward {problem.reward(outcome):.4f}"
        f"{' (diverged)' if outcome.diverged else ''}"
    )


class MixRLEnv(gym.Env[Observation, Action]):
    """Learn which rows of a regression training set to mix with how many of their nearest neighbours.

    ## Description
    The environment of MixRL (Hwang & Whang; Sec. 3.2 and Algorithm 1). Every reset offers a batch of training rows, each
    with a random number of neighbours to mix with; the agent selects rows; a regressor is trained on the batch and the mixed
    rows, and the reward says how well it predicts the validation rows.

    ## Action Space
    `MultiBinary(B)`: 1 selects a row of the batch for mixing. The empty mask is legal and trains on the batch alone.
    With `action="plan"` (ours) `MultiDiscrete` of shape (B * spaces,): for each row and space 0 for nothing, or c for the
    c-th option of that space; the observation then holds each row with every option, (B * |N|, d + e + |N|).

    ## Observation Space
    `Box` of shape (B, d + e + |N|), float32: for each row of the batch its standardised features, its standardised labels,
    and its neighbour option k one-hot. For NO2 (200, 7 + 1 + 32).

    ## Rewards
    -C * mean squared error on the validation rows, in label units squared; C is `reward_scale`. A diverged training earns a
    finite penalty, -C * `MixingProblem.diverged_loss`, and sets `info["diverged"]`. With a horizon above 1 every step is
    rewarded so, and the later rewards depend on the earlier masks too, through the weights that a step starts from.

    ## Starting State
    B training rows without replacement, each with k ~ Uniform(N). The regressor starts from a state that was trained once on
    the training rows alone, half-way to its early stop; see `ProblemConfig.pretrained`.

    ## Episode End
    Every episode ends after `horizon` steps with `terminated=True`; `truncated` is always False. The paper has T = 1, the
    default; longer horizons are ours, not the paper's. There every step offers a new batch, drawn as the first one, and its
    training starts from the weights that the step before kept (those of `FittedRegressors.weights`), with Adam's moments
    anew. What follows a diverged step starts as that step did: from the same kept or pre-trained weights, or from scratch.

    ## Info
    After a step: val_loss, val_rmse, num_selected, num_mixed, train_steps, diverged. With `detailed_info=True` (ours) also
    val_losses, the squared error of every validation row (n_val,), and the rows and options that were offered, each (B,).

    ## Arguments
    - `data`: a `RegressionData`, or the name of a dataset such as "no2".
    - `split_seed`: which random split of a named dataset.
    - `render_mode`: None, or "ansi" for a line on the last step.
    - `horizon`: steps of an episode; above 1 is ours, see "Episode End".
    - every field of `ProblemConfig`, such as `options`, `observe`, `action`, `lam`, `reward_scale`, `regressor`,
      `standardize_labels`, `schedule`, `pretrained`, `step_budget`, `detailed_info`. `schedule="constant"` is the paper's
      reward: from scratch to the early stop.

    The same seed and the same masks give the same rewards and infos; global random generators are neither used nor touched.
    Copies, pickled or deep-copied, go on as the original does. Nothing is held that `close` must release: it may be called at
    any time and changes nothing.
    """

    metadata = {  # noqa: RUF012  # as Gymnasium declares it
        "render_modes": ["ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        data: RegressionData | str,
        split_seed: int = 0,
        render_mode: str | None = None,
        horizon: int = 1,
        **settings: Any,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.horizon = check_horizon(horizon)
        self.problem = make_problem(data, split_seed, **settings)
        self.observation_space, self.action_space = spaces_of(self.problem)  # type: ignore[assignment]
        self.render_mode = render_mode
        self._batch: Batch | None = None
        self._start: list[Tensor] | None = None  # what the next step's training starts from; None is the usual start
        self._steps_done = 0  # in this episode
        self._last: Outcome | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Offer a new batch; see `gymnasium.Env.reset`. `options` is not used."""
        super().reset(seed=seed)
        if seed is not None:
            self._np_random = environment_rng(seed)
        self._start, self._steps_done = None, 0
        self._batch = self.problem.sample_batch(self.np_random)
        return self.problem.offer(self._batch), {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Train on the batch and the mixed rows of the selected ones, then offer the next batch or end the episode.

        Returns:
            The next batch's observation, at the episode's end this one's again; reward, terminated, truncated (False), info.

        Raises:
            ResetNeeded: before the first reset, or after the episode's end.
            ValueError: if the action is not a mask of B zeros and ones.
        """
        if self._batch is None:
            length = "one step" if self.horizon == 1 else f"{self.horizon} steps"
            raise ResetNeeded(f"call reset() before step(): an episode ends after {length}")
        selected = self.problem.select(self._batch, action)
        batch, self._batch = self._batch, None
        rngs = [training_rng(self.np_random)]
        outcomes, fitted = self.problem.evaluate_selected([batch], [selected], rngs, [self._start])
        self._last = outcomes[0]
        self._steps_done += 1
        terminated = self._steps_done == self.horizon
        if not terminated:
            batch = self._batch = self.problem.sample_batch(self.np_random)
            self._start = next_starts([self._start], outcomes, fitted)[0]
        return self.problem.offer(batch), self.problem.reward(self._last), terminated, False, self._last.info()

    def render(self) -> str | None:
        """A line on the last step in render mode "ansi", else None."""
        return describe(self.problem, self._last) if self.render_mode == "ansi" else None

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on: generator, offered batch, start of the next training and steps done; no pickle.

        `render` is not part of it.
        """
        return {
            "generator": self.np_random.bit_generator.state,
            "batch": None if self._batch is None else self._batch._asdict(),
            "start": self._start,
            "steps_done": self._steps_done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the environment, made with the same arguments, that `state_dict` was called on."""
        self.np_random.bit_generator.state = state["generator"]
        self._batch = None if state["batch"] is None else Batch(**state["batch"])
        self._start, self._steps_done, self._last = state["start"], state["steps_done"], None

"""The mixing problem: sample a batch, observe it, and turn selection masks into validation losses (Sec. 3.2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mixrl_env.checks import check_seed, check_types
from mixrl_env.data import FloatArray, IntArray, LabelScale, RegressionData
from mixrl_env.features import CONTEXT, FEATURES, Judged, judge_rows
from mixrl_env.mixing import MixRatio, check_ratio, draw_lam, mix, with_mixed_rows
from mixrl_env.neighbors import DEFAULT_OPTIONS, NeighborOption, NeighborTable
from mixrl_env.observation import DEFAULT_PARTS, Observation, RowObserver, check_parts
from mixrl_env.regressor import FittedRegressors, RegressorConfig, Schedule, TrainingSet, fit_regressors
from mixrl_env.streams import stream

Action = Literal["mask", "plan"]
"""What an action is; see `ProblemConfig.action`."""
DIVERGED_FACTOR = 10.0
"""A diverged training is charged this multiple of the loss of predicting zero everywhere."""
FEWEST_STEPS, MOST_STEPS = 100, 1000
"""Of an annealed reward whose step budget is not given."""
_SHARES = {"features": FEATURES, "context": CONTEXT}  # parts of an observation within [0, 1], and their columns
_LARGEST_LOSS = 1e300  # keeps the reward finite for any labels


@dataclass(frozen=True)
class ProblemConfig:
    """Everything that turns a mask into a reward. The defaults are the paper's for NO2 (Sec. 4, App. B.1), except C.

    Attributes:
        options: the list N of (space, k).
        observe: the parts of an observation row: "x", "y" and "option" as in the paper, and "distances", "features" and
            "context", ours; see `mixrl_env.observation.RowObserver`.
        action: "mask", as in the paper: each row of the batch has one random option, and an action selects rows. "plan", ours:
            each row is offered with every option, and an action chooses at most one option a row and space, so that what is
            rewarded is what is used in the end.
        lam: mix ratio lambda: a number in [0, 1], ("beta", alpha), or an array (n_train, n_train) with one for every pair.
        batch_rows: B, training rows in a batch; None is the whole training set, as in the paper.
        reward_scale: C; the reward is -C times the validation loss.
        regressor: network and training of f_phi, up to the early stop.
        standardize_labels: train f_phi on labels that are centred and scaled on the training rows, target by target. Losses,
            rewards and predictions are in label units either way. The paper does not say which it does.
        schedule: "annealed": the learning rate of a reward's training falls to nearly zero, which removes most of the noise of
            training from the reward (ours). "constant": the paper's reward, each training from scratch to the early stop.
        pretrained: where the training of a reward starts. One regressor is trained on the training rows alone to its early
            stop; this is the share of its steps to the kept weights: True or 1 starts from these, 0.5 from half-way,
            False or 0 from scratch. None is 0.5 with "annealed" and 0 with "constant".
        pretrain_seed: seed of that one training.
        step_budget: optimiser steps of a reward's training; the reward takes the loss at the end. None with "annealed" is half
            of the one training's steps to its kept weights, but at least 100 and at most 1,000. None with "constant" trains
            to the early stop and takes the lowest validation loss.
        detailed_info: whether info also carries what was offered and the loss of every validation row; see `Outcome`.

    Raises:
        ValueError: for a value out of its range.
    """

    options: tuple[NeighborOption, ...] = DEFAULT_OPTIONS
    observe: tuple[str, ...] = DEFAULT_PARTS
    action: Action = "mask"
    lam: MixRatio = 0.5
    batch_rows: int | None = None
    reward_scale: float = 1.0
    regressor: RegressorConfig = field(default_factory=RegressorConfig)
    standardize_labels: bool = True
    schedule: Schedule = "annealed"
    pretrained: float | bool | None = None
    pretrain_seed: int = 0
    step_budget: int | None = None
    detailed_info: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "observe", check_parts(self.observe))
        object.__setattr__(self, "lam", check_ratio(self.lam))  # ["beta", alpha], as JSON has it, becomes a tuple
        for name in ("batch_rows", "step_budget"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be None or a whole number of at least 1, got {value!r}")
        if not isinstance(self.regressor, RegressorConfig):
            raise ValueError(f"regressor must be a RegressorConfig or a mapping of its fields, got {self.regressor!r}")
        check_types(self)
        check_seed(self.pretrain_seed, "pretrain_seed")
        if self.action not in get_args(Action):
            raise ValueError(f"action must be 'mask' or 'plan', got {self.action!r}")
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be 'annealed' or 'constant', got {self.schedule!r}")
        start = self.pretrained
        if start is not None and not (isinstance(start, Real) and 0 <= start <= 1):
            raise ValueError(f"pretrained must be None, True, False or a share between 0 and 1, got {start!r}")
        if self.starts_at == 0 and self.schedule == "annealed" and self.step_budget is None:
            raise ValueError("annealed rewards from scratch need a step_budget, such as 2000, or take pretrained=0.5")
        if self.starts_at == 0 and self.schedule == "constant" and self.step_budget is not None:
            warnings.warn(
                f"rewards after {self.step_budget} steps from scratch at a constant rate pay for small selections, which "
                "converge sooner; leave out step_budget, or take schedule='annealed'",
                stacklevel=2,
            )
        if not 0 < self.reward_scale < np.inf:
            raise ValueError(f"reward_scale must be positive, got {self.reward_scale!r}")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ProblemConfig:
        """A config from keyword arguments or JSON; `regressor` may itself be a mapping.

        Raises:
            ValueError: for an unknown key, listing the known ones, or a value out of its range.
        """
        known = dict(settings)
        if isinstance(known.get("regressor"), Mapping):
            known["regressor"] = _build(RegressorConfig, known["regressor"], "regressor setting")
        config: ProblemConfig = _build(cls, known, "setting")
        return config

    @property
    def starts_at(self) -> float:
        """`pretrained` as a number."""
        if self.pretrained is None:
            return 0.5 if self.schedule == "annealed" else 0.0
        return float(self.pretrained)


class Batch(NamedTuple):
    """A state s_t: which training rows are offered with which option.

    Attributes:
        rows: training row indices, shape (B,).
        options: option indices k_i into N, shape (B,).
    """

    rows: IntArray
    options: IntArray


@dataclass(frozen=True)
class Outcome:
    """What training on a batch and its mixed rows came to.

    Attributes:
        val_loss: mean squared error on the validation rows, label units squared; finite even when training diverged.
        num_selected: rows that the mask selected, or options that the plan chose.
        num_mixed: mixed rows that were added to the batch.
        train_steps: optimiser steps of the inner training.
        diverged: True if the loss was not finite or beyond `MixingProblem.diverged_loss`, which then stands in its place.
        details: with `ProblemConfig.detailed_info` val_losses, the mean squared error of every validation row (n_val,), and the
            rows and options that were offered, each (B,); else empty.
    """

    val_loss: float
    num_selected: int
    num_mixed: int
    train_steps: int
    diverged: bool
    details: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False)

    def info(self) -> dict[str, Any]:
        """The environment's info dictionary."""
        return {
            "val_loss": self.val_loss,
            "val_rmse": self.val_loss**0.5,
            "num_selected": self.num_selected,
            "num_mixed": self.num_mixed,
            "train_steps": self.train_steps,
            "diverged": self.diverged,
            **self.details,
        }


class MixingProblem:
    """Which rows to mix with how many neighbours, on one dataset.

    Args:
        data: the task; its test rows are never looked at.
        config: options, mixing, reward and inner training.

    Attributes:
        data, config: as given.
        neighbors: the neighbour table of the training rows.
        x_train, x_val: standardised features, shapes (n_train, d) and (n_val, d).
        num_rows: B.
        labels: between label units and the labels that regressors are trained on.
        diverged_loss: what a diverged training is charged.

    Raises:
        ValueError: if data or config is of another type, an option or the batch needs more training rows than there are, lam
            is an array of another size, or rewards could be infinite.
    """

    def __init__(self, data: RegressionData, config: ProblemConfig) -> None:
        for name, value, kind in (("data", data, RegressionData), ("config", config, ProblemConfig)):
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got a {type(value).__name__}")
        self.data, self.config = data, config
        n_train = len(data.x_train)
        self.num_rows = n_train if config.batch_rows is None else config.batch_rows
        if self.num_rows > n_train:
            raise ValueError(f"batch_rows is {self.num_rows}, but there are only {n_train} training rows")
        if isinstance(config.lam, np.ndarray) and len(config.lam) != n_train:
            raise ValueError(f"lam holds the pairs of {len(config.lam)} rows, but there are {n_train} training rows")
        self.x_train = data.standardize_x(data.x_train)
        self.x_val = data.standardize_x(data.x_val)
        self.labels = data.label_scale if config.standardize_labels else LabelScale.identity(data.y_train.shape[1])
        y_standard = data.standardize_y(data.y_train)
        self.neighbors = NeighborTable(self.x_train, y_standard, config.options)
        self._judged: Judged | None = None
        self._observer = RowObserver(config.observe, self.x_train, y_standard, self.neighbors)
        with np.errstate(over="ignore"):
            zero_loss = float(np.mean(np.square(data.y_train))) or 1.0
        self.diverged_loss = min(DIVERGED_FACTOR * zero_loss, _LARGEST_LOSS)
        if not np.isfinite(config.reward_scale * self.diverged_loss):
            raise ValueError(f"reward_scale is {config.reward_scale:g}, which makes the reward of a diverged training infinite")

    @property
    def options(self) -> tuple[NeighborOption, ...]:
        """The list N."""
        return self.neighbors.options

    @cached_property
    def pretraining(self) -> FittedRegressors:
        """One regressor, trained on the training rows alone to its early stop, when it is first asked for.

        Raises:
            ValueError: if it diverges.
        """
        fitted = self._pretrain(self.config.regressor)
        if fitted.diverged[0]:
            raise ValueError("the pre-training diverged; lower regressor.learning_rate or rescale the labels")
        return fitted

    @cached_property
    def pretrained_weights(self) -> list[Tensor] | None:
        """What the trainings of rewards start from, as from `initial_weights`; None where they start from scratch.

        Raises:
            ValueError: if the pre-training diverges.
        """
        share = self.config.starts_at
        if share in (0, 1):
            return self.pretraining.weights if share else None
        steps = max(1, round(share * int(self.pretraining.kept_steps[0])))
        return self._pretrain(replace(self.config.regressor, max_steps=steps, patience=None)).weights

    @cached_property
    def reward_regressor(self) -> RegressorConfig:
        """The training behind one reward; see `ProblemConfig.schedule` and `ProblemConfig.step_budget`."""
        schedule, steps = self.config.schedule, self.config.step_budget
        if steps is None and schedule == "constant":
            return self.config.regressor
        if steps is None:
            steps = int(np.clip(self.pretraining.kept_steps[0] // 2, FEWEST_STEPS, MOST_STEPS))
        return replace(self.config.regressor, schedule=schedule, max_steps=steps, patience=None)

    @property
    def features(self) -> Observation:
        """Features of every row and option, shape (n_train, |N|, features); see `mixrl_env.features`."""
        return self._judge().features

    @property
    def context(self) -> npt.NDArray[np.float32]:
        """What the table is like, shape (len(CONTEXT),); see `mixrl_env.features`."""
        return self._judge().context

    @property
    def val_weights(self) -> FloatArray:
        """How well the label of each validation row can be known, shape (n_val,), mean 1; see `mixrl_env.features`."""
        return self._judge().val_weights

    def _judge(self) -> Judged:
        """Computed when it is first asked for."""
        if self._judged is None:  # a cached_property has one lock for all problems, and threads would wait for each other
            train, val, own = (self.x_train, self.data.y_train), (self.x_val, self.data.y_val), self.config
            self._judged = judge_rows(train, val, self.neighbors, own.lam, self.data.label_scale, own.regressor.device)
        return self._judged

    def _pretrain(self, regressor: RegressorConfig) -> FittedRegressors:
        """The same initial weights and minibatches at every call."""
        return self.fit([(self.x_train, self.data.y_train)], [stream(self.config.pretrain_seed, "pre-training")], regressor)

    def sample_batch(self, rng: np.random.Generator) -> Batch:
        """B training rows without replacement, in the order of the table, each with k ~ Uniform(N)."""
        n_train = len(self.x_train)
        rows = np.sort(rng.choice(n_train, size=self.num_rows, replace=False))
        return Batch(rows, rng.integers(len(self.options), size=self.num_rows))

    def observe(self, batch: Batch) -> Observation:
        """The rows (x, y, k) of a batch, or what `ProblemConfig.observe` says; shape (B, d + e + |N|)."""
        parts = [self._observer.observe(batch.rows, batch.options)]
        if "features" in self.config.observe:
            parts.append(self.features[batch.rows, batch.options])
        if "context" in self.config.observe:
            parts.append(np.tile(self.context, (len(batch.rows), 1)))
        return np.concatenate(parts, axis=1)

    def offer(self, batch: Batch) -> Observation:
        """What an agent sees of a batch: its rows with their options, or each row with every option if actions are plans.

        Shape (B, d + e + |N|), or (B * |N|, d + e + |N|), the options of a row one after the other.
        """
        return self.observe(batch if self.config.action == "mask" else self._with_every_option(batch.rows))

    @property
    def action_sizes(self) -> IntArray:
        """Choices of a plan: one more than the options of a space, row by row and space by space, shape (B * spaces,)."""
        return np.tile([len(own) + 1 for own in self.neighbors.by_space.values()], self.num_rows)

    def observation_bounds(self) -> tuple[Observation, Observation]:
        """Lowest and highest value of every column of an observation row, shapes (d + e + |N|,)."""
        size = sum(len(names) for part, names in _SHARES.items() if part in self.config.observe)
        shares = np.ones(size, dtype=np.float32)
        return np.concatenate([self._observer.low, 0 * shares]), np.concatenate([self._observer.high, shares])

    def every_row_and_option(self) -> Batch:
        """All n_train x |N| combinations, row by row: what probabilities are asked for once h is trained."""
        return self._with_every_option(np.arange(len(self.x_train)))

    def _with_every_option(self, rows: IntArray) -> Batch:
        size = len(self.options)
        return Batch(np.repeat(rows, size), np.tile(np.arange(size), len(rows)))

    def select(self, batch: Batch, action: npt.ArrayLike) -> Batch:
        """The rows and options that an action mixes; see `ProblemConfig.action`.

        Args:
            batch: that is offered.
            action: a mask (B,) of 0 and 1; or a plan (B * spaces,): for each row and space 0 for nothing, or c for the c-th
                option of the space.

        Raises:
            ValueError: for an action of another shape, or with other values.
        """
        if self.config.action == "mask":
            mask = self.check_mask(action)
            return Batch(batch.rows[mask], batch.options[mask])
        plan = np.asarray(action)
        if plan.shape != self.action_sizes.shape or not ((plan >= 0) & (plan < self.action_sizes)).all():
            raise ValueError(
                f"the action must be a plan of shape {self.action_sizes.shape}, 0 or the number of an option of the space for "
                f"each row; got shape {plan.shape}"
            )
        chosen = plan.reshape(self.num_rows, -1).astype(np.int64)
        row, space = np.nonzero(chosen)
        of_space = [*self.neighbors.by_space.values()]
        options = [of_space[s][chosen[r, s] - 1] for r, s in zip(row, space, strict=True)]
        return Batch(batch.rows[row], np.array(options, dtype=np.int64))

    def check_mask(self, mask: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """An action as a boolean mask of shape (B,).

        Raises:
            ValueError: if its shape is not (B,) or a value is neither 0 nor 1.
        """
        try:
            array = np.asarray(mask)
        except ValueError as error:
            raise ValueError(f"the action must be a mask of shape ({self.num_rows},): {error}") from error
        if array.shape != (self.num_rows,):
            raise ValueError(f"the action must be a mask of shape ({self.num_rows},), got shape {array.shape}")
        selected: npt.NDArray[np.bool_] = array == 1
        odd = ~(selected | (array == 0))
        if odd.any():
            raise ValueError(f"the action must hold only 0 and 1, got {array[odd][0]} at row {np.argmax(odd)}")
        return selected

    def mix(self, rows: IntArray, options: IntArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Mix(D^m, D, N): each row with its N[k] neighbours.

        Args:
            rows: training row indices, shape (s,).
            options: option indices, shape (s,).
            rng: for lambda, where it is drawn.

        Returns:
            Standardised features (p, d) and labels (p, e) in their own units, p the sum of the k.
        """
        i, j = self.neighbors.pairs(rows, options)
        return mix(self.x_train, self.data.y_train, i, j, draw_lam(self.config.lam, i, j, rng))

    def augmented(self, selected: Batch, rng: np.random.Generator) -> TrainingSet:
        """All training rows, followed by the mixed rows of selected rows and options, each mixed row once."""
        return with_mixed_rows(self.x_train, self.data.y_train, *self.mix(selected.rows, selected.options, rng))

    def fit(
        self,
        train_sets: Sequence[TrainingSet],
        rngs: Sequence[np.random.Generator],
        regressor: RegressorConfig | None = None,
        initial: Sequence[list[Tensor] | None] | None = None,
    ) -> FittedRegressors:
        """Train regressors on any training sets, with the problem's validation rows and label scale.

        Args:
            train_sets: M pairs of standardised features (n_m, d) and labels (n_m, e) in label units.
            rngs: M generators; see `fit_regressors`.
            regressor: network and training; None is `ProblemConfig.regressor`.
            initial: see `fit_regressors`.
        """
        config = self.config.regressor if regressor is None else regressor
        return fit_regressors(train_sets, self.x_val, self.data.y_val, config, rngs, initial, self.labels)

    def evaluate(
        self,
        batches: Sequence[Batch],
        masks: Sequence[npt.NDArray[np.bool_]],
        rngs: Sequence[np.random.Generator],
        initial: Sequence[list[Tensor] | None] | None = None,
    ) -> tuple[list[Outcome], FittedRegressors]:
        """`evaluate_selected` for boolean masks of shape (B,)."""
        selected = [Batch(batch.rows[mask], batch.options[mask]) for batch, mask in zip(batches, masks, strict=True)]
        return self.evaluate_selected(batches, selected, rngs, initial)

    def evaluate_selected(
        self,
        batches: Sequence[Batch],
        selected: Sequence[Batch],
        rngs: Sequence[np.random.Generator],
        initial: Sequence[list[Tensor] | None] | None = None,
    ) -> tuple[list[Outcome], FittedRegressors]:
        """Train f_phi on D^b with Mix(D^m, D, N) for each of M batches and selections, all M as one batched computation.

        Args:
            batches: M batches D^b.
            selected: M selections D^m, as from `select`; mixed rows that a plan makes twice are dropped, as `apply_plan` does.
            rngs: M generators, for lambda, initial weights and minibatches.
            initial: M lists as from `initial_weights`, to start from; None starts from scratch or the pre-trained weights.

        Returns:
            One outcome a selection, and the M regressors.
        """
        y_train, train_sets = self.data.y_train, []
        for batch, own, rng in zip(batches, selected, rngs, strict=True):
            x, y = self.x_train[batch.rows], y_train[batch.rows]
            x_mixed, y_mixed = self.mix(own.rows, own.options, rng)
            if self.config.action == "plan":
                train_sets.append(with_mixed_rows(x, y, x_mixed, y_mixed))
            else:
                train_sets.append((np.concatenate([x, x_mixed]), np.concatenate([y, y_mixed])))
        starts = [self.pretrained_weights if given is None else given for given in initial or [None] * len(selected)]
        fitted = self.fit(train_sets, rngs, self.reward_regressor, starts)
        outcomes = []
        details = self._details(batches, fitted) if self.config.detailed_info else [{}] * len(selected)
        for m, (own, (x, _)) in enumerate(zip(selected, train_sets, strict=True)):
            loss = float(fitted.val_loss[m])
            diverged = bool(fitted.diverged[m]) or not loss <= self.diverged_loss
            outcomes.append(
                Outcome(
                    val_loss=self.diverged_loss if diverged else loss,
                    num_selected=len(own.rows),
                    num_mixed=len(x) - len(batches[m].rows),
                    train_steps=int(fitted.train_steps[m]),
                    diverged=diverged,
                    details=details[m],
                )
            )
        return outcomes, fitted

    def _details(self, batches: Sequence[Batch], fitted: FittedRegressors) -> list[dict[str, npt.NDArray[Any]]]:
        """`Outcome.details`, one for each batch."""
        losses = self.val_losses(fitted)
        return [{"val_losses": own, **batch._asdict()} for own, batch in zip(losses, batches, strict=True)]

    def val_losses(self, fitted: FittedRegressors) -> FloatArray:
        """Squared error of M regressors on each validation row, a mean over targets, label units squared, shape (M, n_val).

        None is above `diverged_loss`.
        """
        # One by one: rounding must not depend on how many there are.
        predicted = np.concatenate([fitted.one(m).predict(self.x_val) for m in range(len(fitted.val_loss))])
        with np.errstate(over="ignore", invalid="ignore"):  # of trainings that diverged
            losses = np.square(predicted - self.data.y_val).mean(axis=2)
        bounded: FloatArray = np.where(losses <= self.diverged_loss, losses, self.diverged_loss)
        return bounded

    def reward(self, outcome: Outcome) -> float:
        """R = -C * validation loss."""
        return -self.config.reward_scale * outcome.val_loss


def _build(cls: type[Any], settings: Mapping[str, Any], what: str) -> Any:
    """cls(**settings), where an unknown key is a ValueError that lists the known ones."""
    known = [f.name for f in fields(cls)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"unknown {what} {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    return cls(**settings)

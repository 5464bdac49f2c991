"""The settings of a run: what is learned, with how many inner trainings, and how the result is judged."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import PositiveInt, TypeAdapter, ValidationError

from experiments.own_table import OwnTable
from mixrl import MaskRegressionConfig, PlanSearchConfig, ReinforceVariantConfig
from mixrl_env import ProblemConfig, RegressionData, RegressorConfig, load_dataset
from mixrl_env.neighbors import DEFAULT_OPTIONS, check_options
from mixrl_env.observation import DEFAULT_PARTS
from mixrl_env.plans import Rule
from mixrl_env.registration import PAPER_SETTINGS
from mixrl_env.registration import SMALL_REGRESSOR as _SMALL
from mixrl_env.regressor import Schedule

EnvId = Literal["MixRL-v0", "MixRL-NO2-v0", "MixRL-Synthetic-v0", "MixRL-Product-v0"]
AgentName = Literal[
    "reinforce",
    "local_reinforce",
    "mask_regression",
    "plan_search",
    "pretrained",
    "ppo",
    "random_search",
    "banzhaf",
    "ame",
    "none",
]
PlanKind = Literal["most_probable", "sampled"]
_AGENT_SETTINGS = ("reinforce", "mask_regression", "plan_search")
_ENV_IDS: dict[str, Any] = {settings["data"]: env_id for env_id, settings in PAPER_SETTINGS.items()}

SMALL_REGRESSOR = RegressorConfig(**_SMALL)
"""For named tables that are not the paper's."""
MASK_REGRESSION = "MixRL (mask regression)"
"""What the tables call the MixRL of the preset mask_regression; "MixRL" is the agent of the paper, REINFORCE."""
PLAN_SEARCH = "MixRL (plan search)"


@dataclass(frozen=True)
class Settings:
    """One preset: everything but the split that a stored result depends on.

    Attributes:
        dataset: name for `mixrl_env.load_dataset`.
        env_id: the environment with the paper's settings for that dataset; "MixRL-v0" for datasets that are not in the paper.
        mixrl_name: what the tables call the MixRL of this preset.
        lam: the mix ratio; see `mixrl_env.ProblemConfig`.
        train_rows, val_rows: use only the first so many training or validation rows of the split; None is all.
        options: the list N; None is the environment's own.
        observe: what the agent sees of a row; see `mixrl_env.ProblemConfig`.
        schedule, pretrained, step_budget: the training of a reward; see `mixrl_env.ProblemConfig`.
        regressor: network and training of f_phi; None is the environment's own.
        standardize_labels: whether f_phi is trained on standardised labels; see `mixrl_env.ProblemConfig`.
        num_envs: m, masks an update.
        trainings: inner trainings that the agent may spend; REINFORCE may converge before (`ReinforceVariantConfig.patience`).
        agent: "reinforce", the paper's; "local_reinforce", "mask_regression", "plan_search" or "pretrained", ours; "ppo",
            "random_search", "banzhaf" or "ame" to compare with; "none" gives every row and option the same probability.
        reinforce: settings of Algorithm 1 and of local_reinforce.
        mask_regression: settings of the regression on masks.
        plan_search: settings of the plan search.
        plan: "most_probable" options of every row, as in the paper; "sampled" draws one plan from the policy for each final
            regressor.
        thresholds: how many thresholds T to try between everything and nothing.
        rule: how the threshold is chosen; see `mixrl_env.plans.choose_sets`.
        tuning_repeats: trainings for every threshold T.
        knn_repeats: trainings for every k of Global kNN, and for every candidate of its peers.
        knn_trials: how many k Bayesian optimisation tries for Global kNN; None tries every k of N.
        final_trainings: regressors trained on the augmented set (5 in Sec. 4).
        table: the user's own table that `dataset` is the name of; None for a dataset that `load_dataset` knows. See `on`.

    Raises:
        ValueError: for a value out of its range.
    """

    dataset: str = "no2"
    env_id: EnvId = "MixRL-NO2-v0"
    mixrl_name: str = "MixRL"
    lam: Any = 0.5
    train_rows: PositiveInt | None = None
    val_rows: PositiveInt | None = None
    options: tuple[tuple[str, int], ...] | None = None
    observe: tuple[str, ...] = DEFAULT_PARTS
    schedule: Schedule = "annealed"
    pretrained: float | bool | None = None
    step_budget: PositiveInt | None = None
    regressor: RegressorConfig | None = None
    standardize_labels: bool = True
    num_envs: PositiveInt = 1
    trainings: PositiveInt = 5000
    agent: AgentName = "reinforce"
    reinforce: ReinforceVariantConfig = field(default_factory=ReinforceVariantConfig)
    mask_regression: MaskRegressionConfig = field(default_factory=MaskRegressionConfig)
    plan_search: PlanSearchConfig = field(default_factory=PlanSearchConfig)
    plan: PlanKind = "most_probable"
    thresholds: PositiveInt = 10
    rule: Rule = "lowest"
    tuning_repeats: PositiveInt = 2
    knn_repeats: PositiveInt = 2
    knn_trials: PositiveInt | None = None
    final_trainings: PositiveInt = 5
    table: OwnTable | None = None

    def __post_init__(self) -> None:
        # What depends on the data besides, such as the largest k, is checked where the data are.
        ProblemConfig.from_settings(
            {name: value for name, value in self.env_settings().items() if name not in ("data", "options")}
        )
        if self.options is not None:
            check_options(self.options, sys.maxsize)

    def on(self, dataset: str, table: OwnTable | None = None) -> Settings:
        """The same settings on another dataset.

        On a dataset of the paper, env_id is its own environment unless another than NO2's was set. On any other table, env_id
        is "MixRL-v0", and options that are not set are the environment's own as far as the table has training rows for their
        k; a regressor that is not set is `SMALL_REGRESSOR` on the tables that `load_dataset` knows.

        Raises:
            ValueError: for an unknown dataset, or if options are set whose k the table has too few training rows for.
        """
        if table is None and dataset in _ENV_IDS:
            env_id = _ENV_IDS[dataset] if self.env_id == Settings.env_id else self.env_id
            return dataclasses.replace(self, dataset=dataset, env_id=env_id)
        n_train = len(load_dataset(dataset).x_train) if table is None else table.sizes[0]
        regressor, options = self.regressor, self.options
        if table is None and regressor is None:
            regressor = SMALL_REGRESSOR
        if options is not None:
            check_options(options, n_train)
        elif any(option.k >= n_train for option in DEFAULT_OPTIONS):
            options = tuple((space, k) for space, k in DEFAULT_OPTIONS if k < n_train)
        return dataclasses.replace(self, dataset=dataset, table=table, env_id="MixRL-v0", regressor=regressor, options=options)

    def load(self, split_seed: int) -> RegressionData:
        """The rows of a split.

        Raises:
            ValueError: if there are fewer than train_rows or val_rows.
        """
        data = load_dataset(self.dataset, split_seed) if self.table is None else self.table.load(split_seed)
        return data.first_rows(self.train_rows, self.val_rows)

    def of_baseline(self) -> Settings:
        """Only what a baseline depends on, all else at its default: it need not be computed again when MixRL changes."""
        kept = ("dataset", "env_id", "lam", "train_rows", "val_rows", "options", "regressor", "standardize_labels")
        same = {name: getattr(self, name) for name in (*kept, "knn_repeats", "knn_trials", "final_trainings")}
        return Settings(agent="none", **same)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them, without what is left at None and without those of agents that are not used."""
        settings = dataclasses.asdict(dataclasses.replace(self, table=None))
        if self.table is not None:
            settings["table"] = self.table.as_dict()
        agent = "reinforce" if self.agent == "local_reinforce" else self.agent
        used = (name for name in settings if name == agent or name not in _AGENT_SETTINGS)
        return {name: settings[name] for name in used if settings[name] is not None}

    def env_settings(self) -> dict[str, Any]:
        """Keywords for `gym.make`; the caller puts a table of the user's own in place of `data`."""
        own = {name: value for name in ("regressor", "options") if (value := getattr(self, name)) is not None}
        return {
            "data": self.dataset,
            "lam": self.lam,
            "observe": self.observe,
            "standardize_labels": self.standardize_labels,
            "schedule": self.schedule,
            "pretrained": self.pretrained,
            "step_budget": self.step_budget,
            **own,
        }


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with some fields replaced; the fields of `regressor`, `reinforce` and `mask_regression` may come as a mapping.

    Raises:
        ValueError: for a field that does not exist, or a value of another type or out of its range.
    """
    before = dataclasses.asdict(dataclasses.replace(settings, regressor=settings.regressor or RegressorConfig(), table=None))
    merged = _merged(before, changes, "")
    if settings.regressor is None and "regressor" not in changes:
        merged["regressor"] = None
    try:  # as JSON, where lists stand for tuples but texts do not stand for numbers
        changed = _ADAPTER.validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        raise ValueError(one_line(error)) from error
    return dataclasses.replace(changed, table=settings.table)


def _merged(before: dict[str, Any], changes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    unknown = sorted(set(changes) - set(before))
    if unknown:
        raise ValueError(f"unknown setting {prefix}{unknown[0]}; known: {', '.join(prefix + name for name in before)}")
    merged = dict(before)
    for name, value in changes.items():
        nested = isinstance(before[name], dict) and isinstance(value, Mapping)
        merged[name] = _merged(before[name], value, f"{name}.") if nested else value
    return merged


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong, such as "splits.0: Input should be greater than or equal to 0, got -1"."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in ("value_error", "missing") else f", got {first['input']!r}"
    return f"{place + ': ' if place else ''}{message}{value}"


_ADAPTER = TypeAdapter(Settings)

PRESETS: dict[str, Settings] = {
    # REINFORCE with annealed rewards and m masks an update; tuned on splits 20 to 29 (reinforce-tuning.toml).
    "default": Settings(
        num_envs=8,
        trainings=512,
        reinforce=ReinforceVariantConfig(learning_rate=0.01, baseline="leave_one_out", normalize=True, hidden_sizes=(64, 64)),
    ),
    # Ours, the default of version 0.1 (docs/tried.md): the credit of rows by regression on random masks, rewards from
    # the early stop, and final regressors that each see another draw of the policy. Global kNN gets at least as many optimiser
    # steps: 6 trainings of each of 16 k.
    "mask_regression": Settings(
        mixrl_name=MASK_REGRESSION,
        schedule="constant",
        pretrained=True,
        step_budget=300,
        num_envs=16,
        trainings=512,
        agent="mask_regression",
        plan="sampled",
        thresholds=2,
        rule="average",
        tuning_repeats=4,
        knn_repeats=6,
    ),
    # Ours: whole plans by evolution of a small policy on features of rows and options.
    "plan_search": Settings(mixrl_name=PLAN_SEARCH, num_envs=16, trainings=400, agent="plan_search"),
    # Algorithm 1 as printed: one mask a step, moving average, every reward trained from scratch to the early stop. The paper
    # does not print its iterations; its 185 minutes at about two seconds a training are 5000. "Until convergence" is a thousand
    # updates without a new highest moving average of the reward. Global kNN is tuned by Bayesian optimisation.
    "paper": Settings(
        mixrl_name="MixRL (Algorithm 1)",
        schedule="constant",
        reinforce=ReinforceVariantConfig(patience=1000),
        knn_trials=16,
    ),
    # Seconds instead of minutes, to see that everything runs; its results mean nothing.
    "smoke": Settings(
        step_budget=20,
        regressor=RegressorConfig(max_steps=100),
        num_envs=2,
        trainings=8,
        reinforce=ReinforceVariantConfig(baseline="leave_one_out"),
        tuning_repeats=1,
        final_trainings=2,
    ),
}

"""Bad input of the environment, the agents and the estimators: the first three parts of the table in test_bad_input.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from mixrl import (
    CrossEntropy,
    CrossEntropyConfig,
    MaskRegression,
    MaskRegressionConfig,
    MetaGradient,
    MetaGradientConfig,
    MixRLRegressor,
    MixRLSampler,
    RandomSearch,
    RandomSearchConfig,
    Reinforce,
    ReinforceConfig,
    ReinforceVariantConfig,
    SB3Agent,
    SB3Config,
    ValueNetwork,
)
from mixrl_env import MixingProblem, MixRLEnv, MixRLVectorEnv, ProblemConfig, RegressionData, fit_regressors, load_dataset
from mixrl_env.plans import apply_plan, best_options, choose_plan
from tests.toy import ToyVectorEnv


class Call(NamedTuple):
    """A call that must be refused, and the words that its message must contain."""

    part: str
    what: str
    call: Callable[[], object]
    words: tuple[str, ...]


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
for own in (X, Y):
    own.setflags(write=False)  # a refused call changes no argument
TINY = {"hidden_sizes": (4,), "max_steps": 5, "eval_every": 5, "device": "cpu"}


def data(**parts: Any) -> RegressionData:
    return RegressionData(**{"x_train": X[:8], "y_train": Y[:8], "x_val": X[8:], "y_val": Y[8:]} | parts)


def env(**settings: Any) -> MixRLEnv:
    return MixRLEnv(**{"data": data(), "options": [("data", 1)], "regressor": TINY} | settings)


def envs(count: Any = 4, **settings: Any) -> MixRLVectorEnv:
    return MixRLVectorEnv(count, **{"data": data(), "options": [("data", 1)], "regressor": TINY} | settings)


def step(action: Any) -> None:
    one = env()
    one.reset(seed=0)
    one.step(action)


def steps(actions: Any) -> None:
    several = envs(2)
    several.reset(seed=0)
    several.step(actions)


def augment_by(**plan: Any) -> None:
    apply_plan(env().problem, pd.DataFrame({"row": [0], "space": ["data"], "k": [1]} | plan), RNG)


def with_value(array: Any, value: float) -> Any:
    changed = array.copy()
    changed.flat[4] = value
    return changed


ENVIRONMENT = [
    ("a table in place of data", lambda: env(data=pd.DataFrame(X)), ("data must be a RegressionData", "DataFrame")),
    ("no data", lambda: env(data=None), ("data must be a RegressionData", "NoneType")),
    ("unknown dataset", lambda: env(data="mine.csv"), ("unknown dataset 'mine.csv'", "no2")),
    ("name of a dataset that is none", lambda: load_dataset(["no2"]), ("unknown dataset ['no2']",)),  # type: ignore[arg-type]
    ("negative split", lambda: env(data="no2", split_seed=-1), ("split_seed", "at least 0, got -1")),
    ("split in words", lambda: load_dataset("gap", "first"), ("split_seed", "'first'")),  # type: ignore[arg-type]
    ("no options", lambda: env(options=None), ("options must be a list of (space, k), got None",)),
    ("unknown space", lambda: env(options=[("labels", 1)]), ("'labels'", "data, label, all")),
    ("k at n", lambda: env(options=[("data", 8)]), ("('data', 8)", "n_train - 1 = 7")),
    ("lam of texts", lambda: env(lam=np.full((8, 8), "half")), ("lam", "must hold numbers")),
    ("lam above 1", lambda: env(lam=1.5), ("lam must be a number in [0, 1]", "1.5")),
    ("observe is no list", lambda: env(observe=5), ("observe must name some of", "5")),
    ("reward_scale in words", lambda: env(reward_scale="2"), ("ProblemConfig.reward_scale must be a number, got '2'",)),
    ("infinite rewards", lambda: env(reward_scale=1.7e308), ("reward_scale", "infinite")),
    ("regressor by name", lambda: env(regressor="mlp"), ("regressor must be a RegressorConfig", "'mlp'")),
    ("pretrained in words", lambda: env(pretrained="no"), ("pretrained must be None, True, False or a share", "'no'")),
    ("pretrained beyond the whole", lambda: env(pretrained=1.5), ("pretrained must be", "between 0 and 1, got 1.5")),
    ("unknown schedule", lambda: env(schedule="cosine"), ("schedule must be 'annealed' or 'constant', got 'cosine'",)),
    ("unknown schedule of a regressor", lambda: env(regressor=TINY | {"schedule": None}), ("RegressorConfig.schedule", "None")),
    ("standardize_labels in words", lambda: env(standardize_labels="no"), ("standardize_labels must be True or False",)),
    ("annealed from scratch without a budget", lambda: env(pretrained=0), ("need a step_budget, such as 2000",)),
    ("negative pretrain_seed", lambda: env(pretrained=True, pretrain_seed=-1), ("pretrain_seed", "-1")),
    ("layer_norm in words", lambda: env(regressor=TINY | {"layer_norm": "no"}), ("layer_norm must be True or False",)),
    ("learning_rate is True", lambda: env(regressor=TINY | {"learning_rate": True}), ("learning_rate must be a number",)),
    ("no device", lambda: env(regressor=TINY | {"device": None}), ("unknown device None",)),
    ("unknown setting", lambda: env(lamda=0.5), ("unknown setting 'lamda'", "known: options")),
    ("horizon 0", lambda: env(horizon=0), ("horizon", "at least 1, got 0")),
    ("config as a dict", lambda: MixingProblem(data(), {"lam": 0.5}), ("config must be a ProblemConfig",)),  # type: ignore[arg-type]
    ("action in words", lambda: step("all"), ("mask of shape (8,)", "got shape ()")),
    ("ragged action", lambda: step([[1], [1, 0], *[1] * 6]), ("the action must be a mask of shape (8,)",)),
    ("action of 2", lambda: step(np.full(8, 2)), ("only 0 and 1", "got 2 at row 0")),
    ("number of environments in words", lambda: envs("2"), ("num_envs must be a whole number, got '2'",)),
    ("no actions", lambda: steps(None), ("got 0 masks for 2 sub-environments",)),
    ("one mask for two", lambda: steps(np.zeros(8)), ("got 8 masks for 2",)),
    ("seed with a fraction", lambda: envs(2).reset(seed=1.5), ("seed must be None", "1.5")),  # type: ignore[arg-type]
    ("complex features", lambda: data(x_train=X[:8] * 1j), ("x_train must hold numbers only", "complex")),
    ("dates", lambda: data(x_val=np.full((4, 3), "2020-01-01", dtype="datetime64[D]")), ("x_val", "they are dates")),
    ("masked values", lambda: data(x_train=np.ma.masked_less(X[:8], 0)), ("x_train", "some are masked")),
    ("sparse shape", lambda: data(x_train=X[0]), ("x_train must have shape (rows, columns), got (3,)",)),
    ("NaN", lambda: data(x_train=with_value(X[:8], math.nan)), ("x_train holds nan at row 1, column 1 ('x1')",)),
    ("labels that overflow", lambda: data(y_val=[0, 1, -1e160, 2]), ("y_val holds -1e+160", "1e+150")),
    ("names as one text", lambda: data(feature_names="abc"), ("feature_names must be a list of names, got 'abc'",)),
    ("one training row", lambda: data(x_train=X[:1], y_train=Y[:1]), ("at least 2 training rows, got 1",)),
    ("two sizes", lambda: RegressionData.from_table(X, Y, sizes=(4, 4), split_seed=0), ("sizes must be three",)),  # type: ignore[arg-type]
    ("half a row", lambda: data().first_rows(2.5), ("cannot take 2.5 train rows",)),  # type: ignore[arg-type]
    ("plan without space", lambda: apply_plan(env().problem, pd.DataFrame({"row": [0], "k": [1]}), RNG), ("lacks", "space")),
    ("plan with a row before the first", lambda: augment_by(row=[-1]), ("row -1", "from 0 to 7")),
    ("plan with an unknown k", lambda: augment_by(k=[9]), ("option ('data', 9)",)),
    (
        "NaN as a probability",
        lambda: best_options(env().problem, np.full((8, 1), math.nan)),
        ("probabilities must lie in [0, 1]", "nan"),
    ),
    ("nothing to choose from", lambda: choose_plan(env().problem, [], 1, 0), ("at least one candidate",)),
    ("no training set", lambda: fit_regressors([], X, Y[:, None], ProblemConfig().regressor, []), ("a training set",)),
]
ROWS = np.zeros((2, 9), dtype=np.float32)


def network(row_size: int) -> ValueNetwork:
    return ValueNetwork(row_size, generator=torch.Generator().manual_seed(0))


AGENTS = [
    ("learning rate in words", lambda: ReinforceConfig(learning_rate="fast"), ("learning_rate must be a number", "'fast'")),  # type: ignore[arg-type]
    ("infinite learning rate", lambda: ReinforceConfig(learning_rate=math.inf), ("learning_rate", "inf")),
    ("infinite bonus", lambda: ReinforceVariantConfig(entropy_bonus=math.inf), ("entropy_bonus", "inf")),
    ("half a window", lambda: ReinforceConfig(window=1.5), ("ReinforceConfig.window must be a whole number, got 1.5",)),  # type: ignore[arg-type]
    ("a layer without nodes", lambda: ReinforceConfig(hidden_sizes=(64, 0)), ("hidden_sizes", "at least 1", "(64, 0)")),
    ("half a mask", lambda: CrossEntropyConfig(population=2.5), ("population must be a whole number, got 2.5",)),  # type: ignore[arg-type]
    ("no features", lambda: RandomSearchConfig(num_features=None), ("num_features must be a whole number",)),  # type: ignore[arg-type]
    ("no exploration", lambda: MaskRegressionConfig(exploration=None), ("exploration must be a number",)),  # type: ignore[arg-type]
    ("half a step", lambda: MetaGradientConfig(unroll=1.5), ("unroll must be a whole number, got 1.5",)),  # type: ignore[arg-type]
    ("settings that are none", lambda: SB3Config(settings=5), ("settings must be a mapping", "5")),  # type: ignore[arg-type]
    ("half a rollout", lambda: SB3Config(settings={"n_steps": 1.5}), ("n_steps must be a whole number, got 1.5",)),
    ("settings in place of a config", lambda: Reinforce({"window": 3}), ("config", "ReinforceConfig")),  # type: ignore[arg-type]
    ("config of another agent", lambda: CrossEntropy(ReinforceConfig()), ("config", "CrossEntropyConfig")),  # type: ignore[arg-type]
    ("negative seed", lambda: MaskRegression(seed=-1), ("seed must be a whole number of at least 0, got -1",)),
    ("seed in words", lambda: SB3Agent(seed="a"), ("seed must be", "'a'")),  # type: ignore[arg-type]
    ("no environment", lambda: Reinforce().learn(None, 8), ("environment", "got None")),  # type: ignore[arg-type]
    ("name of an environment", lambda: RandomSearch().learn("MixRL-v0", 8), ("environment", "'MixRL-v0'")),  # type: ignore[arg-type]
    ("another environment", lambda: MaskRegression().learn(gym.make("CartPole-v1"), 8), ("MultiBinary(B)", "Discrete(2)")),
    ("another environment still", lambda: MetaGradient().learn(ToyVectorEnv(4), 64), ("needs a MixRL environment",)),
    ("budget below an update", lambda: Reinforce().learn(ToyVectorEnv(4), 3), ("a budget of 3", "update of 4")),
    ("half a training", lambda: CrossEntropy().learn(ToyVectorEnv(4), 64.5), ("num_trainings must be", "64.5")),  # type: ignore[arg-type]
    ("budget in words", lambda: SB3Agent().learn(ToyVectorEnv(4), "64"), ("num_trainings must be", "'64'")),  # type: ignore[arg-type]
    ("long episodes", lambda: Reinforce().learn(envs(4, horizon=2), 8), ("episodes of one step", "horizon")),
    ("unknown device", lambda: SB3Agent(SB3Config(device="abacus")).learn(ToyVectorEnv(4), 64), ("device 'abacus'",)),
    ("rows of another size", lambda: network(4).logits(ROWS), ("rows must have shape (..., 4)", "(2, 9)")),
    (
        "rows of another size, kept by value",
        lambda: CrossEntropy().learn(ToyVectorEnv(4), 64).probabilities(ROWS),
        ("rows must have shape (..., 4)", "(2, 9)"),
    ),
    (
        "environments of another size",
        lambda: MaskRegression().learn(ToyVectorEnv(4), 4).learn(envs(), 4),
        ("rows must have shape (..., 4)", "(4, 8, 5)"),
    ),
    ("rows with NaN", lambda: network(9).logits(ROWS + math.nan), ("rows must be finite",)),
    ("a network without inputs", lambda: ValueNetwork(0), ("row_size", "at least 1, got 0")),
    ("before learning", lambda: RandomSearch().probabilities(ROWS), ("call learn() before probabilities()",)),
]


class Longer(LinearRegression):
    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.zeros(len(X) + 1)


class Words(LinearRegression):
    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.full(len(X), "much")


def fit(x: Any = X, y: Any = Y, estimator: Any = None, rows: Any = None, **settings: Any) -> MixRLSampler:
    judge = LinearRegression() if estimator is None else estimator
    return MixRLSampler(judge, **{"cv": 2, "random_state": 0} | settings).fit(x, y, **(rows or {}))


def predict(x: Any) -> None:
    MixRLRegressor(LinearRegression(), cv=2, random_state=0).fit(X, Y).predict(x)


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
ESTIMATORS = [
    ("no labels", lambda: fit(y=None), ("requires y to be passed",)),
    ("a label too few", lambda: fit(y=Y[:9]), ("inconsistent numbers of samples: [12, 9]",)),
    ("equal labels", lambda: fit(y=np.full(12, 7)), ("y is 7.0 in every row", "nothing to predict")),
    ("too few rows", lambda: fit(X[:3], Y[:3]), ("found 3 sample(s)", "minimum of 4")),
    ("one dimension", lambda: fit(X[:, 0]), ("Expected 2D array, got 1D array",)),
    ("infinity", lambda: fit(with_value(X, math.inf)), ("X contains inf in row 1, column 1",)),
    ("features that overflow", lambda: fit(with_value(X, 1e200)), ("X contains 1e+200 in row 1, column 1", "another unit")),
    ("labels that overflow", lambda: fit(y=with_value(Y, -1e200)), ("y contains -1e+200 in row 4", "another unit")),
    ("a column that overflows", lambda: fit(FRAME.assign(b=1e200)), ("X has 1e+200", "column 'b'", "another unit")),
    ("dates", lambda: fit(np.full((12, 3), "2020-01-01", dtype="datetime64[D]")), ("X holds dates",)),
    ("a text among numbers", lambda: fit(FRAME.assign(b=["1"] * 11 + ["oak"])), ("'oak'", "row 11", "column 'b'")),
    (
        "categories",
        lambda: fit(FRAME.assign(b=["oak", "elm"] * 6)),
        ("'b' ('elm', 'oak')", "categorical='within'", "'one_hot'"),
    ),
    ("a name twice", lambda: fit(FRAME.set_axis(["a", "a", "c"], axis=1)), ("2 columns called 'a'",)),
    ("one fold", lambda: fit(cv=1), ("cv must be a whole number of at least 2", "got 1")),
    ("folds in words", lambda: fit(cv="five"), ("cv must be", "'five'")),
    ("no time", lambda: fit(time_budget=0), ("time_budget must be None or a number above 0, got 0",)),
    ("no mixed rows", lambda: fit(max_mixed=-1), ("max_mixed must be None or a number above 0, got -1",)),
    ("unknown categorical", lambda: fit(categorical="drop"), ("'refuse', 'one_hot', 'within'", "'drop'")),
    ("rounding in words", lambda: fit(round_integers="yes"), ("round_integers must be True or False", "'yes'")),
    ("weights too few", lambda: fit(rows={"sample_weight": Y[:9]}), ("sample_weight must have shape (12,)", "(9,)")),
    ("negative weights", lambda: fit(rows={"sample_weight": -abs(Y)}), ("sample_weight", "not negative")),
    ("groups too few", lambda: fit(rows={"groups": Y[:9]}), ("inconsistent numbers of samples: [12, 9]",)),
    ("two groups", lambda: fit(rows={"groups": [0, 1] * 6}), ("found 2 different rows or groups", "minimum of 3")),
    ("a split that leaves a row", lambda: fit(cv=[([0], [1, 2])]), ("cv trains on 1 rows", "too few")),
    ("verbose in words", lambda: fit(verbose="yes"), ("verbose", "'yes'")),
    ("a scaler for a model", lambda: fit(estimator=StandardScaler()), ("estimator must be a regressor", "StandardScaler()")),
    (
        "a model that predicts too much",
        lambda: fit(estimator=Longer()),
        ("estimator must predict", "Longer()", "of shape (7,)"),
    ),
    ("a model that predicts words", lambda: fit(estimator=Words()), ("estimator must predict numbers", "Words()")),
    ("a model by name", lambda: fit(estimator="forest"), ("Cannot clone object", "forest")),
    ("an unknown strategy", lambda: fit(strategy="best"), ("'search', 'pretrained', 'none'", "'best'")),
    ("rows that are not looked at", lambda: MixRLSampler(strategy="pretrained").fit(X, Y, X_val=X, y_val=Y), ("leave X_val",)),
    ("half of the validation rows", lambda: MixRLSampler().fit(X, Y, X_val=X), ("X_val and y_val belong together",)),
    ("prediction from another width", lambda: predict(X[:, :2]), ("X has 2 features", "expecting 3")),
    ("prediction from NaN", lambda: predict(with_value(X, math.nan)), ("X contains NaN in row 1, column 1",)),
]
CALLS = [
    Call(part, *entry)
    for part, entries in (("environment", ENVIRONMENT), ("agents", AGENTS), ("estimators", ESTIMATORS))
    for entry in entries
]

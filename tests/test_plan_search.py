"""Features of rows and options, plans as actions, and the search for plans, on tables whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from experiments.methods import Trial, oracle, plan_search
from experiments.presets import PRESETS
from mixrl import PlanSearch, PlanSearchConfig
from mixrl.plan_search import plan_of, single_options
from mixrl_env import MixingProblem, MixRLVectorEnv, ProblemConfig, RegressionData, RegressorConfig, load_dataset
from mixrl_env.datasets.known import KNOWN
from mixrl_env.features import FEATURES
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import apply_plan
from mixrl_env.problem import Batch

OPTIONS = tuple(NeighborOption(space, k) for space in ("data", "label") for k in (1, 4, 16))
TINY = RegressorConfig(hidden_sizes=(16,), learning_rate=0.01, max_steps=200, eval_every=20)
SETTINGS: dict[str, Any] = {"options": OPTIONS, "regressor": TINY, "observe": ("features",), "action": "plan"}


def problem_of(name: str, **settings: Any) -> MixingProblem:
    return MixingProblem(load_dataset(name, 0), ProblemConfig.from_settings(SETTINGS | settings))


def every_row(problem: MixingProblem) -> Batch:
    return Batch(np.arange(len(problem.x_train)), np.zeros(len(problem.x_train), dtype=np.int64))


# Features


def test_distances_and_names_against_loops() -> None:
    problem = problem_of("noisy_corner")
    features, x = problem.features, problem.x_train
    y = problem.data.standardize_y(problem.data.y_train)
    assert features.shape == (60, len(OPTIONS), len(FEATURES))
    assert features.min() >= 0
    assert features.max() <= 1
    for index, (space, k) in enumerate(OPTIONS):
        points = x if space == "data" else y
        for row in range(0, 60, 7):
            distance = np.linalg.norm(points - points[row], axis=1)
            distance[row] = np.inf
            near = np.argsort(distance, kind="stable")[:k]
            for name, mean in (
                ("data_distance", np.linalg.norm(x[near] - x[row], axis=1).mean() / 2**0.5),
                ("label_distance", np.linalg.norm(y[near] - y[row], axis=1).mean()),
            ):
                assert features[row, index, FEATURES.index(name)] == pytest.approx(mean / (1 + mean), rel=1e-5)
            assert features[row, index, FEATURES.index("log_k")] == pytest.approx(np.log(k) / np.log(60), rel=1e-6)
            assert features[row, index, FEATURES.index("label_space")] == (space == "label")


def test_features_tell_what_is_true() -> None:
    """Noisy rows have large residuals and label errors, and mixing across a gap bends."""
    corner = problem_of("noisy_corner")
    noisy = KNOWN["noisy_corner"].in_first(corner.data.x_train)
    for name in ("residual", "label_error"):
        values = corner.features[:, 0, FEATURES.index(name)]
        assert values[noisy].mean() > 1.5 * values[~noisy].mean()
    bend = problem_of("gap").features[..., FEATURES.index("bend")].mean(axis=0)
    assert bend[3:].min() > 2 * bend[:3].max()  # label options against data options


def test_units_do_not_change_features() -> None:
    data = load_dataset("half_wiggly", 0)
    parts = {f"{kind}_{part}": getattr(data, f"{kind}_{part}") for kind in "xy" for part in ("train", "val")}
    scaled = RegressionData(**{name: 8 * values + (3 if name[0] == "x" else -5) for name, values in parts.items()})
    ours, theirs = (MixingProblem(own, ProblemConfig.from_settings(SETTINGS)).features for own in (data, scaled))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


# Plans as actions


def test_checkers_pass_with_plans() -> None:
    for check in (check_env, check_env_of_sb3):
        check(gym.make("MixRL-v0", data=load_dataset("gap", 0), step_budget=5, **SETTINGS).unwrapped)


def test_an_action_is_the_plan_that_is_applied() -> None:
    problem = problem_of("noisy_corner", schedule="constant", step_budget=10, pretrained=True)
    action = np.random.default_rng(0).integers(problem.action_sizes)
    chosen = problem.select(every_row(problem), action)
    for row, (data, label) in enumerate(action.reshape(60, 2)):
        own = {OPTIONS[option] for option in chosen.options[chosen.rows == row]}
        assert own == {OPTIONS[:3][c - 1] for c in (data,) if c} | {OPTIONS[3:][c - 1] for c in (label,) if c}
    options = [OPTIONS[option] for option in chosen.options]
    plan = {"row": chosen.rows, "space": [one.space for one in options], "k": [one.k for one in options]}
    x, y = apply_plan(problem, pd.DataFrame(plan), np.random.default_rng(0))
    [outcome], _ = problem.evaluate_selected([every_row(problem)], [chosen], [np.random.default_rng(5)])
    assert outcome.num_mixed == len(x) - 60
    fitted = problem.fit([(x, y)], [np.random.default_rng(5)], problem.reward_regressor, [problem.pretrained_weights])
    assert outcome.val_loss == pytest.approx(fitted.val_loss[0], rel=1e-6)


@pytest.mark.parametrize("action", [np.zeros(119), np.full(120, 4), np.full(120, -1), "all"])
def test_plans_that_are_refused(action: Any) -> None:
    problem = problem_of("noisy_corner")
    with pytest.raises(ValueError, match="must be a plan of shape"):
        problem.select(every_row(problem), action)


# The search


def test_single_options_are_policies_of_one_option() -> None:
    problem = problem_of("noisy_corner")
    features = problem.offer(every_row(problem))
    for name, theta in single_options(problem).items():
        data, label = plan_of(problem, theta, features).reshape(60, 2).T
        expected = {
            "no mixing": (0, 0),
            **{f"data distance, k = {k}": (at, 0) for at, k in enumerate((1, 4, 16), 1)},
            **{f"label distance, k = {k}": (0, at) for at, k in enumerate((1, 4, 16), 1)},
            **{f"k = {k}": (at, at) for at, k in enumerate((1, 4, 16), 1)},
        }[name]
        assert set(zip(data, label, strict=True)) == {expected}


class Known(MixRLVectorEnv):
    """The reward counts rows that the plan treats as it should: quiet rows mixed by data distance, noisy ones not at all."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, _, *ended, info = super().step(actions)
        noisy = KNOWN["noisy_corner"].in_first(self.problem.data.x_train)
        mixed = (actions.reshape(self.num_envs, 60, 2) > 0).any(axis=2)
        return state, (mixed != noisy).mean(axis=1), *ended, info


def test_finds_the_plan_that_is_rewarded() -> None:
    envs = Known(8, data=load_dataset("noisy_corner", 0), step_budget=1, **SETTINGS)
    curve: list[float] = []
    agent = PlanSearch(PlanSearchConfig(repeats=1), seed=0)
    agent.learn(envs, 400, lambda _, metrics: curve.append(metrics["reward/mean"]))
    assert agent.theta is not None
    assert agent.trainings <= 400
    assert max(agent.singles.values()) < 0.8 < np.mean(curve[-3:])
    rows = envs.problem.offer(every_row(envs.problem))
    mixed = (plan_of(envs.problem, agent.theta, rows).reshape(60, 2) > 0).any(axis=1)
    noisy = KNOWN["noisy_corner"].in_first(envs.problem.data.x_train)
    assert (mixed != noisy).mean() > 0.85
    assert ((agent.probabilities(rows).reshape(60, -1) > 0.5).any(axis=1) == mixed).all()


def test_same_seed_same_search() -> None:
    found = [
        PlanSearch(seed=seed).learn(MixRLVectorEnv(4, data=load_dataset("gap", 0), step_budget=5, **SETTINGS), 60).theta
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_least_budget_pays_for_one_generation() -> None:
    """Ten single options twice and 16 plans, each in whole steps of 12 environments; the logger gets the curve."""

    class Curve:
        lines: ClassVar[list[dict[str, Any]]] = [{}]

        def record(self, key: str, value: Any) -> None:
            self.lines[-1][key] = value

        def dump(self, step: int = 0) -> None:
            self.lines.append({})

    envs = MixRLVectorEnv(12, data=load_dataset("gap", 0), step_budget=5, **SETTINGS)
    with pytest.raises(ValueError, match="a budget of 47 trainings is below one update of 48"):
        PlanSearch().learn(envs, 47)
    agent = PlanSearch(logger=Curve()).learn(envs, 48)
    assert agent.theta is not None
    assert [line.get("trainings") for line in Curve.lines] == [48, None]
    assert agent.trainings == 48


def test_environments_of_masks_are_refused() -> None:
    envs = MixRLVectorEnv(4, data=load_dataset("gap", 0), **{**SETTINGS, "action": "mask"})
    with pytest.raises(ValueError, match="action='plan'"):
        PlanSearch().learn(envs, 400)


@pytest.mark.parametrize("method", [plan_search.augment, plan_search.augment_single, oracle.augment])
def test_methods_mix_rows_of_the_table(method: Any) -> None:
    settings = replace(PRESETS["plan_search"].on("noisy_corner"), regressor=TINY, trainings=64)
    problem = MixingProblem(load_dataset("noisy_corner", 0), ProblemConfig(regressor=TINY, step_budget=10))
    augmented = method(Trial(problem, settings, 0))
    [(x, y)] = augmented.sets
    np.testing.assert_array_equal(x[:60], problem.x_train)
    np.testing.assert_array_equal(y[:60], problem.data.y_train)
    assert len(augmented.choice.plans) == 1
    assert augmented.trainings > 0

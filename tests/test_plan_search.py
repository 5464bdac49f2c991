"""Features of rows and options, plans as actions, and the search for plans, on tables whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from experiments.methods import Trial, oracle, plan_search
from experiments.presets import PRESETS
from mixrl import CreditRegression, PlanSearch, PlanSearchConfig
from mixrl.plan_search import NUM_WEIGHTS, likely_policies, plan_of, scores_of, single_options
from mixrl_env import MixingProblem, MixRLVectorEnv, ProblemConfig, RegressionData, RegressorConfig, load_dataset
from mixrl_env.datasets.known import KNOWN
from mixrl_env.features import CONTEXT, FEATURES, _Judges
from mixrl_env.many_tables import OPTIONS as EVERY_OPTION
from mixrl_env.neighbors import NeighborOption
from mixrl_env.plans import apply_plan
from mixrl_env.problem import Batch

OPTIONS = tuple(NeighborOption(space, k) for space in ("data", "label") for k in (1, 4, 16))
TINY = RegressorConfig(hidden_sizes=(16,), learning_rate=0.01, max_steps=200, eval_every=20)
SETTINGS: dict[str, Any] = {
    "options": OPTIONS,
    "regressor": TINY,
    "observe": ("features",),
    "action": "plan",
    "detailed_info": True,
}


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


def test_context_against_its_parts() -> None:
    contexts = {name: problem_of(name).context for name in ("noisy_line", "gap")}
    problem = problem_of("gap")
    np.testing.assert_allclose(contexts["gap"][:8], problem.features[..., :8].mean(axis=(0, 1)), rtol=1e-6)
    assert contexts["gap"][-2:] == pytest.approx([np.log(60) / np.log(1000), 0])
    noise = {name: context[CONTEXT.index("noise")] for name, context in contexts.items()}
    assert noise["noisy_line"] > 3 * noise["gap"]
    both = problem_of("gap", observe=("features", "context"), action="mask")
    rows = both.observe(every_row(both))
    np.testing.assert_array_equal(rows[:, -len(CONTEXT) :], np.tile(contexts["gap"], (60, 1)))
    assert [len(bound) for bound in both.observation_bounds()] == [rows.shape[1]] * 2


def test_features_tell_what_is_true() -> None:
    """Noisy rows have large residuals and label errors, and mixing across a gap bends."""
    corner = problem_of("noisy_corner")
    noisy = KNOWN["noisy_corner"].in_first(corner.data.x_train)
    for name in ("residual", "label_error"):
        values = corner.features[:, 0, FEATURES.index(name)]
        assert values[noisy].mean() > 1.5 * values[~noisy].mean()
    bend = problem_of("gap").features[..., FEATURES.index("bend")].mean(axis=0)
    assert bend[3:].min() > 2 * bend[:3].max()  # label options against data options


def test_noisy_validation_rows_count_less() -> None:
    """Weights against loops, and on rows whose noise is known."""
    problem = problem_of("noisy_corner")
    weights, data = problem.val_weights, problem.data
    assert weights.mean() == pytest.approx(1)
    noisy = KNOWN["noisy_corner"].in_first(data.x_val)
    assert weights[noisy].mean() < 0.25 * weights[~noisy].mean()
    train, val = ((x, data.standardize_y(y)) for x, y in ((problem.x_train, data.y_train), (problem.x_val, data.y_val)))
    judge = _Judges(train, val, "cpu")
    square = ((val[1] - judge._fitted.predict(val[0]).mean(axis=0)) / judge.scale)[:, 0] ** 2
    local = [square[np.argsort(np.linalg.norm(val[0] - row, axis=1))[:15]].mean() for row in val[0]]
    expected = 1 / (np.array(local) + np.mean(local) / 4)
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_validation_rows_have_weights(count: int) -> None:
    data = load_dataset("gap", 0).first_rows(None, count)
    weights = MixingProblem(data, ProblemConfig.from_settings(SETTINGS)).val_weights
    assert weights.shape == (count,)
    assert weights.mean() == pytest.approx(1)


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
    """The losses count rows that the plan treats as it should not: quiet rows that are not mixed, noisy ones that are."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, _, *ended, info = super().step(actions)
        noisy = KNOWN["noisy_corner"].in_first(self.problem.data.x_train)
        mixed = (actions.reshape(self.num_envs, 60, 2) > 0).any(axis=2)
        wrong = (mixed == noisy).mean(axis=1)
        info["final_info"]["val_losses"] = np.tile(wrong[:, None], (1, len(self.problem.x_val)))
        return state, -wrong, *ended, info


def test_finds_the_plan_that_is_rewarded() -> None:
    envs = Known(8, data=load_dataset("noisy_corner", 0), step_budget=1, **SETTINGS)
    curve: list[float] = []
    agent = PlanSearch(PlanSearchConfig(repeats=1), seed=0)
    agent.learn(envs, 400, lambda _, metrics: curve.append(metrics["score/mean"]))
    assert agent.theta is not None
    assert agent.trainings <= 400
    assert max(agent.singles.values()) < -0.2 < np.mean(curve[-3:])
    rows = envs.problem.offer(every_row(envs.problem))
    mixed = (plan_of(envs.problem, agent.theta, rows).reshape(60, 2) > 0).any(axis=1)
    noisy = KNOWN["noisy_corner"].in_first(envs.problem.data.x_train)
    assert (mixed != noisy).mean() > 0.85
    assert ((agent.probabilities(rows).reshape(60, -1) > 0.5).any(axis=1) == mixed).all()


def test_prior_is_what_the_policy_for_all_tables_takes_for_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credits that are policies of the search themselves, scaled: mean and spread of their scores come back."""
    problem, rng = problem_of("noisy_corner", options=EVERY_OPTION), np.random.default_rng(0)
    rows = problem.offer(every_row(problem))
    thetas = np.zeros((200, 3, NUM_WEIGHTS))
    thetas[:, :2] = rng.normal(size=(2, NUM_WEIGHTS)) + 0.1 * rng.normal(size=(200, 2, NUM_WEIGHTS))
    credits = np.stack([scores_of(theta, rows) for theta in thetas])
    likely = SimpleNamespace(likely_credits=lambda seen, count, rng: credits.reshape(count, 60, 10).copy())
    monkeypatch.setattr(CreditRegression, "load", lambda: likely)
    mean, covariance = likely_policies(problem, rows, (0, 1), rng)
    found = np.zeros((500, 3, NUM_WEIGHTS))
    found[:, :2] = rng.multivariate_normal(mean, covariance, 500).reshape(500, 2, NUM_WEIGHTS)
    scores, scale = np.stack([scores_of(theta, rows) for theta in found]), credits.mean(axis=0).std()
    assert np.corrcoef(scores.mean(axis=0), credits.mean(axis=0))[0, 1] > 0.99
    np.testing.assert_allclose(scores.std(axis=0), credits.std(axis=0) / scale, rtol=0.4, atol=0.05)
    with pytest.raises(ValueError, match="prior needs all rows, and the options"):
        likely_policies(problem_of("noisy_corner", options=OPTIONS), rows, (0, 1), rng)
    envs = MixRLVectorEnv(8, data=problem.data, **vars(problem_of("noisy_corner", options=EVERY_OPTION, step_budget=5).config))
    agent = PlanSearch(PlanSearchConfig(population=8, prior=True, sigma=1e-9), 0).learn(envs, 8)
    assert agent.trainings == 8  # of one generation: no single option is tried
    assert agent.theta is not None
    np.testing.assert_allclose(agent.theta[:2].ravel(), mean, atol=1e-6)


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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"action": "mask"}, "action='plan'"),
        ({"detailed_info": False}, "detailed_info=True"),
        ({"observe": ("x",)}, 'observe=."features"'),
    ],
)
def test_environments_of_other_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    envs = MixRLVectorEnv(4, data=load_dataset("gap", 0), **{**SETTINGS, **setting})
    with pytest.raises(ValueError, match=message):
        PlanSearch().learn(envs, 400)


@pytest.mark.parametrize(
    "method",
    [
        plan_search.augment,
        plan_search.augment_single,
        plan_search.augment_single_weighted,
        plan_search.augment_by_rule,
        oracle.augment,
    ],
)
def test_methods_mix_rows_of_the_table(method: Any) -> None:
    settings = replace(PRESETS["plan_search"].on("noisy_corner"), regressor=TINY, trainings=64)
    problem = MixingProblem(load_dataset("noisy_corner", 0), ProblemConfig(regressor=TINY, step_budget=10))
    augmented = method(Trial(problem, settings, 0))
    [(x, y)] = augmented.sets
    np.testing.assert_array_equal(x[:60], problem.x_train)
    np.testing.assert_array_equal(y[:60], problem.data.y_train)
    assert len(augmented.choice.plans) == 1
    assert augmented.trainings > 0


def test_the_gain_is_corrected_for_the_choice() -> None:
    """Twenty plans that are as good as no mixing: the best of them seems to gain, and the corrected gain does not."""
    losses = np.random.default_rng(0).normal(1, 0.5, (20, 140))
    seeming = losses[0].mean() - losses.mean(axis=1).min()
    gain = plan_search._gain(losses, np.ones(140), 0, seed=0)
    assert seeming > 0.04
    assert gain["gain"] < seeming / 2
    assert gain["gain_low"] < 0 < gain["gain_high"]
    better = losses - np.arange(20)[:, None] / 20  # and where one is better, it is found and its gain is reported
    assert plan_search._gain(better, np.ones(140), 0, seed=0)["gain"] == pytest.approx(0.95, abs=0.1)


def test_info_tells_what_was_offered_and_every_loss() -> None:
    """A vector against a single environment, to the bit, and against the observation and the reward."""
    settings = {"regressor": TINY, "step_budget": 20, "detailed_info": True, "options": OPTIONS}
    envs, env = MixRLVectorEnv(2, data="gap", **settings), gym.make("MixRL-v0", data="gap", **settings)
    (batches, _), _ = envs.reset(seed=3), env.reset(seed=3)
    masks = np.ones(batches.shape[:2], dtype=np.int8)
    infos, info = envs.step(masks)[4]["final_info"], env.step(masks[0])[4]
    for name in ("val_losses", "rows", "options"):
        np.testing.assert_array_equal(infos[name][0], info[name])
    np.testing.assert_allclose(infos["val_losses"].mean(axis=1), infos["val_loss"], rtol=1e-5)
    np.testing.assert_array_equal(infos["rows"], [np.arange(60)] * 2)
    np.testing.assert_array_equal(batches[:, :, 2:].argmax(axis=2), infos["options"])

"""Generated tables, and the environment whose episodes are about one of them each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from experiments.studies import many_tables
from experiments.studies.many_tables import ManyTables
from mixrl import Reinforce, ReinforceConfig, RowPolicy, SB3VecEnv
from mixrl_env import RegressorConfig, fit_regressors
from mixrl_env.datasets.generated import FAMILIES, HELD_OUT, NOISES, Part, generate_table
from mixrl_env.env import training_rng
from mixrl_env.features import FEATURES
from mixrl_env.many_tables import OPTIONS, Instance, MixRLTablesEnv, MixRLTablesVectorEnv, instance
from mixrl_env.problem import Batch
from tests.studies import as_results, compute_all

TINY = RegressorConfig(hidden_sizes=(16,), learning_rate=0.01, max_steps=200, eval_every=20)
ARGUMENTS: dict[str, Any] = {"num_tables": 3, "num_rows": 40, "regressor": TINY}


# The distribution


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**31), part=st.sampled_from(get_args(Part)))
def test_a_seed_draws_the_same_table_with_labels_of_order_1(seed: int, part: Part) -> None:
    table, again = generate_table(seed, part), generate_table(seed, part)
    data, n, d = table.data, *table.data.x_train.shape
    assert 30 <= n <= 1000
    assert 1 <= d <= 200
    for name in ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, name), getattr(again.data, name))
    truth = data.y_test
    assert truth is not None
    assert len(truth) == 1000
    assert truth.std() < 2
    assert table.noise_sd.shape == (n,)
    assert (table.noise_sd >= 0).all()


def test_parts_have_their_own_tables_and_families() -> None:
    drawn = {part: [generate_table(seed, part) for seed in range(60)] for part in get_args(Part)}
    for one, other in pairwise(drawn.values()):
        assert all(a.data.x_train.shape != b.data.x_train.shape for a, b in zip(one, other, strict=True))
    for part, tables in drawn.items():
        assert {table.family for table in tables} == set(HELD_OUT if part == "held out" else FAMILIES)
        assert {table.noise for table in tables} == set(NOISES)


def test_labels_have_the_noise_that_is_said() -> None:
    """Labels minus the function, which nearby noise-free test rows of a wave in one column show."""
    tables = (generate_table(seed) for seed in range(400))
    found = 0
    for table in tables:
        data = table.data
        if data.x_train.shape[1] > 1 or len(data.x_train) < 200 or table.noise == "tails":
            continue
        assert data.x_test is not None
        assert data.y_test is not None
        nearest = np.abs(data.x_train - data.x_test.T).argmin(axis=1)
        noise = (data.y_train - data.y_test[nearest])[:, 0]
        assert noise.std() == pytest.approx(np.sqrt(np.square(table.noise_sd).mean()), rel=0.3, abs=0.1)
        found += 1
    assert found >= 5


@pytest.mark.parametrize(
    ("seed", "part", "message"),
    [(-1, "training", "table_seed"), (0.5, "training", "table_seed"), (0, "train", "part must be one of 'training', 'val")],
)
def test_bad_tables(seed: Any, part: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_table(seed, part)


# The environment


def make(**changes: Any) -> MixRLTablesEnv:
    env = gym.make("MixRL-Tables-v0", **(ARGUMENTS | changes)).unwrapped
    assert isinstance(env, MixRLTablesEnv)
    return env


@pytest.mark.filterwarnings("ignore:.*unconventional shape")
def test_checkers_pass() -> None:
    for action in ("mask", "plan"):
        check_env(make(action=action), skip_render_check=True)
        check_for_sb3(make(action=action))


def test_an_episode_against_its_parts() -> None:
    """Observation and reward from features, plain training and the loss on noise-free rows."""
    env = make()
    rows, info = env.reset(seed=0, options={"table_seed": 1})
    own, n = env.instance, info["num_rows"]
    assert info == {"table_seed": 1, "num_rows": min(len(generate_table(1).data.x_train), 40)}
    batch = env._batch
    assert batch is not None
    np.testing.assert_array_equal(rows[:n, : len(FEATURES)], own.problem.features[np.arange(n), batch.options])
    np.testing.assert_array_equal(rows[:n, len(FEATURES) :], np.tile(own.problem.context, (n, 1)))
    assert not rows[n:].any()
    mask = (np.arange(40) % 2).astype(np.int8)
    rng = np.random.default_rng()
    rng.bit_generator.state = env.np_random.bit_generator.state
    _, reward, terminated, truncated, info = env.step(mask)
    assert (terminated, truncated) == (True, False)
    chosen = np.flatnonzero(mask[:n])
    own_rng = training_rng(rng)
    train = own.problem.augmented(Batch(chosen, batch.options[chosen]), own_rng)
    data = own.data
    fitted = fit_regressors([train], data.standardize_x(data.x_val), data.y_val, TINY, [own_rng], labels=data.label_scale)
    assert data.x_test is not None
    loss = np.square(fitted.predict(data.standardize_x(data.x_test))[0] - data.y_test).mean()
    assert reward == pytest.approx(np.log(np.sqrt(own.loss) / np.sqrt(loss)))
    assert info["test_rmse"] == pytest.approx(np.sqrt(loss))
    assert info["num_selected"] == len(chosen)
    assert info["num_mixed"] == len(train[0]) - n


def test_nothing_mixed_gains_nothing_on_average() -> None:
    env, rewards = make(), []
    for seed in range(30):
        env.reset(seed=seed, options={"table_seed": seed % 3})
        rewards.append(env.step(np.zeros(40, dtype=np.int8))[1])
    assert abs(np.mean(rewards)) < 3 * np.std(rewards) / 30**0.5 + 0.005


def test_plans_against_their_parts() -> None:
    """Each row with every option is offered, and an action takes one option a row and distance."""
    env = make(action="plan")
    rows, info = env.reset(seed=1, options={"table_seed": 2})
    problem, n = env.instance.problem, info["num_rows"]
    assert rows.shape == (400, 21)
    np.testing.assert_array_equal(rows[: 10 * n, : len(FEATURES)], problem.features.reshape(10 * n, -1))
    assert not rows[10 * n :].any()
    plan = np.zeros((40, 2), dtype=np.int64)
    plan[0], plan[1], plan[n:] = (3, 0), (1, 5), 2
    state = env.np_random.bit_generator.state
    _, reward, *_, info = env.step(plan.ravel())
    assert info["num_selected"] == 3
    assert 16 < info["num_mixed"] <= 4 + 1 + 16  # mixed rows that come twice are dropped
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    loss, _ = instance("training", 2, 40, TINY, "plan").train(
        Batch(np.array([0, 1, 1]), np.array([2, 0, 9])), training_rng(rng)
    )
    assert reward == 0.5 * np.log(instance("training", 2, 40, TINY, "plan").loss / loss)


def test_padding_is_ignored() -> None:
    table = next(seed for seed in range(50) if len(generate_table(seed).data.x_train) < 40)
    rewards = []
    for beyond in (0, 1):
        env = make(num_tables=None)
        _, info = env.reset(seed=3, options={"table_seed": table})
        mask = np.ones(40, dtype=np.int8)
        mask[info["num_rows"] :] = beyond
        rewards.append(env.step(mask)[1])
    assert rewards[0] == rewards[1]


def test_tables_are_drawn_from_the_first_ones_of_the_part() -> None:
    env = make(part="held out")
    seeds = {env.reset(seed=seed)[1]["table_seed"] for seed in range(30)}
    assert seeds == {0, 1, 2}
    assert env.instance.table.family in HELD_OUT


def test_a_vector_does_what_single_environments_do() -> None:
    vector = gym.make_vec("MixRL-Tables-v0", num_envs=3, vectorization_mode="vector_entry_point", **ARGUMENTS)
    assert isinstance(vector, MixRLTablesVectorEnv)
    singles = [make() for _ in range(3)]
    rows, _ = vector.reset(seed=5)
    offered = [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)]
    for step in range(2):
        np.testing.assert_array_equal(rows, offered)
        masks = np.random.default_rng(step).integers(0, 2, (3, 40)).astype(np.int8)
        rows, rewards, terminated, _, infos = vector.step(masks)
        ends = [env.step(mask) for env, mask in zip(singles, masks, strict=True)]
        assert terminated.all()
        np.testing.assert_array_equal(rewards, [end[1] for end in ends])
        for name, values in infos["final_info"].items():
            if not name.startswith("_"):
                np.testing.assert_array_equal(values, [end[4][name] for end in ends])
        offered = [env.reset()[0] for env in singles]


def test_environments_that_share_a_seed_of_tables_offer_the_same() -> None:
    vector = MixRLTablesVectorEnv(2, tables_seed=4, **ARGUMENTS)
    rows, _ = vector.reset(seed=0)
    for _ in range(3):
        np.testing.assert_array_equal(rows[0], rows[1])
        rows, rewards, *_ = vector.step(np.ones((2, 40), dtype=np.int8))
        assert rewards[0] != rewards[1]  # other weights and minibatches
    assert not np.array_equal(rows[0], MixRLTablesVectorEnv(1, tables_seed=5, **ARGUMENTS).reset(seed=0)[0][0])


def test_a_saved_environment_goes_on() -> None:
    env, other = make(), make()
    env.reset(seed=2)
    env.step(np.ones(40, dtype=np.int8))
    env.reset()
    other.reset(seed=9)
    other.load_state_dict(env.state_dict())
    ends = [one.step(np.ones(40, dtype=np.int8)) for one in (env, other)]
    assert ends[0][1] == ends[1][1]
    np.testing.assert_array_equal(env.reset()[0], other.reset()[0])


def test_agents_learn_on_it_unchanged() -> None:
    vector = MixRLTablesVectorEnv(2, **ARGUMENTS)
    agent = Reinforce(ReinforceConfig(hidden_sizes=(8,))).learn(vector, 6)
    p = agent.probabilities(vector.reset(seed=0)[0])
    assert p.shape == (2, 40)
    PPO(RowPolicy, SB3VecEnv(vector), n_steps=2, batch_size=4, n_epochs=1, seed=0).learn(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "all"}, "part must be one of"),
        ({"num_tables": 0}, "num_tables must be a whole number of at least 1, got 0"),
        ({"num_rows": 29}, "num_rows must be a whole number of at least 30, got 29"),
        ({"num_rows": None}, "num_rows must be a whole number"),
        ({"regressor": {"nodes": 3}}, "unknown regressor setting 'nodes'"),
        ({"render_mode": "human"}, "render_mode must be"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixRLTablesEnv(**arguments)


def test_bad_calls() -> None:
    env = make(render_mode="ansi")
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(np.ones(40, dtype=np.int8))
    with pytest.raises(ValueError, match="unknown option 'seed' of reset; known: table_seed"):
        env.reset(options={"seed": 1})
    with pytest.raises(ValueError, match="table_seed"):
        env.reset(options={"table_seed": -1})
    env.reset(seed=0)
    for bad in (np.ones(39, dtype=np.int8), np.full(40, 2), np.full(40, 0.5), np.full(40, np.nan), np.full(40, "a")):
        with pytest.raises(ValueError, match=r"the action must be of MultiBinary\(40\)"):
            env.step(bad)
    assert env.render() == "no step yet"
    env.step(np.ones(40, dtype=np.int8))
    assert "reward" in str(env.render())


# The study


def test_study_of_agents_on_unseen_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_tables, "SMALL_REGRESSOR", RegressorConfig(hidden_sizes=(8,), max_steps=50))
    study = ManyTables(agents=("Fixed rule", "REINFORCE", "Pretrained"), num_tables=2, trainings=32, unseen=2, repeats=2)
    stored = compute_all(study)
    assert len(stored) == 3 * 2 * 2
    assert stored["mixed_share"].between(0, 1).all()
    rule = stored[stored["agent"] == "Fixed rule"]
    own = instance("held out", 1, 256, RegressorConfig(hidden_sizes=(8,), max_steps=50))
    assert (rule.iloc[-1][["part", "table_seed"]] == ["held out", 1]).all()
    assert rule.iloc[-1][["family", "noise"]].tolist() == [own.table.family, own.table.noise]
    learned = stored["agent"] == "Pretrained"
    assert stored.loc[learned, "expected"].le(0).all()
    assert stored.loc[~learned, "expected"].isna().all()
    expected = np.where(learned, -0.1 * (1 + stored["table_seed"]), np.nan)
    rows = stored.assign(log_ratio=np.where(stored["part"] == "test", 0.03, -0.01), expected=expected)
    (_, table), (_, calibration) = ManyTables.tables(as_results(rows))
    assert calibration["Agent"].unique().tolist() == ["Pretrained"]
    assert calibration["Expected"].tolist() == ["-20.0", "-10.0"] * 2
    assert calibration["Was"].tolist() == ["+3.0"] * 2 + ["-1.0"] * 2
    assert table["Log ratio of the RMSE"].tolist() == ["+3.0 [+3.0, +3.0]", "-1.0 [-1.0, -1.0]"] * 3
    assert table["Worse than +2"].tolist() == ["100%", "0%"] * 3
    figures = ManyTables.draw(as_results(rows), tmp_path)
    assert [figure.name for figure in figures] == ["unseen.png", "expected.png"]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)


def test_rewards_on_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan search gives its own plan; a policy that is adapted expects a gain of its own."""
    monkeypatch.setattr(many_tables, "SMALL_REGRESSOR", TINY)
    own = Instance("validation", 0, 40, TINY, "plan")
    for trainings, prior in ((90, False), (20, True)):
        plan, expected = many_tables._plan_search(trainings, prior, own)
        assert np.isnan(expected)
        assert (plan.rows < len(own.data.x_train)).all()
        assert (plan.options < len(OPTIONS)).all()
    plan, expected = many_tables._adapted(12, own)
    assert expected >= 0
    assert (expected > 0) == (len(plan.rows) > 0)


def test_fixed_rule() -> None:
    own = instance("training", 0, 40, TINY)
    problem = own.problem
    error = problem.features[..., FEATURES.index("label_error")]
    for distance, limit in (("label", 1.0), ("both", np.inf)):
        mixed = {*zip(*many_tables._by_rule(4, distance, limit, own)[0], strict=True)}
        for row, option in np.ndindex(error.shape):
            space, k = problem.options[option]
            expected = k == 4 and distance in (space, "both") and error[row, option] < (0.5 if limit == 1 else 1.1)
            assert ((row, option) in mixed) == expected


def test_instances_are_made_once() -> None:
    assert instance("training", 0, 40, TINY) is instance("training", 0, 40, TINY)


def test_scores_are_shares_of_the_oracles_gain() -> None:
    """Of mean gains, not the mean of shares; agents with two seeds are averaged table by table."""
    ratios = {
        "Oracle": [[-0.4, -0.1, -0.1]],
        "Pretrained": [[-0.3, 0.1, -0.1]],
        "REINFORCE": [[0.0, -0.2, 0.0], [0.0, 0.0, 0.2]],
    }
    common = {"part": "test", "seconds": 0.0, "seconds_here": 0.0, "mixed_share": 0.5, "expected": np.nan}
    rows = [
        common | {"agent": agent, "seed": seed, "table_seed": table, "log_ratio": value}
        for agent, seeds in ratios.items()
        for seed, values in enumerate(seeds)
        for table, value in enumerate(values)
    ]
    table = ManyTables.tables(as_results(pd.DataFrame(rows)))[0][1].set_index("Agent")
    scores = {agent: float(score.split()[0]) for agent, score in table["Score"].items()}
    assert scores == {"Oracle": 1.0, "Pretrained": 0.5, "REINFORCE": 0.0}


def test_only_agents_that_learn_have_several_seeds() -> None:
    cells = ManyTables(agents=("Pretrained", "Oracle", "REINFORCE"), seeds=(3, 4)).cells()
    assert [cell.name for cell in cells] == ["pretrained-seed3", "oracle-seed3", "reinforce-seed3", "reinforce-seed4"]

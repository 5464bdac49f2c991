"""The study that compares agents: its cells on a tiny problem, its tables against loops, and the verb that runs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.__main__ import main
from experiments.kinds import read_study
from experiments.studies import agents as study
from experiments.studies.agents import AGENTS, AgentComparison, _Judge
from experiments.studies.agents_shown import curves
from mixrl_env import MixRLVectorEnv, RegressorConfig
from tests.studies import as_results, compute

TINY = replace(
    study._SETTINGS,
    regressor=RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=60),
    step_budget=5,
    options=(("data", 1), ("data", 4), ("label", 2)),
    train_rows=None,
    tuning_repeats=1,
    final_trainings=2,
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_SETTINGS", TINY)


def tiny_judge(masks: int = 4) -> _Judge:
    envs = gym.make_vec("MixRL-NO2-v0", 2, "vector_entry_point", **TINY.env_settings())
    assert isinstance(envs, MixRLVectorEnv)
    return _Judge(envs.problem, masks, 0)


@pytest.mark.usefixtures("tiny")
def test_agents_of_each_sort_run_within_their_budget() -> None:
    some = ("No Augmentation", "nothing learned", "Algorithm 1", "MaskRegression", "MetaGradient", "PPO, flat")
    comparison = AgentComparison(splits=(3,), trainings=128, masks=2, agents=some)
    for name, cell in zip(some, comparison.cells(), strict=True):
        make_agent = AGENTS[name][1]
        rows = compute(cell)
        assert set(rows["agent"]) == {name}
        assert set(rows["split_seed"]) == {3}
        masks, final = rows[rows["level"] == "masks"], rows[rows["level"] == "final"]
        assert len(final) == 1
        assert np.isfinite(final[["val_rmse", "test_rmse", "val_rmse_averaged", "test_rmse_averaged"]]).all(axis=None)
        if make_agent is None:
            assert final["trainings"].item() == 0
        else:
            assert masks["trainings"].is_monotonic_increasing
            assert masks["trainings"].iloc[-1] == final["trainings"].item() == 128
            assert 2 <= len(masks) <= 8
            assert masks["seconds"].is_monotonic_increasing
            assert final["seconds"].item() >= masks["seconds"].iloc[-1]
            assert masks["mean_p"].between(0, 1).all()


class ByHand:
    """An agent whose probability is a known function of the row, and that insists on whole batches."""

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        assert rows.shape[1] == 200
        return 1 / (1 + np.exp(-rows[..., 0] - 2 * rows[..., -1]))


def test_probabilities_are_put_where_they_belong() -> None:
    judge = tiny_judge()
    problem = judge.problem
    every = problem.observe(problem.every_row_and_option())
    p = judge.probabilities(ByHand())  # type: ignore[arg-type]
    assert p.shape == (200, 3)
    np.testing.assert_allclose(p.ravel(), 1 / (1 + np.exp(-every[:, 0] - 2 * every[:, -1])))


def test_policies_are_looked_at_by_masks_drawn_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = tiny_judge(200)
    seen: list[np.ndarray] = []
    evaluate = judge.problem.evaluate
    monkeypatch.setattr(
        judge.problem, "evaluate", lambda *arguments: seen.append(arguments) or evaluate(*[part[:2] for part in arguments])
    )
    p = np.random.default_rng(0).random(judge.shape)
    judge.look(p)
    judge.look(np.zeros(judge.shape))
    batches, masks, _ = seen[0]
    again, nothing, _ = seen[1]
    count, chosen = np.zeros(judge.shape), np.zeros(judge.shape)
    for batch, other, mask in zip(batches, again, masks, strict=True):
        assert np.array_equal(batch.options, other.options)  # the same draws for all policies
        np.add.at(count, (batch.rows, batch.options), 1)
        np.add.at(chosen, (batch.rows, batch.options), mask)
    deviation = (chosen - count * p) / np.sqrt(count * p * (1 - p))
    assert abs(deviation.mean()) < 0.15
    assert 0.9 < deviation.std() < 1.1
    assert not np.any(nothing)


def stored_rows(
    splits: int, agents: tuple[str, ...] = ("No Augmentation", "nothing learned", "Algorithm 1", "PPO")
) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for split in range(splits):
        for agent in agents:
            shared = {"dataset": "no2", "split_seed": split, "agent": agent, "seconds": 60.0, "cpu_seconds": 30.0}
            looks = {"No Augmentation": [], "nothing learned": [0]}.get(agent, [16, 32, 48, 64])
            for trainings in looks:
                p = {"mean_p": rng.uniform(0.2, 0.8), "sd_p": rng.uniform(0, 0.5)}
                rows.append({**shared, "level": "masks", "trainings": trainings, "val_rmse": rng.normal(0.5, 0.02), **p})
            names = ("val_rmse", "test_rmse", "val_rmse_averaged", "test_rmse_averaged")
            scores = {name: rng.normal(0.5, 0.02) for name in names}
            rows.append({**shared, "level": "final", "trainings": max(looks, default=0), **scores})
    return pd.DataFrame(rows)


def test_curves_against_loops() -> None:
    stored = stored_rows(12)
    found = curves(stored.sample(frac=1, random_state=0))
    for _, point in found.iterrows():
        gains = []
        for split in range(12):
            own = stored[(stored["split_seed"] == split) & (stored["level"] == "masks")]
            value = own[(own["agent"] == point["agent"]) & (own["trainings"] == point["trainings"])]["val_rmse"].item()
            gains.append(value - own[own["agent"] == "nothing learned"]["val_rmse"].item())
        assert point["gain"] == pytest.approx(np.mean(np.sort(gains)[3:9]))
        other = stats.bootstrap((gains,), lambda g, axis: stats.trim_mean(g, 0.25, axis=axis), method="percentile", rng=1)
        assert point["low"] == pytest.approx(other.confidence_interval.low, abs=0.002)
        assert point["high"] == pytest.approx(other.confidence_interval.high, abs=0.002)
        assert point["low"] < point["gain"] < point["high"]
    assert len(found) == 8


def test_tables() -> None:
    (_, curve), (_, final) = AgentComparison.tables(as_results(stored_rows(12)))
    assert list(curve["Agent"]) == ["Algorithm 1", "PPO"]  # in the order of AGENTS
    assert list(curve.columns[2:]) == ["16 trainings", "32 trainings", "64 trainings", "p at the end, mean ± SD"]
    last = stored_rows(12).query("agent == 'PPO' and level == 'masks' and trainings == 64")[["mean_p", "sd_p"]].mean()
    assert curve.set_index("Agent").loc["PPO", "p at the end, mean ± SD"] == "{:.2f} ± {:.2f}".format(*last)
    assert list(final["Agent"]) == ["No Augmentation", "nothing learned", "Algorithm 1", "PPO"]
    stored = stored_rows(12)
    ours, theirs = (
        stored[(stored["level"] == "final") & (stored["agent"] == name)]["test_rmse"].to_numpy()
        for name in ("PPO", "Algorithm 1")
    )
    interval = stats.ttest_rel(ours, theirs).confidence_interval()
    row = final.set_index("Agent").loc["PPO"]
    assert row["Test, against Algorithm 1"] == f"{(ours - theirs).mean():+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    assert row["Test RMSE"] == f"{ours.mean():.4f}"
    assert (row["Minutes"], row["CPU min."], row["Splits"], row["Trainings"]) == ("1.0", "0.5", 12, "64")


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "agents"
    flags = ["--agents", "No Augmentation", "--splits", "0", "--dataset", "gap", "--out", str(folder), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["experiments", "compare", *flags])
    main()
    assert (folder / "cells" / "gap-split0-no-augmentation.json").exists()
    assert "Final regressors" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["experiments", "compare", *flags, "--trainings", "64"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "with trainings = 1024, now 64" in capsys.readouterr().err
    stored = read_study(folder / "study.toml")
    assert isinstance(stored, AgentComparison)
    assert stored.agents == ("No Augmentation",)

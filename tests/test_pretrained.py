"""The policy that ships with the package: how it is learned, and what it does with tables that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments import pretrain as verb
from experiments.methods import Trial, method_of
from experiments.presets import PRESETS, SMALL_REGRESSOR, with_changes
from experiments.pretrain import pretrain
from mixrl import CreditRegression
from mixrl.credit_regression import PRETRAINED
from mixrl_env import MixingProblem, ProblemConfig, RegressorConfig, load_dataset
from mixrl_env.many_tables import OPTIONS, instance


def test_the_verb_learns_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "SMALL_REGRESSOR", RegressorConfig(hidden_sizes=(8,), max_steps=50))
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    pretrain(2, 48, 0, once, tmp_path / "a")
    pretrain(2, 32, 0, twice, tmp_path / "b")
    pretrain(2, 48, 0, twice, tmp_path / "b", resume=True)
    assert once.read_bytes() == twice.read_bytes()
    assert CreditRegression.load(once).trainings == 48
    assert b"experiments pretrain --tables 2 --trainings 48 --seed 0" in once.read_bytes()
    with pytest.raises(ValueError, match=r"--out must end in \.safetensors"):
        pretrain(2, 48, 0, tmp_path / "a.pt", tmp_path / "c")


def test_what_ships_is_small_and_its_plan_is_made_of_rows_and_options() -> None:
    assert PRETRAINED.stat().st_size < 1e6
    problem = instance("test", 0, 60, RegressorConfig(hidden_sizes=(8,), max_steps=50)).problem
    agent = CreditRegression.load()
    plan, gain = agent.plan(problem)
    credit = agent.credit(problem.observe(problem.every_row_and_option())).reshape(-1, len(OPTIONS))
    n = len(problem.x_train)
    best = np.stack([credit[:, :5].max(axis=1), credit[:, 5:].max(axis=1)])
    promised = float(np.maximum(best, 0).sum() / n)
    assert gain == pytest.approx(promised if promised > agent.config.least_gain else 0)
    assert (len(plan.rows) > 0) == (promised > agent.config.least_gain)


def test_method() -> None:
    """The final training set is the plan's; validation rows are in no plan, and no reward is spent."""
    settings = with_changes(PRESETS["plan_search"], {"agent": "pretrained"})
    problem = MixingProblem(load_dataset("noisy_corner", 0), ProblemConfig(regressor=SMALL_REGRESSOR))
    made = method_of("MixRL (pretrained)")(Trial(problem, settings, 0))
    ((x, _),), plan = made.sets, made.tables["plan"]
    np.testing.assert_array_equal(x[:60], problem.x_train)
    assert made.trainings == 0
    assert (
        (len(x) > 60) == (len(plan) > 0) == (made.choice.plans == ("pretrained",)) == (made.choice.parameters["expected"] > 0)
    )
    assert not plan.duplicated(["row", "space"]).any()

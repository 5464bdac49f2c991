"""The policy that ships with the package: how it is learned, and what it does with tables that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments import experience
from experiments.experience import TriedPlans, judged
from experiments.methods import Trial, method_of
from experiments.presets import PRESETS, SMALL_REGRESSOR, with_changes
from experiments.pretrain import pretrain
from experiments.studies import credit
from experiments.studies.credit import Credit
from mixrl import CreditRegression, CreditRegressionConfig
from mixrl.credit_regression import PRETRAINED, Experience
from mixrl_env import MixingProblem, ProblemConfig, RegressorConfig, fit_regressors, load_dataset
from mixrl_env.features import FEATURES
from mixrl_env.many_tables import OPTIONS, instance
from mixrl_env.problem import Batch
from mixrl_env.streams import stream
from tests.studies import as_results, compute_all

TINY = RegressorConfig(hidden_sizes=(8,), max_steps=50)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience, "SMALL_REGRESSOR", TINY)
    monkeypatch.setattr(experience, "MOST_ROWS", 40)
    monkeypatch.setattr(experience, "PLANS", (4, 2))
    monkeypatch.setattr(credit, "PLANS", (4, 2))


@pytest.mark.usefixtures("tiny")
def test_the_verb_learns_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in the second round, and started again, it learns the same."""
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    pretrain(3, 2, 0, once, tmp_path / "a")
    assert CreditRegression.load(once).num_plans == 3 * 6
    assert b"experiments pretrain --tables 3 --validation 2 --seed 0" in once.read_bytes()
    write = experience.write_bytes

    def stop(content: bytes, path: Path) -> None:
        if path.name == "1-1.npz":
            raise KeyboardInterrupt
        write(content, path)

    monkeypatch.setattr(experience, "write_bytes", stop)
    with pytest.raises(SystemExit, match="130"):
        pretrain(3, 2, 0, twice, tmp_path / "b")
    monkeypatch.setattr(experience, "write_bytes", write)
    assert (tmp_path / "b" / "3-0" / "0-1.npz").exists()
    (tmp_path / "b" / "3-0" / "2-0.npz").write_bytes(b"half a file")
    pretrain(3, 2, 0, twice, tmp_path / "b")
    assert once.read_bytes() == twice.read_bytes()
    for arguments, message in (
        ((3, 2, 0, tmp_path / "a.pt"), r"--out must end in \.safetensors"),
        ((0, 2, 0, once), "--tables and --validation must be at least 1, got 0 and 2"),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain(*arguments, tmp_path / "c")


@pytest.mark.usefixtures("tiny")
def test_experience_against_its_parts(tmp_path: Path) -> None:
    """What is kept of a plan is what a training of its mixed rows gains."""
    tried = TriedPlans(tmp_path, 2)
    tried.add_round(0, CreditRegression(), 3, lambda done: None)
    _, (rows, mixed, gains) = tried.experiences(1)
    own = instance("training", 1, 40, TINY, "plan")
    problem = own.problem
    np.testing.assert_array_equal(rows[..., :10], problem.features)
    np.testing.assert_array_equal(rows[..., 10:], np.broadcast_to(problem.context, (*rows.shape[:2], 11)))
    assert mixed.shape == (3, len(problem.x_train), 10)
    for number, (plan, gain) in enumerate(zip(mixed, gains, strict=True)):
        assert (plan[:, :5].sum(axis=1) <= 1).all()  # an option a row and distance
        (of_data, k), (of_label, other) = np.nonzero(plan[:, :5]), np.nonzero(plan[:, 5:])
        selected = Batch(np.append(of_data, of_label), np.append(k, other + 5))
        train, rng = problem.augmented(selected, np.random.default_rng()), stream(1, "trainings to learn from", 0, number)
        data = own.data
        fitted = fit_regressors([train], data.standardize_x(data.x_val), data.y_val, TINY, [rng], labels=data.label_scale)
        loss = np.square(fitted.predict(data.standardize_x(data.x_test)) - data.y_test).mean()  # type: ignore[arg-type]
        assert gain == pytest.approx(np.log(np.sqrt(own.loss / loss)))


@pytest.mark.usefixtures("tiny")
def test_judged() -> None:
    """By the averaged predictions of regressors without and with mixing; what mixes nothing gains nothing."""
    agent = CreditRegression(CreditRegressionConfig(num_features=5))
    agent.fit([Experience(np.full((2, 10, 21), 0.3, np.float32), np.ones((3, 2, 10), dtype=bool), np.ones(3))])
    promised, gains = judged([agent], "validation", 2, lambda done: None)
    own = instance("validation", 1, 40, TINY, "plan")
    plan, promise = agent.plan(own.problem)
    assert promise == promised[1, 0] > 0
    losses = []
    for selected in (plan, Batch(plan.rows[:0], plan.options[:0])):
        train, data = own.problem.augmented(selected, np.random.default_rng()), own.data
        rngs = [stream(1, "regressors of plans", repeat) for repeat in range(experience.REPEATS)]
        val = data.standardize_x(data.x_val), data.y_val
        fitted = fit_regressors([train] * len(rngs), *val, TINY, rngs, labels=data.label_scale)
        predicted = fitted.predict(data.standardize_x(data.x_test)).mean(axis=0)  # type: ignore[arg-type]
        losses.append(np.square(predicted - data.y_test).mean())
    assert gains[1, 0] == pytest.approx(np.log(np.sqrt(losses[1] / losses[0])))
    agent.calibrate(np.array([1e9]), np.array([-1.0]))
    assert (judged([agent], "validation", 1, lambda done: None)[1] == 0).all()


@pytest.mark.usefixtures("tiny")
def test_study_of_what_carries_it(tmp_path: Path) -> None:
    study = Credit(num_tables=(2, 3), num_features=(5, 10), judged_on=3, experience=tmp_path)
    stored = compute_all(study)
    policies = stored[["changed", "to"]].drop_duplicates().to_numpy().tolist()
    without = [["without", name] for name in (*FEATURES[:8], "context")]
    assert policies == [["", "whole"], ["rounds", "1"], ["tables", "2"], ["random features", "5"], *without]
    assert len(stored) == 3 * len(policies)
    tried = TriedPlans(tmp_path / "3-0", 3)
    for (changed, to), config, tables in (
        (("tables", "2"), CreditRegressionConfig(10), 2),
        (("without", "bend"), CreditRegressionConfig(10, without=(2, 12)), 3),
        (("without", "context"), CreditRegressionConfig(10, without=(*range(10, 21),)), 3),
    ):
        agent = CreditRegression(config).fit(tried.experiences(2, tables))
        own = stored[(stored["changed"] == changed) & (stored["to"] == to)]
        assert own["promised"].tolist() == judged([agent], "validation", 3, lambda done: None)[0][:, 0].tolist()
    promised = np.tile([0.1, 0.2, 0.3], len(policies))
    gain = np.where(stored["to"] == "5", -0.13, 0.01) + 0.1 * (promised - 0.2)
    rows = stored.assign(gain=gain, promised=promised)
    ((_, table),) = Credit.tables(as_results(rows))
    assert table["Policy"].tolist()[:4] == ["whole", "rounds 1", "tables 2", "random features 5"]
    assert [text.split()[0] for text in table["Log ratio of the RMSE"][2:4]] == ["-1.0", "+13.0"]
    assert table["Minus the whole"].tolist()[1:4] == ["+0.0 [+0.0, +0.0]"] * 2 + ["+14.0 [+14.0, +14.0]"]
    assert (table["Correlation with it"] == "1.00").all()
    assert table["Worse than +2"].tolist()[1:4] == ["0%", "0%", "100%"]
    assert [file.name for file in Credit.draw(as_results(stored), tmp_path)] == ["carried.png"]


def test_what_ships_is_small_and_its_plan_is_made_of_rows_and_options() -> None:
    assert PRETRAINED.stat().st_size < 1e6
    problem = instance("test", 0, 60, TINY).problem
    agent = CreditRegression.load()
    plan, gain = agent.plan(problem)
    credit = agent.credit(problem.observe(problem.every_row_and_option())).reshape(-1, len(OPTIONS))
    best = np.stack([credit[:, :5].max(axis=1), credit[:, 5:].max(axis=1)])
    promised = float(np.maximum(best, 0).sum() / len(problem.x_train))
    assert gain == pytest.approx(agent.kept * promised if promised > agent.least_gain else 0)
    assert (len(plan.rows) > 0) == (promised > agent.least_gain)


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
    assert {"row", "space", "k", "probability", "plan"} == set(plan)  # what figures of plans read

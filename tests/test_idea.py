"""The picture of the idea, with a budget of moments: what it draws is learned, repeatable and measured rightly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import idea
from experiments.idea import draw_idea, function, label_error, learn_plan
from mixrl_env import RegressorConfig


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idea, "_REGRESSOR", RegressorConfig(hidden_sizes=(8,), max_steps=30, patience=None))
    monkeypatch.setattr(idea, "_STEP_BUDGET", 5)
    monkeypatch.setattr(idea, "_REPEATS", 1)
    monkeypatch.setattr(idea, "_AGENT", replace(idea._AGENT, hidden_sizes=(8,)))


@pytest.mark.usefixtures("quick")
def test_the_plan_is_learned_from_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = idea.choose_plan

    def first_candidate(*arguments: object) -> object:  # everything: so few trainings choose at random
        problem, candidates, repeats, seed = arguments
        seen.append(candidates)
        return real(problem, candidates[:1], repeats, seed)  # type: ignore[index, arg-type]

    monkeypatch.setattr(idea, "choose_plan", first_candidate)
    problem, (x, y) = learn_plan(16)
    _, (again, _) = learn_plan(16)
    learn_plan(16, seed=1)
    assert np.array_equal(x, again)
    assert not seen[0][0][0].equals(seen[2][0][0])  # another agent, another plan
    assert len(seen[0][-1][0]) == 0  # to mix nothing may be chosen too

    data = problem.data
    pairs = [(a, b) for a in range(40) for b in range(a)]
    middles = np.array([(data.x_train[a] + data.x_train[b]) / 2 for a, b in pairs])[:, 0]
    labels = np.array([(data.y_train[a] + data.y_train[b]) / 2 for a, b in pairs])[:, 0]
    errors = []
    for feature, label in zip(data.restore_x(x)[:, 0], y[:, 0], strict=True):
        assert np.min(abs(middles - feature) + abs(labels - label)) < 1e-9
        truth = 2 * feature if feature < 0.5 else 1 + 0.9 * np.sin(22 * (feature - 0.5))
        errors.append((label - truth) ** 2)
    assert label_error(problem, (x, y)) == pytest.approx(np.mean(errors) ** 0.5)


def test_rows_follow_the_function() -> None:
    data = idea._draw_data()
    for x, y, size in ((data.x_train, data.y_train, 40), (data.x_val, data.y_val, 400)):
        assert len(x) == size
        assert np.array_equal(np.floor(x[:, 0] * size), np.arange(size))
        assert np.std(y - function(x)) == pytest.approx(0.2, rel=4 / (2 * size) ** 0.5)


@pytest.mark.usefixtures("quick")
def test_the_picture(tmp_path: Path) -> None:
    path = draw_idea(tmp_path / "idea.png", trainings=16)
    assert path.read_bytes().startswith(b"\x89PNG")

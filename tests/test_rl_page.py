"""The agents of docs/rl.md: as short as the page says, they run as they stand there, and they learn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import mixrl_env  # noqa: F401  # registers the ids
from mixrl import RowPolicy
from tests.toy import FixedRowsEnv, best_mask

PAGE = (Path(__file__).parent.parent / "docs" / "rl.md").read_text()
BLOCK = r"\n\n```python\n(.*?)```"
AGENTS = {name: (int(limit), code) for name, limit, code in re.findall(rf"<!-- agent: (\S+) (\d+) -->{BLOCK}", PAGE, re.DOTALL)}
LIMITS = {"gymnasium": 30, "stable-baselines3": 15, "cleanrl": 15}
CHEAP = {"regressor": {"hidden_sizes": [8], "max_steps": 5}, "step_budget": 5}
make, make_vec = gym.make, gym.make_vec
pytestmark = pytest.mark.usefixtures("_global_generators_kept")


class ToyEnv(gym.Env[Any, Any]):
    """One environment of `FixedRowsEnv`."""

    def __init__(self) -> None:
        self.envs = FixedRowsEnv(1)
        self.observation_space, self.action_space = self.envs.single_observation_space, self.envs.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.envs.reset(seed=seed)[0][0], {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        states, rewards, *_ = self.envs.step(action[None])
        return states[0], float(rewards[0]), True, False, {}


def block(marker: str) -> str:
    (code,) = re.findall(rf"<!-- {marker} -->{BLOCK}", PAGE, re.DOTALL)
    return code


def run(code: str, **names: Any) -> dict[str, Any]:
    exec(compile(code, "docs/rl.md", "exec"), names)
    return names


def with_budget(code: str, number: int) -> str:
    """The block with another number of updates, or of timesteps."""
    changed, count = re.subn(r"(num_updates = |num_updates, .* = 16, |total_timesteps=)\d+", rf"\g<1>{number}", code)
    assert count == 1
    return changed


def probabilities(names: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    if "model" in names:
        assert isinstance(names["model"].policy, RowPolicy)
        return names["model"].policy.probabilities(rows)
    with torch.no_grad():
        return torch.sigmoid(names["agent"](torch.as_tensor(rows))).numpy().reshape(rows.shape[:-1])


def cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gym.make` and `gym.make_vec` with tiny regressors in place of the page's."""
    monkeypatch.setattr(gym, "make", lambda name, **settings: make(name, **settings | CHEAP))
    monkeypatch.setattr(gym, "make_vec", lambda *names, **settings: make_vec(*names, **settings | CHEAP))


def test_the_page_has_three_agents() -> None:
    assert {name: limit for name, (limit, _) in AGENTS.items()} == LIMITS
    assert PAGE.count("```python") == len(AGENTS) + 3


@pytest.mark.parametrize("name", LIMITS)
def test_each_agent_runs_as_it_stands_on_the_page(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = AGENTS[name][1]
    names = run(code)
    printed = re.findall(r"(?:mean reward|ep_rew_mean +\|) *(\S+)", capsys.readouterr().out)
    assert len(printed) == (4 if name == "stable-baselines3" else 8)
    assert np.isfinite([float(reward) for reward in printed]).all()
    env = names.get("env") or names["envs"]
    rows = env.reset(seed=1)[0].reshape(-1, 200, 40)[0]
    p = probabilities(names, rows)
    assert p.shape == (200,)
    assert ((p > 0) & (p < 1)).all()
    cheaply(monkeypatch)
    untrained = run(with_budget(code, 0))
    assert np.abs(p - probabilities(untrained, rows)).max() > 0.01


@pytest.mark.parametrize(("name", "budget"), [("gymnasium", 150), ("stable-baselines3", 6400), ("cleanrl", 150)])
def test_each_agent_learns(name: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "make", lambda *_, **__: ToyEnv())
    monkeypatch.setattr(gym, "make_vec", lambda name, num_envs, *_, **__: FixedRowsEnv(num_envs))
    names = run(with_budget(AGENTS[name][1], budget))
    rows = FixedRowsEnv(1).every_row_and_option()
    assert ((probabilities(names, rows) > 0.5) == best_mask(rows)).mean() > 0.9


def test_what_to_do_with_a_policy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cheaply(monkeypatch)
    names = run(with_budget(AGENTS["stable-baselines3"][1], 32))
    used = run(block("policy"), **names)
    assert used["p"].shape == (200, 32)
    assert len(used["candidates"]) == 11
    assert used["predictions"].shape == (5, 100, 1)
    rmse = np.sqrt(np.square(used["predictions"] - names["envs"].problem.data.y_test).mean(axis=(1, 2)))
    assert f"{rmse[0]:.8f}"[:5] in capsys.readouterr().out


def test_noise_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cheaply(monkeypatch)
    run(PAGE.split("```python\n")[1].split("```")[0])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["nothing", "everything", "halves", "one half"]


def test_an_agent_of_ones_own_meets_the_protocol() -> None:
    agent = run(block("agent: protocol"))["LinearAgent"](seed=0)
    calls: list[tuple[int, dict[str, float]]] = []
    assert agent.learn(FixedRowsEnv(8), 100, lambda *update: calls.append(update)) is agent
    assert [trainings for trainings, _ in calls] == [8 * update for update in range(1, 13)]
    assert set(calls[0][1]) == {"reward/mean", "env/val_rmse"}
    rows = FixedRowsEnv(1).every_row_and_option()
    assert agent.probabilities(rows).shape == rows.shape[:-1]
    agent.learn(FixedRowsEnv(8), 3200)
    right = ((agent.probabilities(rows) > 0.5) == best_mask(rows)).mean()
    assert right >= 0.6  # what is linear in x and k cannot do much better
    env = make("MixRL-NO2-v0", **CHEAP)
    assert agent.learn(env, 2).probabilities(env.reset(seed=0)[0]).shape == (200,)
    with pytest.raises(ValueError, match="horizon"):
        agent.learn(make_vec("MixRL-NO2-v0", 2, "vector_entry_point", horizon=2, **CHEAP), 4)

"""Checkpoints: learning that was stopped ends as learning that was not, to the bit; broken and foreign files are refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.logger import Logger, make_output_format

from mixrl import (
    Checkpoints,
    CrossEntropy,
    CrossEntropyConfig,
    DataValuation,
    DataValuationConfig,
    MaskRegression,
    MaskRegressionConfig,
    MetaGradient,
    MetaGradientConfig,
    RandomSearch,
    RandomSearchConfig,
    Reinforce,
    ReinforceConfig,
    ReinforceVariant,
    ReinforceVariantConfig,
)
from mixrl.checkpoint import read_checkpoint, write_checkpoint
from tests.test_horizon import make_tiny, make_vector
from tests.test_value_network import Exploit
from tests.toy import ToyVectorEnv

SMALL = {"hidden_sizes": (6,), "device": "cpu"}
LOO = {"baseline": "leave_one_out", **SMALL}
AGENTS: dict[str, Callable[..., Any]] = {
    "Algorithm 1": lambda log: Reinforce(ReinforceConfig(**SMALL), 3, log),
    "converging": lambda log: ReinforceVariant(ReinforceVariantConfig(patience=2, progress_window=2, **SMALL), 3, log),
    "entropy": lambda log: ReinforceVariant(ReinforceVariantConfig(normalize=True, entropy_bonus=0.1, **LOO), 3, log),
    "MaskRegression": lambda log: MaskRegression(MaskRegressionConfig(num_features=5), 3, log),
    "CrossEntropy": lambda log: CrossEntropy(CrossEntropyConfig(population=8), 3, log),
    "DataValuation": lambda log: DataValuation(DataValuationConfig("ame"), 3, log),
    "RandomSearch": lambda log: RandomSearch(RandomSearchConfig(num_features=5), 3, log),
    "MetaGradient": lambda log: MetaGradient(MetaGradientConfig(unroll=2, cost=1, batch_size=4, **SMALL), 3, log),
}
BUDGET, M = 32, 4  # 8 updates


class Stop(Exception):  # noqa: N818  # no error
    pass


def envs() -> Any:
    return make_vector(M, horizon=1, step_budget=4, pretrained=True)


def learn(
    name: str, folder: Path, checkpoints: Checkpoints | None, stop: int | None = None, make: Callable[[], Any] = envs
) -> tuple[Any, ...]:
    """What a run leaves: probabilities, log, what the agent says of itself, and the next rewards of its environment."""

    def callback(trainings: int, metrics: dict[str, float]) -> None:
        calls.append(trainings)
        if stop is not None and len(calls) == stop:
            raise Stop

    calls: list[int] = []
    log = Logger(str(folder), [make_output_format("csv", str(folder))])
    agent, own = AGENTS[name](log), make()
    try:
        agent.learn(own, BUDGET, callback, *([checkpoints] if checkpoints else []))
    finally:
        log.close()
    fields = {key: value for key, value in vars(agent).items() if key in ("trainings", "converged")}
    rows = make_tiny(horizon=1).reset(seed=5)[0]
    masks = np.ones(own.action_space.shape, dtype=np.int8)
    reward = np.asarray(own.step(masks)[1] if name != "MetaGradient" else 0)
    curve = pd.read_csv(folder / "progress.csv", dtype=str).sort_index(axis=1)  # the logger's columns stand in no order
    return agent.probabilities(rows).tobytes(), curve.to_csv(index=False), fields, reward.tobytes()


@pytest.mark.parametrize("name", AGENTS)
def test_stopped_after_any_update_it_ends_the_same(name: str, tmp_path: Path) -> None:
    whole = learn(name, tmp_path, None)
    updates = len(whole[1].splitlines()) - 1
    assert updates == 8 or (name == "converging" and updates < 8)
    for stop in range(1, updates):
        folder = tmp_path / str(stop)
        with pytest.raises(Stop):
            learn(name, tmp_path, Checkpoints(folder, every=1), stop)
        assert learn(name, tmp_path, Checkpoints(folder, every=1, resume=True)) == whole
        assert len(list(folder.iterdir())) == 2


def test_one_environment_after_the_other(tmp_path: Path) -> None:
    """As the folds of the default preset: the first run is read from its last checkpoint, the second goes on."""

    def chain(resume: bool, stop: int | None = None) -> bytes:
        def callback(trainings: int, metrics: dict[str, float]) -> None:
            if trainings == stop:
                raise Stop

        agent = MaskRegression(MaskRegressionConfig(num_features=5), seed=1)
        for fold in range(2):
            own = make_vector(M, horizon=1, step_budget=4)
            agent.learn(own, 12, callback, Checkpoints(tmp_path / str(fold), every=2, resume=resume))
        assert agent.trainings == 24
        return agent.probabilities(make_tiny().reset(seed=5)[0]).tobytes()

    with pytest.raises(Stop):
        chain(resume=False, stop=20)
    resumed = chain(resume=True)
    for path in tmp_path.glob("*/*"):
        path.unlink()
    assert chain(resume=False) == resumed


@pytest.mark.parametrize("steps_before", [0, 1, 2])
def test_state_of_an_environment_amid_an_episode(steps_before: int) -> None:
    for make, masks in ((make_tiny, np.ones(10, np.int8)), (lambda: make_vector(2), np.ones((2, 10), np.int8))):
        env = make()
        env.reset(seed=4)
        for _ in range(steps_before):
            env.step(masks)
        other = make()
        other.load_state_dict(env.state_dict())
        for _ in range(3 - steps_before):
            (state, reward, *_), (other_state, other_reward, *_) = env.step(masks), other.step(masks)
            assert state.tobytes() == other_state.tobytes()
            assert np.asarray(reward).tobytes() == np.asarray(other_reward).tobytes()


@pytest.mark.parametrize("where", ["truncated", "emptied", "pickle"])
def test_a_broken_checkpoint_is_left_out(where: str, tmp_path: Path) -> None:
    whole = learn("Algorithm 1", tmp_path, None)
    with pytest.raises(Stop):
        learn("Algorithm 1", tmp_path, Checkpoints(tmp_path / "c", every=1), stop=5)
    newest, older = Checkpoints(tmp_path / "c").files()
    content = newest.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "emptied": b"",
        "pickle": pickle.dumps(Exploit(tmp_path / "executed")),
    }[where]
    newest.write_bytes(damaged)
    with pytest.warns(UserWarning, match=f"{newest} is no whole checkpoint: .*going on from {older.name}"):
        assert learn("Algorithm 1", tmp_path, Checkpoints(tmp_path / "c", every=1, resume=True)) == whole
    for path in Checkpoints(tmp_path / "c").files():
        path.write_bytes(damaged)
    with pytest.raises(ValueError, match="no other in the folder is whole: remove them to start anew"):
        learn("Algorithm 1", tmp_path, Checkpoints(tmp_path / "c", resume=True))
    assert all(path.read_bytes() == damaged for path in Checkpoints(tmp_path / "c").files())
    assert not (tmp_path / "executed").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_any_state_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("c") / "c.safetensors"
    write_checkpoint(path, {"value": value})
    assert read_checkpoint(path) == {"value": value}


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (RandomSearch(seed=3), "another agent: Reinforce, not RandomSearch"),
        (Reinforce(ReinforceConfig(**SMALL), 4), "another seed: 3, not 4"),
        (Reinforce(ReinforceConfig(learning_rate=0.1, **SMALL), 3), "another settings of the agent"),
    ],
)
def test_checkpoints_of_another_run_are_refused(agent: Any, words: str, tmp_path: Path) -> None:
    learn("Algorithm 1", tmp_path, Checkpoints(tmp_path / "c"))
    with pytest.raises(ValueError, match=words):
        agent.learn(envs(), BUDGET, None, Checkpoints(tmp_path / "c", resume=True))


def test_what_else_is_refused(tmp_path: Path) -> None:
    learn("Algorithm 1", tmp_path, Checkpoints(tmp_path / "c"))
    same = Reinforce(ReinforceConfig(**SMALL), 3)
    with pytest.raises(ValueError, match="holds checkpoints of a run; resume it, or choose another folder"):
        same.learn(envs(), BUDGET, None, Checkpoints(tmp_path / "c"))
    with pytest.raises(ValueError, match="another environment"):
        same.learn(make_vector(M, horizon=1, step_budget=5), BUDGET, None, Checkpoints(tmp_path / "c", resume=True))
    with pytest.raises(ValueError, match="has seen 8 updates, and the budget is enough for 4"):
        same.learn(envs(), 16, None, Checkpoints(tmp_path / "c", resume=True))
    with pytest.raises(ValueError, match="cannot be saved: it has no state_dict"):
        same.learn(ToyVectorEnv(M), BUDGET, None, Checkpoints(tmp_path / "d"))
    with pytest.raises(ValueError, match="at least 1 update apart, got every = 0"):
        Checkpoints(tmp_path, every=0)


def test_more_trainings_than_at_first(tmp_path: Path) -> None:
    agents = [Reinforce(ReinforceConfig(**SMALL), 3) for _ in range(3)]
    agents[0].learn(envs(), 32)
    agents[1].learn(envs(), 16, None, Checkpoints(tmp_path))
    agents[2].learn(envs(), 32, None, Checkpoints(tmp_path, resume=True))
    rows = make_tiny().reset(seed=5)[0]
    assert agents[0].probabilities(rows).tobytes() == agents[2].probabilities(rows).tobytes()

"""The stopping rule against a recomputation of the whole curve, and learning that stops by it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.logger import CSVOutputFormat, Logger

from mixrl import ReinforceVariant, ReinforceVariantConfig
from mixrl.reinforce_variants import Progress
from tests.toy import ToyVectorEnv

# Whole numbers: their sums are exact, so that ties between smoothed rewards are ties for numpy too. They abound.
rewards_of_updates = st.lists(st.integers(-3, 3), min_size=1, max_size=40)


def stops_at(rewards: list[int], window: int, patience: int) -> int | None:
    """The update with which the policy has converged, from the definition; None if it never does."""
    smoothed = [np.mean(rewards[end - window : end]) for end in range(window, len(rewards) + 1)]  # of full windows
    for last in range(len(smoothed)):
        best = int(np.argmax(smoothed[: last + 1]))  # the first of equal ones: a tie is no new height
        if last - best >= patience:
            return window + last
    return None


@settings(deadline=None, derandomize=True, max_examples=500)
@given(rewards_of_updates, st.integers(1, 6), st.integers(1, 6))
def test_stops_with_the_update_that_the_definition_says(rewards: list[int], window: int, patience: int) -> None:
    progress, first = Progress(window, patience), None
    for update, reward in enumerate(rewards, start=1):
        logged = progress.update(float(reward))
        assert logged["convergence/smoothed_reward"] == pytest.approx(np.mean(rewards[max(0, update - window) : update]))
        assert logged["convergence/converged"] == float(progress.converged)
        if progress.converged:
            first = update
            break
    assert first == stops_at(rewards, window, patience)


class SameReward(ToyVectorEnv):
    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        state, rewards, ended, truncated, info = super().step(actions)
        return state, np.full_like(rewards, -0.3), ended, truncated, info


def test_learning_stops_early_and_says_so(tmp_path: Path) -> None:
    m, window, patience = 4, 5, 3
    config = ReinforceVariantConfig(baseline="leave_one_out", progress_window=window, patience=patience, hidden_sizes=(8,))
    logger = Logger(None, [CSVOutputFormat(str(tmp_path / "progress.csv"))])
    envs, seen = SameReward(m), []
    agent = ReinforceVariant(config, seed=0, logger=logger)
    agent.learn(envs, 1000, lambda spent, metrics: seen.append((spent, metrics["convergence/converged"])))
    logger.close()
    updates = window + patience  # the first full window is the highest
    assert len(envs.history) == updates
    assert seen == [(update * m, float(update == updates)) for update in range(1, updates + 1)]
    with (tmp_path / "progress.csv").open() as file:
        logged = list(csv.DictReader(file))
    assert [float(row["convergence/converged"]) for row in logged] == [0.0] * (updates - 1) + [1.0]
    assert [float(row["convergence/updates_since_best"]) for row in logged] == [0.0] * window + [1.0, 2.0, 3.0]
    assert agent.network is not None
    assert all(weight.isfinite().all() for weight in agent.network.parameters())


@pytest.mark.parametrize("patience", [None, 50])
def test_a_budget_that_ends_first_is_spent(patience: int | None) -> None:
    envs, converged = SameReward(4), []
    config = ReinforceVariantConfig(progress_window=5, patience=patience, hidden_sizes=(8,))
    ReinforceVariant(config).learn(envs, 83, lambda _, metrics: converged.append(metrics["convergence/converged"]))
    assert len(envs.history) == 20  # 83 rounded down to whole updates
    assert converged == [0.0] * 20

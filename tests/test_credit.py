"""Credit of single rows: estimators from data valuation, and REINFORCE with local credit, against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mixrl import DataValuation, DataValuationConfig, LocalReinforce, ReinforceVariantConfig
from mixrl.data_valuation import _ame, _banzhaf
from mixrl.reinforce_local import near_validation_rows
from mixrl_env import MixingProblem, MixRLVectorEnv, ProblemConfig, RegressorConfig, load_dataset
from tests.toy import FixedRowsEnv

TINY = {"regressor": RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=100), "step_budget": 5}


def masks_of(rng: np.random.Generator, players: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    member = rng.random((len(share), players)) < share[:, None]
    return member, np.where(member, 1 / share[:, None], -1 / (1 - share[:, None]))


def test_banzhaf_is_the_difference_of_means_in_its_standard_errors() -> None:
    rng = np.random.default_rng(0)
    credit = np.array([1.0, -1.0, 0.3, 0.0])
    member, selected = masks_of(rng, 4, np.full(300, 0.5))
    p = _banzhaf(selected, member @ credit + rng.normal(size=300))
    assert p[0] > 0.99
    assert p[1] < 0.01
    assert p[2] > p[3]
    assert abs(p[3] - 0.5) < 0.49
    constant = selected.copy()
    constant[:, 0] = 2.0  # a player of every training: nothing to compare with
    assert _banzhaf(constant, rng.normal(size=300))[0] == 0.5


def test_ame_finds_the_few_that_matter() -> None:
    """The coefficients of the regression estimate marginal effects that are the same at every probability of selection."""
    rng = np.random.default_rng(1)
    member, selected = masks_of(rng, 40, rng.choice([0.2, 0.4, 0.6, 0.8], 400))
    p = _ame(selected, 3.0 * member[:, 0] - 2.0 * member[:, 1] + rng.normal(size=400))
    assert p[0] == p.max()
    assert p[1] == p.min()
    assert np.median(np.abs(p[2:] - 0.5)) < 0.1 < p[0] - 0.5


def test_rows_that_were_never_offered_are_undecided() -> None:
    envs = FixedRowsEnv(4)
    agent = DataValuation(DataValuationConfig("banzhaf")).learn(envs, 64)
    assert agent.probabilities(np.full((3, 4), 7, dtype=np.float32)).tolist() == [0.5] * 3
    with pytest.raises(RuntimeError, match="call learn"):
        DataValuation().probabilities(np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="estimator must be"):
        DataValuationConfig("shapley")  # type: ignore[arg-type]


def test_near_validation_rows_by_brute_force() -> None:
    problem = MixingProblem(
        load_dataset("noisy_corner", 0), ProblemConfig.from_settings({"options": [["data", 2], ["label", 3]]})
    )
    near = near_validation_rows(problem, 5)
    assert near.shape == (60, 2, 5)
    for row in range(0, 60, 11):
        for option in range(2):
            x, _ = problem.mix(np.array([row]), np.array([option]), np.random.default_rng(0))
            distance = [min(float(np.linalg.norm(mixed - own)) for mixed in x) for own in problem.x_val]
            assert near[row, option].tolist() == np.argsort(distance, kind="stable")[:5].tolist()


def test_the_gradient_of_local_credit() -> None:
    """Against loops over trajectories and rows."""
    envs = MixRLVectorEnv(3, data=load_dataset("noisy_corner", 0), detailed_info=True, **TINY)  # type: ignore[arg-type]
    agent = LocalReinforce(ReinforceVariantConfig(hidden_sizes=(4,)), seed=0).learn(envs, 3)
    envs.reset(seed=5)
    masks = (np.random.default_rng(0).random((3, 60)) < 0.5).astype(np.int8)
    info = envs.step(masks)[4]["final_info"]
    logits = torch.zeros(3, 60, requires_grad=True)
    agent._objective(torch.as_tensor(masks, dtype=torch.float32), logits, torch.zeros(3), 0.0, info).backward()
    advantage = np.empty((3, 60))
    for m in range(3):
        for i in range(60):
            near = agent._near[info["rows"][m, i], info["options"][m, i]]
            own, *others = (info["val_losses"][t][near].mean() for t in (m, *(t for t in range(3) if t != m)))
            advantage[m, i] = np.mean(others) - own
    expected = advantage * (masks - 0.5) / advantage.std(ddof=1) / advantage.size
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, expected, rtol=1e-3, atol=1e-7)


class Local(MixRLVectorEnv):
    """A selected row raises the loss of the validation rows near it if its first feature is positive, else lowers it."""

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        *rest, info = super().step(actions)
        own = info["final_info"]
        near = near_validation_rows(self.problem, 3)
        losses = np.zeros_like(own["val_losses"])
        for m in range(self.num_envs):
            for i in np.flatnonzero(actions[m]):
                row, option = own["rows"][m, i], own["options"][m, i]
                losses[m, near[row, option]] += np.sign(self.problem.x_train[row, 0])
        own["val_losses"] = losses
        return *rest, info


def test_learns_which_rows_harm() -> None:
    envs = Local(8, data=load_dataset("noisy_corner", 0), detailed_info=True, options=[["data", 1]], **TINY)  # type: ignore[arg-type]
    agent = LocalReinforce(ReinforceVariantConfig(learning_rate=0.01, hidden_sizes=(16,)), seed=0).learn(envs, 320)
    p = agent.probabilities(envs.problem.observe(envs.problem.every_row_and_option()))
    harms = envs.problem.x_train[:, 0] > 0
    assert p[~harms].mean() > p[harms].mean() + 0.5


def test_environments_without_details_are_refused() -> None:
    for count, detailed in ((1, True), (4, False)):
        envs = MixRLVectorEnv(count, data=load_dataset("gap", 0), detailed_info=detailed, **TINY)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="detailed_info=True"):
            LocalReinforce().learn(envs, 16)

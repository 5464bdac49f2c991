"""The benchmark on sizes of moments: what it compares is the same work, what it stores can be read back and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.benchmark import plain, scale, throughput
from experiments.benchmark.plain import SIZES, Floor, sequential
from experiments.benchmark.run import MEASUREMENTS, _measured
from experiments.benchmark.timing import ratio, time_in_turn
from experiments.runner.store import read_results
from mixrl_env import RegressorConfig
from mixrl_env.backends import forward
from mixrl_env.regressor import initial_weights
from tests.test_experiments import run


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes and rounds that take moments."""
    config = RegressorConfig(hidden_sizes=(8,), batch_size=4)
    sizes = {"NO2": plain.Size(config, 2, 1, 20, 10), "Synthetic": plain.Size(replace(config, layer_norm=True), 3, 2, 20, 10)}
    for module in (plain, throughput):
        monkeypatch.setattr(module, "SIZES", sizes)
    monkeypatch.setattr(throughput, "ROUNDS", 2)
    monkeypatch.setattr(throughput, "STACKS", {"NO2": (1, 2), "Synthetic": (1,)})
    monkeypatch.setattr(scale, "TRAINING_ROWS", (200, 400))
    monkeypatch.setattr(scale, "_ROUNDS", 1)


@pytest.mark.usefixtures("tiny")
def test_every_part_is_stored_shown_and_drawn(tmp_path: Path) -> None:
    done = run("benchmark", "throughput", "scale", "cuda", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    tables = _measured(read_results(tmp_path))
    assert set(tables) == set(MEASUREMENTS)
    timed = tables["throughput"]
    assert set(timed["training"]) >= {"plain", "floor", "torch"}
    assert timed.loc[timed["training"] == "plain", "times_plain"].to_list() == [1.0, 1.0]
    assert timed.loc[timed["training"] == "floor", "times_floor"].to_list() == [1.0, 1.0]
    assert tables["step_cost"]["n_train"].to_list() == [200, 400]
    assert len(tables["cuda"]) == 0 or torch.cuda.is_available()
    assert json.loads(timed["machine"].iloc[0])["torch"] == torch.__version__
    assert "experiments benchmark throughput" in read_results(tmp_path).records[0].command
    for name in ("throughput", "step_cost"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 1000
    assert "One step of 16 masks" in done.stdout
    again = run("benchmark", "--show", "--out", tmp_path)
    assert "times_plain" in again.stdout


def test_misuse_is_one_line(tmp_path: Path) -> None:
    nothing = run("benchmark", "--show", "--out", tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert "no results in" in nothing.stderr
    assert not (tmp_path / "nowhere").exists()
    assert run("benchmark", "thruput", "--out", tmp_path).returncode == 2


def test_a_part_that_fails_leaves_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASUREMENTS, "cuda", ("cuda", "GPU", lambda report: pd.DataFrame({"x": [1.5]})))
    assert run("benchmark", "cuda", "--out", tmp_path).returncode == 0
    before = (tmp_path / "cells" / "cuda.json").read_bytes()

    def broken(report: object) -> pd.DataFrame:
        raise RuntimeError("out of power")

    monkeypatch.setitem(MEASUREMENTS, "cuda", ("cuda", "GPU", broken))
    failed = run("benchmark", "cuda", "--out", tmp_path)
    assert failed.returncode == 2
    assert "cuda failed: RuntimeError: out of power" in failed.stderr
    assert (tmp_path / "cells" / "cuda.json").read_bytes() == before


@pytest.mark.parametrize("name", list(SIZES))
def test_the_plain_network_is_the_one_that_is_trained(name: str) -> None:
    size = SIZES[name]
    network = sequential(size.shape)
    weights = initial_weights(size.num_features, size.num_targets, size.config, np.random.default_rng(0))
    assert sum(p.numel() for p in network.parameters()) == size.shape.num_parameters()
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights, strict=True):
            parameter.copy_(weight[0].T if parameter.ndim == 2 else weight[0, 0])
        x = torch.randn(1, 5, size.num_features)
        torch.testing.assert_close(network(x[0]), forward(weights, x, size.shape)[0], rtol=1e-4, atol=1e-5)


def test_the_floor_has_the_products_of_a_step() -> None:
    floor = Floor(SIZES["NO2"], 2)
    flops = sum(2 * left[0].numel() * right.shape[-1] for left, right, _ in floor.products)
    # Forward and both gradients; no gradient is needed for the rows themselves.
    assert flops == 32 * 2 * (3 * (7 * 512 + 512 * 256 + 256) - 7 * 512)


def test_works_take_turns_and_ratios_are_within_a_round() -> None:
    calls: list[str] = []
    seconds = time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, lambda _: None)
    assert calls == ["a", "b"] * 3  # one round to warm up
    assert [len(values) for values in seconds.values()] == [2, 2]
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0

"""Zip files of stable-baselines3: what is saved comes back, and nothing in a file runs unless one has said so."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mixrl import SB3Agent, SB3Config
from tests.test_sb3_agent import ALGORITHMS, make_agent
from tests.test_value_network import Exploit
from tests.toy import FixedRowsEnv


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_saved_agent_comes_back(algorithm: str, tmp_path: Path) -> None:
    envs, path = FixedRowsEnv(4), tmp_path / "agent.zip"
    agent = make_agent(algorithm, seed=5).learn(envs, 32)
    agent.save(path)
    again = SB3Agent.load(path, agent.config.algorithm, allow_pickle=True)
    rows = envs.every_row_and_option()
    np.testing.assert_array_equal(again.probabilities(rows), agent.probabilities(rows))
    assert (again.trainings, again.seed, again.config.policy) == (32, 5, "rows")
    assert [file.name for file in tmp_path.iterdir()] == ["agent.zip"]


def test_a_flat_policy_comes_back_as_one(tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    make_agent("ppo", "flat").learn(FixedRowsEnv(4), 32).save(path)
    again = SB3Agent.load(path, allow_pickle=True)
    assert again.config == SB3Config("ppo", "flat", device="cpu")
    with pytest.raises(ValueError, match="a flat policy sees whole batches"):
        again.probabilities(np.zeros((2, 3), np.float32))


def test_code_in_a_file_runs_only_with_the_flag(tmp_path: Path) -> None:
    """The same file does run its code with the flag, as the flag says."""
    path, trap = tmp_path / "agent.zip", tmp_path / "executed"
    make_agent().learn(FixedRowsEnv(4), 32).save(path)
    with zipfile.ZipFile(path) as stored:
        files = {name: stored.read(name) for name in stored.namelist()}
    data = json.loads(files["data"])
    data["policy_class"][":serialized:"] = base64.b64encode(pickle.dumps(Exploit(trap))).decode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(data) if name == "data" else content)
    with pytest.raises(ValueError, match="runs any code that the file names: give allow_pickle=True if you trust"):
        SB3Agent.load(path)
    assert not trap.exists()
    with pytest.raises(ValueError, match="is no whole zip file of ppo"):  # what it made is no policy class
        SB3Agent.load(path, allow_pickle=True)
    assert trap.exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip", "another zip"])
def test_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "agent.zip"
    make_agent().learn(FixedRowsEnv(4), 32).save(path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[200] ^= 1
    path.write_bytes({"cut": content[:-100], "flipped": content, "no zip": b"model", "another zip": b""}[damage])
    if damage == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../escaped", "")
    with pytest.raises(ValueError, match=f"{path} is no whole zip file of ppo"):
        SB3Agent.load(path, allow_pickle=True)
    assert [file.name for file in tmp_path.iterdir()] == ["agent.zip"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"call learn\(\) before save"):
        make_agent().save(tmp_path / "agent.zip")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        SB3Agent.load(tmp_path / "agent.zip", allow_pickle=True)

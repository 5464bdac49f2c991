"""The verb train: killed, on a full disk, with broken files, twice at once; it always ends as undisturbed, or says why not."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.__main__ import main
from experiments.train import train
from mixrl import Checkpoints
from tests.failing_writes import fails_at

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PROCESSES = multiprocessing.get_context("fork")  # in no time
COMMAND = {"agent": "REINFORCE", "preset": "smoke", "trainings": 6 * 16, "every": 1}


def run(out: Path, prepare: Callable[[], Any] = dict, **changes: Any) -> Any:
    """The verb in a process of its own."""
    process = PROCESSES.Process(target=work, args=(prepare, {**COMMAND, "out": out, **changes}))
    process.start()
    return process


def work(prepare: Callable[[], Any], arguments: dict[str, Any]) -> None:
    prepare()
    warnings.simplefilter("default")  # a broken checkpoint is one, and the parent makes errors of them
    try:
        train(**arguments)
    except OSError as error:  # which the command line makes one line of
        set_disk(resource.RLIM_INFINITY)  # coverage writes what this process ran
        sys.exit(error.errno)


def result(out: Path) -> tuple[Any, ...]:
    """All that a run leaves for people, but for TensorBoard's file, which has times in it."""
    curve = pd.read_csv(out / "progress.csv", dtype=str).sort_index(axis=1)  # the logger's columns stand in no order
    files = sorted(path.name for path in out.iterdir() if not path.name.startswith((".", "events")))
    written = [(out / name).read_bytes() for name in ("value_network.safetensors", "policy.csv")]
    return curve.to_csv(), files, *written


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    out = tmp_path_factory.mktemp("undisturbed")
    process = run(out)
    process.join()
    assert process.exitcode == 0
    return result(out)


def finish(out: Path) -> tuple[Any, ...]:
    process = run(out, resume=True)
    process.join()
    assert process.exitcode == 0
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert len(list(out.glob("events.*"))) == 1
    return result(out)


def killed_at(write: int, where: str) -> Callable[[], None]:
    """Prepares a process that dies of SIGKILL at a write."""
    return partial(setattr, os, "fsync", fails_at(write, where))


def test_killed_at_random_moments(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    """Again and again the same run, which gets a little further every time."""
    rng, kills = random.Random(0), 0
    while kills < 6:
        process = run(tmp_path, resume=True)
        process.join(0.02 + rng.random() * 0.6)
        if process.exitcode == 0:  # it came to its end: from the start again
            assert result(tmp_path) == undisturbed
            for path in (tmp_path / "checkpoints").iterdir():
                path.unlink()
            continue
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert finish(tmp_path) == undisturbed


@pytest.mark.parametrize("where", ["middle", "before the name"])
def test_killed_while_it_writes(where: str, undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    for n in range(1, 3):  # of every new start the n-th file: it gets further by n checkpoints
        process = run(tmp_path, killed_at(n, where), resume=True)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert any("partial" in path.name for path in (tmp_path / "checkpoints").iterdir())
    assert finish(tmp_path) == undisturbed


def set_disk(size: int) -> None:
    """No file can become larger, in bytes: the kernel refuses to write more, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_full_disk(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    process = run(tmp_path, killed_at(3, "middle"))
    process.join()
    before = {path: path.read_bytes() for path in Checkpoints(tmp_path / "checkpoints").files()}
    assert len(before) == 2
    process = run(tmp_path, partial(set_disk, 2**16), resume=True)
    process.join()
    assert process.exitcode == errno.EFBIG
    assert {path: path.read_bytes() for path in Checkpoints(tmp_path / "checkpoints").files()} == before
    assert finish(tmp_path) == undisturbed


def test_two_at_once(undisturbed: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path)
    while not (tmp_path / "progress.csv").exists():
        time.sleep(0.01)
    with pytest.raises(ValueError, match="another process trains into"):
        train(**{**COMMAND, "out": tmp_path, "resume": True})
    first.join()
    assert result(tmp_path) == undisturbed


def test_every_stored_file_may_be_broken(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    """Of a run that ended; only the last checkpoint is needed to write all else anew."""
    process = run(tmp_path)
    process.join()
    newest, older = Checkpoints(tmp_path / "checkpoints").files()
    for pattern in ("checkpoints/*6.safetensors", "progress.csv", "policy.csv", "value_network.safetensors", "events.*"):
        (path,) = tmp_path.glob(pattern)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert finish(tmp_path) == undisturbed
    for path in (newest, older):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no other in the folder is whole"):
        train(**{**COMMAND, "out": tmp_path, "resume": True})
    assert result(tmp_path) == undisturbed  # nothing was touched


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--agent", "PPO"], "unknown agent 'PPO'; known: 'Algorithm 1', .*PPO and the like save themselves"),
        (["--agent", "DQN"], "unknown agent 'DQN'; known: 'Algorithm 1', .*'RandomSearch'$"),
        (["--dataset", "no3"], "unknown dataset 'no3'"),
        (["--every", "0"], "at least 1 update apart"),
        (["--trainings", "3"], "a budget of 3 trainings is below"),
        (["--trainings", "0"], "a budget of 0 trainings is below"),
    ],
)
def test_refused(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments", "train", "--preset", "smoke", "--out", str(tmp_path / "o"), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert pd.Series(line).str.contains(f"^error: .*{words}").item()

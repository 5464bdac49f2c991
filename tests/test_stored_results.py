"""Stored results of sweeps: writers that are killed leave the old or the new file, and damage of one bit is told."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.engines.base import Outcome, Row
from experiments.evaluation import FinalScore
from experiments.results import read_results
from experiments.studies.cells import CellFolder, read_cells
from tests.failing_writes import fails_at
from tests.test_experiments import ROOT, run
from tests.test_sweep import comparison, start, write

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PROCESSES = multiprocessing.get_context("fork")  # in no time; the children write files and die


class Squares:
    """Three cells."""

    def cells(self) -> list[tuple[str, Callable[[], list[Row]]]]:
        return [(f"cell{number}", partial(square, number)) for number in range(3)]

    tables = draw = None


def square(number: int) -> list[Row]:
    return [{"number": number, "square": number**2}]


def store(folder: Path, kind: str, fsync: Callable[[int], None] = os.fsync) -> None:
    """What a sweep does with the outcomes of its cells."""
    os.fsync = fsync
    work: Any = CellFolder(Squares(), folder) if kind == "cells" else comparison(folder)  # type: ignore[arg-type]
    for task in work.missing():
        if kind == "cells":
            rows = task.compute(folder, print)
        else:
            name = {"dataset": task.dataset, "method": task.method, "split_seed": int(task.split_seed)}
            scores = dict.fromkeys(FinalScore.__dataclass_fields__, 0.5) | {"num_rows": 9, "trainings": 0, "seconds": 1.0}
            rows = [{**name, **scores, "seed": seed, "choice": "x"} for seed in range(2)]
        work.keep(task, Outcome(rows))
    assert not work.missing()


def stored(folder: Path, kind: str) -> pd.DataFrame:
    return read_cells(folder) if kind == "cells" else read_results(folder)


@pytest.mark.parametrize("kind", ["cells", "comparison"])
def test_killed_at_every_write(kind: str, tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    store(tmp_path / "undisturbed", kind)
    deaths = 0
    for write_number in range(100):
        folder = tmp_path / str(write_number)
        folder.mkdir()
        process = PROCESSES.Process(target=store, args=(folder, kind, fails_at(write_number, "middle")))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        deaths += 1
        assert process.exitcode == -signal.SIGKILL
        store(folder, kind)
        pd.testing.assert_frame_equal(stored(folder, kind), stored(tmp_path / "undisturbed", kind))
    assert deaths >= 9  # three writes a cell


@pytest.mark.parametrize("kind", ["cells", "comparison"])
def test_disk_full_at_every_write(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before stays, nothing half-written is left, and with more room the sweep goes on."""
    writes: list[int] = []
    monkeypatch.setattr(os, "fsync", fsync := os.fsync)  # put back afterwards
    (tmp_path / "undisturbed").mkdir()
    store(tmp_path / "undisturbed", kind, lambda file: writes.append(file) or fsync(file))  # type: ignore[func-returns-value]
    whole = stored(tmp_path / "undisturbed", kind)
    assert len(writes) >= 9
    for write_number in range(len(writes)):
        folder = tmp_path / str(write_number)
        folder.mkdir()
        with pytest.raises(OSError, match="No space left on device"):
            store(folder, kind, fails_at(write_number, "full"))
        assert not list(folder.glob("*.partial"))
        if write_number > 3:  # at least one cell was stored
            pd.testing.assert_frame_equal(kept := stored(folder, kind), whole[: len(kept)])
            assert len(kept)
        store(folder, kind, fsync)
        pd.testing.assert_frame_equal(stored(folder, kind), whole)


@pytest.mark.parametrize("kind", ["cells", "comparison"])
def test_damage_is_told(kind: str, tmp_path: Path) -> None:
    """One bit or the end of a file; a table is then never read, and a list of digests tells, or says as much as before."""
    store(tmp_path, kind)
    whole, rng = stored(tmp_path, kind), random.Random(0)
    for path in [path for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".toml"]:
        content = path.read_bytes()
        for at in rng.sample(range(len(content)), min(60, len(content))):
            for bad in (content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], content[:at]):
                path.write_bytes(bad)
                try:
                    table = stored(tmp_path, kind)
                except ValueError as error:
                    table, message = None, str(error)
                if table is None:
                    assert "is damaged, it is not as it was stored: put back a copy" in message
                else:
                    assert path.name == "SHA256SUMS"
                    pd.testing.assert_frame_equal(table, whole)
                assert path.read_bytes() == bad  # nobody touches it
        path.write_bytes(content)


def test_sum_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    store(tmp_path, "cells")
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"cell{number}.csv: OK" for number in range(3)]


def test_a_damaged_file_on_the_command_line(tmp_path: Path) -> None:
    store(tmp_path, "comparison")
    path = tmp_path / "results.csv"
    path.write_text(path.read_text().replace("0.5", "0.4", 1))
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    for verb in ("tables", "figures"):
        done = run(verb, tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {path} is damaged, it is not as it was stored")
        assert done.stderr.count("\n") == 1
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_a_full_disk_on_the_command_line(tmp_path: Path) -> None:
    """The kernel refuses to write more than 200 bytes into a file: one line, and nothing half-written."""
    path, out = write(tmp_path), tmp_path / "out"
    command = [sys.executable, "-m", "experiments", "sweep", str(path), "--out", str(out), "--workers", "1"]
    limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (200, 200))
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # which would write more
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False, preexec_fn=limited
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: [Errno 27] File too large")
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.partial"))


def test_sweeps_killed_at_random_moments(tmp_path: Path) -> None:
    """For real, workers and all; the last sweep computes what is missing."""
    path, rng = write(tmp_path), random.Random(0)
    assert run("sweep", path, "--out", tmp_path / "undisturbed").returncode == 0
    for _ in range(2):
        process = start(path, "--out", tmp_path / "killed", "--workers", 1)
        try:
            process.wait(rng.uniform(2, 6))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    assert run("sweep", path, "--out", tmp_path / "killed").returncode == 0
    both = [read_results(tmp_path / which / "mine").drop(columns=["seconds", "command"]) for which in ("undisturbed", "killed")]
    pd.testing.assert_frame_equal(*both)

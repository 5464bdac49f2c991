"""Engines: what comes back from workers that finish, fail, die or take too long; in processes, and on a Ray cluster."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch

from experiments.runner.cells import Cell, Outcome
from experiments.runner.engines import Engine, make_engine, num_cores
from tests.cells import cell, die, dies_once, fail, leave, sleep, squares, threads, until

ROOT = Path(__file__).parent.parent


def outcomes(engine: Engine, cells: list[Cell]) -> dict[str, Outcome]:
    """Of all cells by name."""
    ended: dict[str, Outcome] = {}
    for first in range(0, len(cells), engine.slots()):
        futures = {one.name: engine.submit(one) for one in cells[first : first + engine.slots()]}
        wait(futures.values())
        ended |= {name: future.result() for name, future in futures.items()}
    return ended


@pytest.fixture(scope="module")
def ray_engine() -> Iterator[Engine]:
    """A cluster with two cores; its key is this test's own, so that none is left in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
        pytest.importorskip("ray")  # only now: importing it reads the key
        engine = make_engine("ray", address="local", time_limit=0.03)
        yield engine
        engine.close()


@pytest.fixture
def process_engine() -> Iterator[Engine]:
    engine = make_engine("processes", 2, time_limit=0.05)
    yield engine
    engine.close()


@pytest.fixture(params=["process_engine", "ray_engine"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def test_rows_and_files_come_back_and_failures_are_outcomes(engine: Engine) -> None:
    ended = outcomes(engine, [*squares(3, 4), cell("broken", fail), cell("slow", sleep, 30.0)])
    for number in (3, 4):
        computed = ended[f"square-{number}"].computed
        assert computed is not None
        (row,) = computed.rows
        assert row["square"] == number**2
        assert row["process"] != os.getpid()
        assert computed.files == {"deep/bytes": bytes([number])}
    broken, slow = ended["broken"], ended["slow"]
    assert broken.computed is None
    assert broken.failure is not None
    assert (broken.failure.kind, broken.failure.message) == ("error", "LookupError: no such row")
    assert 'raise LookupError("no such row")' in broken.failure.traceback
    assert slow.failure is not None
    assert slow.failure.kind == "TLE"


def test_workers_that_die_are_outcomes(process_engine: Engine) -> None:
    ended = outcomes(process_engine, [cell("killed", die, signal.SIGKILL), cell("left", leave), *squares(1, 2)])
    kinds = {name: failure.kind for name in ("killed", "left") if (failure := ended[name].failure)}
    assert kinds == {"killed": "worker died", "left": "error"}
    assert ended["square-1"].computed is not None
    assert ended["square-2"].computed is not None


def test_ray_computes_a_lost_cell_again(ray_engine: Engine, tmp_path: Path) -> None:
    computed = outcomes(ray_engine, [cell("once", dies_once, str(tmp_path / "log"))])["once"].computed
    assert computed is not None
    assert computed.rows == [{"computed": 2}]


def test_cells_run_side_by_side_each_in_its_process_and_report(process_engine: Engine, tmp_path: Path) -> None:
    """Neither cell may end before the other has begun."""
    flag, log = tmp_path / "flag", tmp_path / "log"
    futures = [process_engine.submit(cell(name, until, str(flag), str(log))) for name in ("a", "b")]
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert not wait(futures, 0.05).done
    assert len({int(line) for line in log.read_text().split()}) == 2
    flag.touch()
    wait(futures)
    slow = cell("slow", sleep, 1.0)
    future = process_engine.submit(slow)
    while process_engine.update(slow) is None:
        assert not future.done()
        time.sleep(0.02)
    assert process_engine.update(slow) == (0, 1, "asleep")


def test_workers_share_the_cores_and_the_parent_keeps_its_environment() -> None:
    before = os.environ.get("OMP_NUM_THREADS"), signal.getsignal(signal.SIGINT)
    engine = make_engine("processes", 2)
    computed = outcomes(engine, [cell("threads", threads)])["threads"].computed
    engine.close()
    assert computed is not None
    assert computed.rows[0]["torch"] == max(1, min(torch.get_num_threads(), num_cores() // 2))
    assert (os.environ.get("OMP_NUM_THREADS"), signal.getsignal(signal.SIGINT)) == before


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "from experiments.runner.engines import Processes\nfrom tests.cells import cell, until\n"
        f"import time\nif __name__ == '__main__':\n    engine = Processes(1)\n"
        f"    engine.submit(cell('a', until, {str(tmp_path / 'never')!r}, {str(log)!r}))\n    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not log.exists() or not log.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    worker = int(log.read_text())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False

"""Engines: what comes back from workers, whatever becomes of them; in processes, and on a Ray cluster of this machine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from experiments.engines import Engine, Outcome, Task, Update, make_engine
from tests.cells import count_then, die, fail, leave, sleep, squares, until
from tests.test_sweep import comparison

ROOT = Path(__file__).parent.parent


def outcomes(engine: Engine, tasks: list[Task], running: int = 0) -> tuple[dict[str, Outcome], list[tuple[str, Update]]]:
    """Of all tasks by name, and the updates on the way; some may run already. An outcome comes once."""
    ended: dict[str, Outcome] = {}
    updates, waiting = [], list(tasks)
    while waiting or running:
        while waiting and running < engine.slots():
            engine.start(waiting.pop(0))
            running += 1
        for task, news in engine.wait(1.0):
            if isinstance(news, Outcome):
                assert task.name not in ended
                ended[task.name] = news
                running -= 1
            else:
                updates.append((task.name, news))
    return ended, updates


@pytest.fixture(scope="module")
def ray_engine() -> Iterator[Engine]:
    """A cluster with two cores; its key is this test's own, so that none is left in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
        pytest.importorskip("ray")  # only now: importing it reads the key
        engine = make_engine("ray", address="local")
        yield engine
        engine.close()


@pytest.fixture
def process_engine() -> Iterator[Engine]:
    engine = make_engine("processes", 2)
    yield engine
    engine.close()


@pytest.fixture(params=["process_engine", "ray_engine"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def test_rows_and_files_come_back_and_errors_are_outcomes(engine: Engine) -> None:
    ended, updates = outcomes(engine, [*squares(3, 4, 5), Task("broken", fail)])
    processes = set()
    for number in (3, 4, 5):
        outcome = ended[f"square {number}"]
        assert outcome.failure is None
        assert outcome.rows == [{"number": number, "square": number**2}]
        assert outcome.words == f"squared {number}"
        assert set(outcome.files) == {"deep/bytes", "process.txt"}
        assert outcome.files["deep/bytes"] == bytes([number])
        processes.add(int(outcome.files["process.txt"]))
    assert os.getpid() not in processes
    failure = ended["broken"].failure
    assert failure is not None
    assert (failure.kind, failure.error, failure.message) == ("error", "LookupError", "no such row")
    assert 'raise LookupError("no such row")' in failure.traceback
    assert not ended["broken"].rows
    assert not ended["broken"].files
    if updates:  # Ray tells none
        assert len(processes) == 3
        assert [news for name, news in updates if name == "square 4"] == [(1, 2, "half"), (2, 2, "squared 4")]


def test_tasks_run_side_by_side(engine: Engine, tmp_path: Path) -> None:
    """Neither may end before the other has begun."""
    flag, log = tmp_path / "flag", tmp_path / "log"
    for name in ("a", "b"):
        engine.start(Task(name, partial(until, str(flag), str(log), name)))
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert not [news for _, news in engine.wait(0.1) if isinstance(news, Outcome)]
    flag.touch()
    ended, _ = outcomes(engine, [], running=2)
    assert {name: outcome.rows for name, outcome in ended.items()} == {name: [{"name": name}] for name in ("a", "b")}


def test_workers_that_die_are_outcomes_and_the_rest_go_on(process_engine: Engine) -> None:
    tasks = [
        Task("killed", partial(die, signal.SIGKILL)),
        Task("crashed", partial(die, signal.SIGSEGV)),
        Task("left", leave),
        *squares(1, 2),
    ]
    ended, _ = outcomes(process_engine, tasks)
    told = {name: ended[name].failure for name in ("killed", "crashed", "left")}
    assert {failure.kind for failure in told.values() if failure} == {"worker died"}
    assert [failure.message for failure in told.values() if failure] == [
        "worker died with signal 9",
        "worker died with signal 11",
        "worker ended with exit code 3",
    ]
    assert ended["square 1"].rows
    assert ended["square 2"].rows


def test_a_worker_that_ray_loses_is_replaced(ray_engine: Engine, tmp_path: Path) -> None:
    """Nothing is lost and nothing doubled; who dies every time is an outcome."""
    log = tmp_path / "log"
    killed = [Task("killed once", partial(count_then, str(log), 1)), Task("killed", partial(die, signal.SIGKILL))]
    ended, _ = outcomes(ray_engine, [*killed, *squares(1, 2)])
    assert ended["killed once"].rows == [{"computed": 2}]
    assert len(set(log.read_text().split())) == 2
    assert ended["square 1"].rows
    assert ended["square 2"].rows
    failure = ended["killed"].failure
    assert failure is not None
    assert failure.kind == "worker died"


def test_a_time_limit_ends_tasks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_time_limit", 0.5)
    ended, _ = outcomes(engine, [Task("endless", partial(sleep, 10000.0))])
    failure = ended["endless"].failure
    assert failure is not None
    assert failure.kind == "TLE"
    monkeypatch.setattr(engine, "_time_limit", 1000.0)
    ended, _ = outcomes(engine, [Task("in time", partial(sleep, 0.5))])
    assert ended["in time"].rows == [{"slept": 0.5}]


def test_ray_gives_the_results_of_processes(ray_engine: Engine, process_engine: Engine, tmp_path: Path) -> None:
    tasks = [task for task in comparison(tmp_path).tasks if task.split_seed == "2"]
    tables = []
    for engine in (process_engine, ray_engine):
        ended, _ = outcomes(engine, tasks)
        tables.append([{**row, "seconds": 0} for task in tasks for row in ended[task.name].rows])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2 * 2


DRIVER = """
import sys
from functools import partial
from experiments.engines import Task, make_engine
from tests.cells import until
engine = make_engine("processes", 2)
for name in "ab":
    engine.start(Task(name, partial(until, "never", sys.argv[1], name)))
print(engine._scratch.name, flush=True)
while True:
    engine.wait(1.0)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(log)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert driver.stdout is not None
    scratch = Path(driver.stdout.readline().strip())
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert driver.poll() is None
        time.sleep(0.05)
    workers = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert all(alive(pid) for pid in workers)
    assert len(list(scratch.iterdir())) == 2
    driver.kill()
    driver.communicate()
    while any(alive(pid) for pid in workers) or scratch.exists():  # else pytest hangs, which is a failure too
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is not a zombie."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "--workers must be at least 1, got 0"),
        ({"time_limit": 0.0}, "--time-limit must be above 0"),
        ({"address": "auto"}, "--address is for --engine ray"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_engine("processes", **settings)  # type: ignore[arg-type]


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "experiments.engines.ray_cluster", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'mixrl\[cluster\]'"):
        make_engine("ray")

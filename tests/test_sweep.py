"""Sweeps that survive: killed, doubled, interrupted, with failing cells and time limits. Records are whole, and there once."""

from __future__ import annotations

import io
import json
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.kinds import read_study
from experiments.runner.cells import Cell, Computed, Failure, Outcome
from experiments.runner.engines import Engine, make_engine
from experiments.runner.locks import locked
from experiments.runner.progress import SweepProgress
from experiments.runner.store import Store, read_results, stored
from experiments.runner.sweep import Sweep
from tests.cells import cell, die, fail, sleep, squares
from tests.test_experiments import ROOT, run

SMOKE = """
preset = "smoke"
datasets = ["auto"]
splits = [0, 2]
baselines = ["No Augmentation"]
[settings]
env_id = "MixRL-v0"
options = [["data", 1], ["label", 2]]
step_budget = 3
thresholds = 2
regressor = { hidden_sizes = [4], max_steps = 10 }
[variants."MixRL"]
agent = "mask_regression"
mask_regression = { num_features = 5 }
"""


def write(folder: Path, text: str = SMOKE) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def store_of(folder: Path, cells: list[Cell]) -> Store:
    return Store(folder, cells, 'kind = "compare"\n', "the command")


def sweep(store: Store, engine: Engine, time_limit: float | None = None) -> tuple[SweepProgress, str]:
    """The end of a sweep, and what it printed."""
    out = io.StringIO()
    with SweepProgress(Console(file=out, width=200)) as progress:
        Sweep([store], engine, progress, time_limit).run()
    return progress, out.getvalue()


def two(time_limit: float | None = None) -> Engine:
    return make_engine("processes", 2, time_limit=time_limit)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "experiments", "sweep", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def rows(folder: Path) -> pd.DataFrame:
    return read_results(folder).rows.drop(columns="seconds")


def test_same_results_with_one_worker_and_with_two(tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        path = write(folder)
        store = Store(folder, read_study(path).cells(), path.read_text(), "command")
        sweep(store, make_engine("processes", workers))
        tables.append(rows(folder))
        assert not store.missing()
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0].drop_duplicates(["split_seed", "method"])["method"]) == ["No Augmentation", "MixRL"] * 2
    exported = pd.read_csv(tmp_path / "2" / "results.csv")
    assert exported["test_rmse"].tolist() == tables[1]["test_rmse"].tolist()
    assert {"preset", "version", "command"} <= set(exported)
    names = {"policy.csv", "candidates.csv", "plan.csv", "progress.csv"}
    one, other = (tmp_path / workers / "files" / "auto-split2-mixrl" for workers in "12")
    assert {path.name for path in one.iterdir()} == names
    for name in names:
        ours, theirs = (pd.read_csv(folder / name).drop(columns="seconds", errors="ignore") for folder in (one, other))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_two_sweeps_on_one_folder_of_which_one_is_killed(tmp_path: Path) -> None:
    """Both start at once; the survivor takes over the cells that the other had locked."""
    path, folder = write(tmp_path, SMOKE.replace("[0, 2]", str(list(range(4))))), tmp_path / "mine"
    both = [start(path, "--out", tmp_path, "--workers", 1) for _ in range(2)]
    while not list(folder.glob("cells/*.json")):
        assert all(process.poll() is None for process in both)
        time.sleep(0.02)
    both[0].kill()
    both[0].communicate()
    printed, errors = both[1].communicate(timeout=120)
    assert both[1].returncode == 0, errors
    results = read_results(folder).rows
    assert len(results) == 2 * 4 * 2
    assert not results.duplicated(["method", "split_seed", "seed"]).any()
    assert results["split_seed"].is_monotonic_increasing  # in the order of the study
    ended = [line.split("] ")[1].split(": ")[0] for line in printed.splitlines() if line.startswith("[")]
    assert len(set(ended)) == len(ended)
    before = (folder / "results.csv").read_bytes()
    assert "nothing to compute" in run("sweep", path, "--out", tmp_path).stdout
    assert (folder / "results.csv").read_bytes() == before


def test_failing_and_slow_cells_of_a_study(tmp_path: Path) -> None:
    """They are recorded, the other cells are computed, the tables say TLE; the same command tries failures again."""
    broken = '[variants."Broken"]\nval_rows = 1000\n'
    path, folder = write(tmp_path, SMOKE.replace("[0, 2]", "[0]") + broken), tmp_path / "mine"
    done = run("sweep", path, "--out", tmp_path, "--workers", "2")
    assert done.returncode == 1, done.stderr
    assert "failed: auto-split0-broken\n" in done.stdout
    failure = json.loads((folder / "cells" / "auto-split0-broken.failed.json").read_text())["failure"]
    assert failure["kind"] == "error"
    assert "cannot take 1000 val rows" in failure["message"]
    assert set(read_results(folder).rows["method"]) == {"No Augmentation", "MixRL"}
    path.write_text(path.read_text().replace("1000", "20"))
    again = run("sweep", path, "--out", tmp_path)
    assert again.returncode == 0, again.stdout
    assert not stored(folder).failed
    assert set(read_results(folder).rows["method"]) == {"No Augmentation", "MixRL", "Broken"}
    # All that is left has endless work before it.
    path.write_text(path.read_text() + '[variants."Slow"]\ntrainings = 1000000\nagent = "mask_regression"\n')
    for printed in ("beyond the time limit, not done", "beyond the time limit, known: not done"):
        late = run("sweep", path, "--out", tmp_path, "--time-limit", "0.02")
        assert late.returncode == 0, late.stdout
        assert printed in late.stdout
    assert "| Slow | TLE |  | TLE |  |  |  |" in run("tables", folder, "--markdown").stdout


def test_failures_are_recorded_and_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    store = store_of(folder, [cell("broken", fail), *squares(1, 2), cell("killed", die, signal.SIGKILL)])
    progress, printed = sweep(store, two())
    assert sorted(progress.failed) == ["broken", "killed"]
    kinds = {record.cell: record.failure["kind"] for record in stored(folder).failed if record.failure}
    assert kinds == {"broken": "error", "killed": "worker died"}
    assert "failed: LookupError: no such row" in printed
    assert [one.name for one in store.missing()] == ["broken", "killed"]
    # Next time the one works, and the other is tried again.
    again = store_of(folder, [Cell("broken", squares(3)[0].compute, {"name": "broken"}), *squares(1, 2), cell("killed", fail)])
    progress, _ = sweep(again, two())
    assert progress.failed == ["killed"]
    assert [record.cell for record in stored(folder).failed] == ["killed"]


def test_time_limits_are_remembered(tmp_path: Path) -> None:
    store = store_of(tmp_path / "kept", [cell("slow", sleep, 1.0)])
    progress, _ = sweep(store, two(0.01), 0.01)
    assert (progress.failed, progress.too_slow) == ([], ["slow"])
    for limit in (0.01, 0.005):
        progress, printed = sweep(store, two(), limit)  # whose engine would let it end
        assert progress.too_slow == ["slow"]
        assert "known" in printed
    progress, _ = sweep(store, two(), 0.02)
    assert not progress.too_slow
    assert not store.missing()
    assert not stored(store.folder).failed


def test_cells_of_another_sweep_are_waited_for(tmp_path: Path) -> None:
    """A cell that another sweep has locked is left to it; one that it drops is taken over, one that it fails at is not."""
    store = store_of(tmp_path / "kept", squares(1, 2, 3))
    store.begin()
    locks = {one.name: locked(store.folder, one.name) for one in store.cells}
    assert all(locks.values())
    assert locked(store.folder, "square-1") is None

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(sweep, store, two())
        time.sleep(1.0)
        store.save(store.cells[0], Outcome(Computed([{"stored by": "the other"}]), 1.0))
        store.save(store.cells[1], Outcome(None, 1.0, Failure("error", "theirs")))
        for lock in locks.values():
            assert lock is not None
            lock.release()
        progress, printed = ended.result()
    assert progress.failed == ["square-2"]
    assert "known: theirs" in printed
    by_cell = {record.cell: record.rows for record in stored(store.folder).records}
    assert by_cell["square-1"] == [{"stored by": "the other"}]
    assert by_cell["square-3"][0]["square"] == 9
    assert locked(store.folder, "square-3") is not None  # all locks are released


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_where_it_would_be_lost(tmp_path: Path, presses: int) -> None:
    """In a destructor, where Python drops exceptions; the cell at hand is stored, unless Ctrl-C is pressed twice."""

    class Pressed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    class Interrupted(Store):
        def save(self, one: Cell, outcome: Outcome, time_limit: float | None = None) -> None:
            Pressed()
            if presses == 2:
                signal.raise_signal(signal.SIGINT)
            super().save(one, outcome, time_limit)

    store = Interrupted(tmp_path, squares(1, 2, 3), "", "command")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sweep(store, make_engine("processes", 1))
    assert len(store.missing()) == (3 if presses == 2 else 2)
    assert signal.getsignal(signal.SIGINT) is handler


# The store


def test_records_of_other_settings_are_refused(tmp_path: Path) -> None:
    cells = squares(1, 2)
    store = store_of(tmp_path, cells)
    store.begin()
    store.save(cells[0], Outcome(Computed([{"square": 1}]), 0.1))
    other = Cell(cells[0].name, cells[0].compute, cells[0].labels, {"power": 3}, cells[0].place)
    with pytest.raises(ValueError, match="square-1 with power = 2, now 3; choose another folder with --out"):
        store_of(tmp_path, [other])
    store_of(tmp_path, squares(2, 3))  # a cell that is no longer asked for does not matter
    record = tmp_path / "cells" / "square-1.json"
    record.write_text(record.read_text().replace('"version": "', '"version": "9.'))
    with pytest.raises(ValueError, match="version of mixrl"):
        store_of(tmp_path, cells)
    record.write_text(record.read_text()[:30])
    with pytest.raises(ValueError, match=r"square-1\.json is not a stored record"):
        store_of(tmp_path, cells)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    cells = squares(1, 2)
    store = store_of(tmp_path, cells)
    store.begin()
    store.save(cells[0], Outcome(Computed([{"square": 1}], {"file": b"before"}), 0.1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for one in cells:
            with pytest.raises(OSError, match="File too large"):
                store.save(one, Outcome(Computed([{"square": number} for number in range(50)], {}), 0.1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# Progress

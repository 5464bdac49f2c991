"""Sweeps that survive: killed, doubled, with failing cells and time limits. What is stored is whole, and there once."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.claims import claim
from experiments.comparison import Comparison
from experiments.engines import Engine, Failure, Outcome, Task, Update, make_engine
from experiments.failures import exceeds, read_failures, record_failure
from experiments.progress import SweepProgress
from experiments.results import read_results
from experiments.studies.kinds import read_toml
from experiments.study import Study, read_study
from experiments.sweep import Sweep, Work
from tests.cells import Kept, die, fail, sleep, squares
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


def comparison(folder: Path) -> Comparison:
    path = write(folder)
    study = read_study(path, read_toml(path))
    assert isinstance(study, Study)
    return Comparison(study, folder, "command")


def sweep(work: Work, engine: Engine, time_limit: float | None = None) -> tuple[SweepProgress, str]:
    """The end of a sweep, and what it printed."""
    out = io.StringIO()
    with SweepProgress(Console(file=out, width=200), engine.slots()) as progress:
        Sweep([work], engine, progress, time_limit, "the command").run()
    return progress, out.getvalue()


def two() -> Engine:
    return make_engine("processes", 2)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "experiments", "sweep", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


# Comparisons of methods


def test_same_results_with_one_worker_and_with_two(tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        work = comparison(tmp_path / str(workers))
        sweep(work, make_engine("processes", workers))
        tables.append(read_results(work.folder).drop(columns="seconds"))
        assert not work.missing()
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0].drop_duplicates(["split_seed", "method"])["method"]) == ["No Augmentation", "MixRL"] * 2
    cell = tmp_path / "2" / "auto-split2"
    assert {"policy.csv", "policies.csv", "plan.csv", "progress.csv"} <= {file.name for file in cell.iterdir()}
    for name in ("plan.csv", "policies.csv"):
        assert (cell / name).read_bytes() == (tmp_path / "1" / "auto-split2" / name).read_bytes()


def test_two_sweeps_on_one_folder_of_which_one_is_killed(tmp_path: Path) -> None:
    """Both start at once; the survivor takes over what the other had claimed. Every cell is there once."""
    path, folder = write(tmp_path, SMOKE.replace("[0, 2]", str(list(range(8))))), tmp_path / "mine"
    both = [start(path, "--out", tmp_path, "--workers", 1) for _ in range(2)]
    while not (folder / "results.csv").exists():
        assert all(process.poll() is None for process in both)
        time.sleep(0.02)
    both[0].kill()
    both[0].communicate()
    printed, errors = both[1].communicate(timeout=120)
    assert both[1].returncode == 0, errors
    results = read_results(folder)
    assert len(results) == 2 * 8 * 2
    assert not results.duplicated(["method", "split_seed", "seed"]).any()
    assert results["split_seed"].is_monotonic_increasing  # in the order of the study, whoever was first
    ended = [line for line in printed.splitlines() if line.startswith("[")]
    assert len({line.split("] ")[1].split(": ")[1] + line.split(",")[1] for line in ended}) == len(ended)
    before = (folder / "results.csv").read_bytes()
    assert "nothing to compute" in run("sweep", path, "--out", tmp_path).stdout
    assert (folder / "results.csv").read_bytes() == before


def test_failing_and_slow_cells_of_a_study(tmp_path: Path) -> None:
    """They are recorded, the others go on, the tables say TLE; the same command tries again what failed."""
    broken = '[variants."Broken"]\nval_rows = 1000\n'
    path, folder = write(tmp_path, SMOKE.replace("[0, 2]", "[0]") + broken), tmp_path / "mine"
    done = run("sweep", path, "--out", tmp_path, "--workers", "2")
    assert done.returncode == 1, done.stderr
    assert "failed: auto, split 0: Broken\n" in done.stdout
    stored = read_failures(folder).set_index("method")
    assert stored.loc["Broken", ["dataset", "split_seed", "kind", "error"]].tolist() == ["auto", "0", "error", "ValueError"]
    assert "cannot take 1000 val rows" in stored.loc["Broken", "message"]
    assert stored.loc["Broken", "command"].startswith("python -m experiments sweep ")
    assert set(read_results(folder)["method"]) == {"No Augmentation", "MixRL"}
    path.write_text(path.read_text().replace("1000", "20"))
    again = run("sweep", path, "--out", tmp_path)
    assert again.returncode == 0, again.stdout
    assert not (folder / "failures.csv").exists()
    assert set(read_results(folder)["method"]) == {"No Augmentation", "MixRL", "Broken"}
    # All that is left has endless work before it.
    path.write_text(path.read_text() + '[variants."Slow"]\ntrainings = 1000000\nagent = "mask_regression"\n')
    late = run("sweep", path, "--out", tmp_path, "--time-limit", "0.01")
    assert late.returncode == 0, late.stdout
    assert "beyond the time limit: auto, split 0: Slow\n" in late.stdout
    assert read_failures(folder)[["method", "kind", "time_limit"]].to_numpy().tolist() == [["Slow", "TLE", "0.01"]]
    assert "| Slow | TLE |  | TLE |  |  |  |" in run("tables", folder, "--markdown").stdout
    known = run("sweep", path, "--out", tmp_path, "--time-limit", "0.01")
    assert known.returncode == 0
    assert "is known to take longer than 0.01 minutes" in known.stdout


# Work of all kinds


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_where_it_would_be_lost(tmp_path: Path, presses: int) -> None:
    """In a destructor, in which Python drops exceptions; the cell at hand is stored, unless it is pressed twice."""

    class Pressed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    class Interrupted(Kept):
        def keep(self, task: Task, outcome: Outcome) -> None:
            Pressed()
            if presses == 2:
                signal.raise_signal(signal.SIGINT)
            super().keep(task, outcome)

    work = Interrupted(tmp_path, squares(1, 2, 3))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sweep(work, make_engine("processes", 1))
    assert len(work.missing()) == (3 if presses == 2 else 2)
    assert signal.getsignal(signal.SIGINT) is handler


def test_failures_are_recorded_and_forgotten(tmp_path: Path) -> None:
    tasks = [Task("broken", fail), *squares(1, 2), Task("killed", partial(die, signal.SIGKILL))]
    work = Kept(tmp_path / "kept", tasks)
    progress, printed = sweep(work, two())
    assert progress.failed == ["broken", "killed"] or progress.failed == ["killed", "broken"]
    stored = read_failures(work.folder).set_index("cell")
    assert stored["kind"].to_dict() == {"broken": "error", "killed": "worker died"}
    assert stored.loc["broken", ["error", "message", "command"]].tolist() == ["LookupError", "no such row", "the command"]
    assert stored.loc["broken", "traceback"].endswith("LookupError: no such row")
    assert stored.loc["killed", "message"] == "worker died with signal 9"
    assert "failed: LookupError no such row" in printed
    assert [task.name for task in work.missing()] == ["broken", "killed"]
    # Next time the one works, and the other is tried again.
    again = Kept(work.folder, [Task("broken", squares(3)[0].compute), *squares(1, 2), Task("killed", fail)])
    progress, _ = sweep(again, two())
    assert progress.failed == ["killed"]
    assert read_failures(work.folder)["cell"].tolist() == ["killed"]
    sweep(Kept(work.folder, [*squares(4), Task("killed", squares(3)[0].compute)]), two())
    assert not (work.folder / "failures.csv").exists()


def test_time_limits_are_remembered(tmp_path: Path) -> None:
    tasks = [Task("slow", partial(sleep, 1.0), settings="{}")]
    work = Kept(tmp_path / "kept", tasks)
    progress, _ = sweep(work, make_engine("processes", 2, time_limit=0.5), 0.01)
    assert (progress.failed, progress.beyond_time) == ([], ["slow"])
    stored = read_failures(work.folder)
    assert stored[["cell", "kind", "time_limit"]].to_numpy().tolist() == [["slow", "TLE", "0.01"]]
    for limit in (0.01, 0.005):
        assert exceeds(stored, tasks[0], limit)
        progress, printed = sweep(work, two(), limit)  # whose engine would let it end
        assert progress.beyond_time == ["slow"]
        assert "longer than 0.01 minutes" in printed
    for limit in (0.02, None):
        assert not exceeds(stored, tasks[0], limit)
    assert not exceeds(stored, Task("slow", tasks[0].compute, settings="{1}"), 0.01)
    progress, _ = sweep(work, two(), 0.02)
    assert not progress.beyond_time
    assert not work.missing()
    assert not (work.folder / "failures.csv").exists()


def test_two_sweeps_at_once_compute_nothing_twice(tmp_path: Path) -> None:
    """`Kept` fails if it is to store a cell again; threads claim cells from each other as processes do."""
    works = [Kept(tmp_path / "kept", squares(*range(16))) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda work: sweep(work, two()), works))
    own = [line for _, printed in ended for line in printed.splitlines() if " s, squared " in line]
    assert len(own) == len({line.split("] ")[1].split(":")[0] for line in own}) == 16
    assert not works[0].missing()


def test_cells_of_another_sweep_are_waited_for(tmp_path: Path) -> None:
    """What another has claimed is left to it, what it has failed at is not tried, and what it drops is taken over."""
    work = Kept(tmp_path / "kept", squares(1, 2, 3, 4))
    locks = {task.name: claim(work.folder, task.name) for task in work.tasks[:3]}
    assert all(locks.values())
    assert claim(work.folder, "square 1") is None

    class Meanwhile:
        """An engine during whose work the other sweep goes on."""

        def __init__(self) -> None:
            self.engine, self.waits, self.started = two(), 0, list[str]()

        def slots(self) -> int:
            return 2

        def start(self, task: Task) -> None:
            self.started.append(task.name)
            self.engine.start(task)

        def wait(self, seconds: float) -> list[tuple[Task, Update | Outcome]]:
            self.waits += 1
            if self.waits == 1:
                assert self.started == ["square 4"]
            if "square 4" not in {task.name for task in work.missing()} and locks:
                work.keep(work.tasks[0], Outcome([{"stored by": "the other"}]))
                record_failure(work.folder, work.tasks[1], Outcome(failure=Failure("error", "E", "theirs")), None, "other")
                for lock in locks.values():
                    assert lock is not None
                    lock.release()
                locks.clear()
            return self.engine.wait(0.05)

        def close(self) -> None:
            self.engine.close()

    engine = Meanwhile()
    progress, printed = sweep(work, engine)
    assert engine.started == ["square 4", "square 3"]
    assert "the other" in (work.folder / "square 1").read_text()
    assert progress.failed == ["square 2"]
    assert "failed in another sweep: theirs" in printed
    assert claim(work.folder, "square 4") is not None  # all claims are released


# Progress


def test_progress_counts_and_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("experiments.progress.time.monotonic", lambda: clock[0])
    tasks = [Task(f"{method} {n}", fail, method=method) for method in ("A", "B") for n in range(4)]
    out = io.StringIO()
    progress = SweepProgress(Console(file=out, width=200), workers=2)
    progress.begin(tasks, 10)
    assert progress.seconds_left() is None
    for task in tasks[:2]:
        progress.start(task)
    clock[0] += 30
    progress.end(tasks[0], Outcome([{}], seconds=30.0, words="fine"))
    assert out.getvalue() == "[3/10] A 0: 30.0 s, fine\n"
    # A 1 should be done by now; 6 more of 30 seconds for two workers.
    assert progress.seconds_left() == pytest.approx(6 * 30 / 2)
    progress.start(tasks[4])
    clock[0] += 10
    progress.end(tasks[4], Outcome([{}], seconds=10.0))
    # A 1 is late; two of A take 30 each, three of B 10.
    assert progress.seconds_left() == pytest.approx((2 * 30 + 3 * 10) / 2)
    progress.end(tasks[1], Outcome(seconds=40.0, failure=Failure("error", "E", "why")))
    assert progress.failed == ["A 1"]
    assert out.getvalue().splitlines()[-1] == "[5/10] A 1: failed: E why"


def test_progress_on_a_terminal_shows_running_cells() -> None:
    tasks = squares(1, 2, 3)
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=True, color_system=None)
    with SweepProgress(console, 2) as progress:
        progress.begin(tasks, 5)
        progress.start(tasks[0])
        progress.start(tasks[1])
        progress.update(tasks[0], Update(3, 8, "val RMSE 0.5"))
        progress.end(tasks[1], Outcome([{}], seconds=1.0))
    shown = out.getvalue()
    assert "3 done, 1 running, 0 failed" in shown
    last = shown[shown.rindex("3 done, 1 running") :]
    assert "3/5" in last
    assert "square 1" in last
    assert "3/8" in last
    assert "val RMSE 0.5" in last
    assert "left" in last
    assert "square 2" not in last

"""Two that write to one place at the same time: right results, or a refusal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pandas as pd
import pytest

from experiments.comparison import Comparison, compute_method
from experiments.engines import Failure, Outcome, Task
from experiments.failures import forget_failure, read_failures, record_failure
from experiments.results import read_results, write_bytes
from experiments.studies.kinds import SETTINGS_FILE, as_toml, keep_settings, read_toml
from experiments.study import Study, read_study
from tests.cells import fail
from tests.test_command import names
from tests.test_sweep import SMOKE, write

# Results folders


def test_two_comparisons_of_other_settings_do_not_mix(tmp_path: Path) -> None:
    """Both have found the folder empty; the one that stores first has it."""

    def comparison(steps: int) -> Comparison:
        path = write(tmp_path, SMOKE.replace("step_budget = 3", f"step_budget = {steps}"))
        study = read_study(path, read_toml(path))
        assert isinstance(study, Study)
        return Comparison(study, tmp_path / "mine", "command")

    both = [comparison(3), comparison(4)]
    (tmp_path / "scratch").mkdir()
    for work, task in zip(both, (both[0].tasks[1], both[1].tasks[3]), strict=True):
        dataset, method, split = work._cells[task]
        settings = work.study.settings_on(dataset, method)
        rows = compute_method(method, settings, split, tmp_path / "scratch", lambda *told: None)
        if work is both[0]:
            work.keep(task, Outcome(rows))
            before = read_results(work.folder)
        else:
            with pytest.raises(ValueError, match=r"made with another settings: .*choose another folder with --out"):
                work.keep(task, Outcome(rows))
            pd.testing.assert_frame_equal(read_results(work.folder), before)


def together(*works: object) -> list[str]:
    """Call all at once, in threads; what was refused."""
    start = Barrier(len(works))

    def call(work: object) -> str:
        start.wait(timeout=60)
        try:
            work()  # type: ignore[operator]
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(works)) as pool:
        return list(filter(None, pool.map(call, works)))


def test_two_studies_of_other_settings_do_not_share_a_folder(tmp_path: Path) -> None:
    """Each checks and writes as one: both finding nothing, and then both writing, would mix their cells."""
    for turn in range(20):
        folder = tmp_path / str(turn)
        told = [{"kind": "agents", "trainings": trainings} for trainings in (64, 128)]
        refused = together(*(partial(keep_settings, "mine", one, as_toml(one), folder) for one in told))
        assert len(refused) == 1
        assert "choose another folder with --out" in refused[0]
        assert read_toml(folder / SETTINGS_FILE) in told


def test_a_file_written_by_several_at_once_is_one_of_them(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"abcd"]
    for _ in range(20):
        assert not together(*(partial(write_bytes, content, tmp_path / "file") for content in contents))
        assert (tmp_path / "file").read_bytes() in contents
    assert names(tmp_path) == {"file"}


def test_failures_are_read_while_another_sweep_forgets_them(tmp_path: Path) -> None:
    task, outcome = Task("broken", fail), Outcome(failure=Failure("error", "E", "why"))

    def record_and_forget() -> None:
        for _ in range(100):
            record_failure(tmp_path, task, outcome, None, "command")
            forget_failure(tmp_path, task)

    def read() -> None:
        for _ in range(1000):
            assert len(read_failures(tmp_path)) <= 1

    assert not together(record_and_forget, read)

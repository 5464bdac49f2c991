"""Files that are written together: killed or interrupted at any line, they are all old or all new."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from experiments import transaction
from experiments.transaction import roll_back, write_all
from mixrl import files

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
PROCESSES = multiprocessing.get_context("fork")  # in no time
NAMES = ("table.csv", "table-plan.csv", "table-plan.png")
OURS = {transaction.__file__, files.__file__}


def stops_at(line: int, how: str, work: Callable[[], None]) -> None:
    """Work that is stopped at a line of ours, counted from 0."""
    left = iter(range(line, -1, -1))

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and next(left) == 0:
            if how == "interrupted":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGKILL)
        return trace if frame.f_code.co_filename in OURS else None

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


def process_ends(line: int, how: str, work: Callable[[], None]) -> bool:
    """Whether the work comes to its end before the line."""
    process = PROCESSES.Process(target=stops_at, args=(line, how, work))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL, 1)
    return process.exitcode == 0


def prepared(folder: Path, existing: tuple[str, ...]) -> list[Path]:
    folder.mkdir()
    for name in existing:
        (folder / name).write_text("old")
    return [folder / name for name in NAMES]


def state(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("existing", [(), NAMES, NAMES[1:]])
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_stopped_at_every_line(how: str, existing: tuple[str, ...], tmp_path: Path) -> None:
    old, new = dict.fromkeys(existing, "old"), dict.fromkeys(NAMES, "new")
    seen = []
    for line in range(1000):
        folder = tmp_path / str(line)
        paths = prepared(folder, existing)
        ended = process_ends(line, how, lambda paths=paths: write_all(dict.fromkeys(paths, b"new")))
        roll_back(paths)
        assert state(folder) in (old, new)
        seen.append(state(folder) == new)
        if ended:
            break
    assert len(seen) > 30
    assert seen == sorted(seen)  # old up to one line, new from there on
    assert seen[-1]
    assert not seen[0]


@pytest.mark.parametrize("name", ["préis.csv", "two\nlines.csv", os.fsdecode(b"no text \xff.csv")])
def test_names_of_any_kind_are_put_back(name: str, tmp_path: Path) -> None:
    """A name that was misread would be taken for that of a file which was not there, and the file be removed."""
    path = tmp_path / name
    path.write_text("old")
    for line in range(1000):
        ended = process_ends(line, "killed", lambda: write_all({path: b"new"}))
        roll_back([path])
        assert state(tmp_path) in ({name: "old"}, {name: "new"})
        if ended:
            break
        path.write_text("old")


@pytest.mark.parametrize("existing", [(), NAMES, NAMES[1:]])
def test_killed_at_every_line_of_the_rolling_back(existing: tuple[str, ...], tmp_path: Path) -> None:
    for line in range(1000):
        folder = tmp_path / str(line)
        paths = prepared(folder, existing)
        with pytest.MonkeyPatch.context() as patch:  # killed with two of three replaced
            patch.setattr(transaction, "roll_back", lambda paths: None)
            replace, calls = Path.replace, iter(range(100))

            def failing(path: Path, target: Path, replace: Any = replace, calls: Any = calls) -> Path:
                if next(calls) == 3:  # the first is the journal's
                    raise OSError("stopped")
                return replace(path, target)

            patch.setattr(Path, "replace", failing)
            with pytest.raises(OSError, match="stopped"):
                write_all(dict.fromkeys(paths, b"new"))
        assert sorted(state(folder).values()).count("new") >= 2
        ended = process_ends(line, "killed", lambda paths=paths: roll_back(paths))
        roll_back(paths)
        assert state(folder) == dict.fromkeys(existing, "old")
        if ended:
            break
    assert line > 15

"""Several files that are written together: all of them or none, whatever ends the process.

As databases do it, with a journal: while old files are replaced, their copies and a list of them lie beside, and whoever finds
the list puts the old files back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mixrl.files import write_through


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write or replace files of one folder, all of them or none; whoever reads one never sees half of it.

    Nobody else may write them at that time. If the process is killed, `roll_back` is still to be called.

    Args:
        contents: what goes into which file.
    """
    try:
        for path, content in contents.items():
            write_through(content, _new(path))
        existed = [path for path in contents if path.exists()]
        for path in existed:
            shutil.copy2(path, _old(path))
        journal = _journal(contents)
        write_through(json.dumps([path.name for path in existed]).encode(), _new(journal))
        _new(journal).replace(journal)  # from here on the old files are put back
        for path in contents:
            _new(path).replace(path)
        journal.unlink()  # and from here on no more
    finally:
        roll_back(contents)


def roll_back(files: Iterable[Path]) -> None:
    """Put back what a call of `write_all` for these files replaced before it failed or was killed, and tidy up after it.

    Args:
        files: as they were told to `write_all`, in the same order.
    """
    files = list(files)
    journal = _journal(files)
    if journal.exists():
        existed = json.loads(journal.read_text())
        for path in files:
            if path.name not in existed:
                path.unlink(missing_ok=True)
            elif _old(path).exists():  # else put back by one that was killed, too
                _old(path).replace(path)
        journal.unlink()
    for path in (*files, journal):
        _new(path).unlink(missing_ok=True)
        _old(path).unlink(missing_ok=True)


def _journal(files: Iterable[Path]) -> Path:
    first = next(iter(files))
    return first.with_name(f"{first.name}.journal")


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")

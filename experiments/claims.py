"""Locks that sweeps on one folder share the work by. The operating system releases those of a process that dies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

_FOLDER = ".locks"


def files_lock(folder: Path) -> BaseFileLock:
    """Held, as a context, while a file of a results folder is read, changed and replaced."""
    return FileLock(_locks(folder) / "files.lock")


def claim(folder: Path, cell: str) -> BaseFileLock | None:
    """The right to compute a cell, until it is released; None if another sweep has it.

    Args:
        folder: of the results.
        cell: its name, unique in the folder.
    """
    return _acquired(_locks(folder) / f"{hashlib.sha256(cell.encode()).hexdigest()[:16]}.lock")


@contextmanager
def claim_folder(folder: Path, work: str) -> Iterator[None]:
    """Held, as a context, while a folder is worked on by one process alone.

    Args:
        folder: of the results.
        work: a verb such as "trains".

    Raises:
        ValueError: if another process works on it now.
    """
    lock = claim(folder, work)
    if lock is None:
        raise ValueError(f"another process {work} into {folder}: wait until it is done, or give another --out")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claim_files(path: Path) -> Iterator[None]:
    """Held, as a context, while a file and those that are named after it are made; afterwards nothing of the claim is left.

    Args:
        path: of the file; the ending makes no difference.

    Raises:
        ValueError: if another process makes them now.
    """
    lock = _acquired(path.with_name(f".{path.stem}.lock"))
    if lock is None:
        raise ValueError(f"{path} is being made by another process: wait until it is done, or give another --out")
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; there releasing it does
            Path(lock.lock_file).unlink()
        lock.release()


def _acquired(path: Path) -> BaseFileLock | None:
    """The lock at a path, held from now on; None if another process holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _locks(folder: Path) -> Path:
    locks = folder / _FOLDER
    if not locks.exists():
        locks.mkdir(parents=True, exist_ok=True)
        (locks / ".gitignore").write_text("*\n")
    return locks

"""Locks in a results folder; the operating system releases those of a process that dies."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def locked(folder: Path, name: str) -> BaseFileLock | None:
    """A lock that this process holds from now on; None if another process holds it.

    Args:
        folder: of the results.
        name: of the work that is locked.
    """
    locks = folder / ".locks"
    if not locks.exists():
        locks.mkdir(parents=True, exist_ok=True)
        (locks / ".gitignore").write_text("*\n")
    lock = FileLock(locks / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock

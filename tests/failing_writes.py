"""Writes to the disk that fail: the process dies at one of them, or there is no room."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable


def fails_at(write: int, how: str) -> Callable[[int], None]:
    """A stand-in for os.fsync, which ends each write before the file gets its name.

    Args:
        write: the one that fails, counted from 0.
        how: "middle" and "before the name" are SIGKILL with half of the file or all of it, "full" is a full disk.
    """
    left, fsync = iter(range(write, -1, -1)), os.fsync

    def fail(file: int) -> None:
        if next(left) > 0:
            return fsync(file)
        if how != "before the name":
            os.ftruncate(file, os.fstat(file).st_size // 2)
        if how == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.SIGKILL)

    return fail

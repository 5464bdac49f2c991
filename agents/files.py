"""Atomic file writes."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_bytes(content: bytes, path: Path) -> None:
    """Write or replace a file atomically, also if the process or the machine stops."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")  # others may write the same file; containers share pids
    try:
        write_through(content, partial)  # or else a machine that crashes may leave the new name with nothing behind it
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_through(content: bytes, path: Path) -> None:
    """Write a file, and return when the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

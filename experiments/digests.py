"""SHA256SUMS of a results folder: a table that was stored is told from one that was damaged, down to one digit.

`sha256sum --check SHA256SUMS` reads the file, too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mixrl.files import write_bytes

NAME = "SHA256SUMS"


def write_kept(content: bytes, path: Path) -> None:
    """Write or replace a file in one go, and keep its digest; the caller holds the lock of the folder's files."""
    others = [line for line in _lines(path) if not line.endswith(f"  {path.name}")]
    before = [line for line in _lines(path) if line not in others]
    new = f"{hashlib.sha256(content).hexdigest()}  {path.name}"
    # Both digests are good while the file is replaced: a process that is killed in between leaves no false alarm.
    for lines, step in (([*others, *before, new], True), ([*others, new], False)):
        write_bytes("".join(f"{line}\n" for line in sorted(set(lines), key=_name)).encode(), path.with_name(NAME))
        if step:
            write_bytes(content, path)


def check_kept(path: Path) -> None:
    """Raise a ValueError if a file is not as it was stored; nothing is known of files that were stored without a digest."""
    known = [line.split("  ")[0] for line in _lines(path) if line.endswith(f"  {path.name}")]
    if known and hashlib.sha256(path.read_bytes()).hexdigest() not in known:
        raise ValueError(
            f"{path} is damaged, it is not as it was stored: put back a copy of it, or remove it to compute it anew "
            f"(or remove {path.with_name(NAME)}, if it was changed on purpose)"
        )


def _name(line: str) -> str:
    return line.partition("  ")[2]


def _lines(path: Path) -> list[str]:
    sums = path.with_name(NAME)
    return sums.read_text(errors="replace").splitlines() if sums.exists() else []

"""Several writers of one file: its content is that of one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from mixrl.files import write_bytes


def test_a_file_written_by_several_at_once_is_one_of_them(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"abcd"]
    start = Barrier(len(contents))

    def write(content: bytes) -> None:
        start.wait(timeout=60)
        write_bytes(content, tmp_path / "file")

    with ThreadPoolExecutor(len(contents)) as pool:
        for _ in range(20):
            list(pool.map(write, contents))
            assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

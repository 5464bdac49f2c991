"""The table of bad input: each gives one clear error that names the culprit, and leaves files and arrays as they were."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.__main__ import main
from tests.bad_calls import CALLS, Call, X, Y
from tests.bad_files import FILES, NETWORKS, Command

TABLE = [*CALLS, *NETWORKS, *FILES]
PARTS = {"environment", "agents", "estimators", "command line", "stored files"}


def named(entry: Call | Command) -> str:
    return f"{entry.part}: {entry.what}"


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file's bytes, and every folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_table_covers_all_parts() -> None:
    assert len({named(entry) for entry in TABLE}) == len(TABLE)
    assert {entry.part for entry in TABLE} == PARTS


@pytest.mark.parametrize("entry", CALLS, ids=named)
def test_a_bad_call_is_told_in_words(entry: Call, folder: Path) -> None:
    x, y, generators = X.copy(), Y.copy(), (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state())  # noqa: NPY002
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        entry.call()
    for words in entry.words:
        assert words in str(caught.value)
    assert not list(folder.iterdir())
    np.testing.assert_array_equal(X, x)
    np.testing.assert_array_equal(Y, y)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == generators[:2]  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), generators[2])


@pytest.mark.parametrize("entry", NETWORKS, ids=named)
def test_a_damaged_network_is_told_by_name(entry: Call, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"h\.safetensors") as caught:
        entry.call()
    for words in entry.words:
        assert words in str(caught.value)
    assert {path.name for path in folder.iterdir()} <= {"h.safetensors", "good.safetensors"}


@pytest.mark.parametrize("entry", FILES, ids=named)
def test_a_bad_command_is_one_line(
    entry: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in entry.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = contents(folder)
    monkeypatch.setattr(sys, "argv", ["python -m experiments", *entry.arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert "Traceback" not in error
    if entry.words:  # without them it is the usage box of tyro
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    for words in entry.words:
        assert words in error
    assert contents(folder) == before

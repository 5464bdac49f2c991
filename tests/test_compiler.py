"""The C kernel is compiled once for this machine, and where that fails, torch is used and the reason named."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixrl_env import RegressorConfig
from mixrl_env.backends import kernel_problem
from mixrl_env.backends.compiler import KernelUnavailableError, _compiler, load_kernel
from tests.backends import needs_kernel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that is not there yet. No kernel of before is remembered, and none of the test afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for remembered in (load_kernel, kernel_problem):
        remembered.cache_clear()
    yield tmp_path / "cache" / "mixrl"
    for remembered in (load_kernel, kernel_problem):
        remembered.cache_clear()


def use_compiler(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let $CC be a shell script; returns where it notes its arguments."""
    compiler, log = folder / "compiler", folder / "log"
    compiler.write_text(f'#!/bin/sh\necho "$*" >> {shlex.quote(str(log))}\n{script}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", shlex.quote(str(compiler)))
    return log


@needs_kernel
def test_compiled_once_for_each_compiler(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shlex.join(_compiler())
    for define, built in [("", 1), ("", 1), ("-DANOTHER_VERSION", 2), ("", 2)]:
        log = use_compiler(f'exec {real} "$@" -O0 {define}', tmp_path, monkeypatch)  # -O0 compiles faster
        load_kernel.__wrapped__("float32")
        assert log.read_text().count(" -o ") == built
        assert len(list(cache.iterdir())) == built  # and nothing unfinished


@needs_kernel
def test_cache_folder_that_cannot_be_written(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_compiler(f'exec {shlex.join(_compiler())} "$@" -O0', tmp_path, monkeypatch)
    allowed = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: path != cache and allowed(path, mode))
    assert load_kernel("float32").kernel_stride(1) > 0
    cache.rmdir()  # nothing was written
    cache.parent.rmdir()
    cache.parent.write_text("a file in its place")
    assert load_kernel("float64").kernel_stride(1) > 0


FAILURES = {"false": "false -O3 ", "/nowhere/cc": "/nowhere/cc", "": "no C compiler was found", "fails late": "no space left"}


@pytest.mark.parametrize(("compiler", "reason"), FAILURES.items())
def test_without_a_working_compiler(compiler: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler)
    if not compiler:
        monkeypatch.setenv("PATH", "/nowhere")
    if compiler == "fails late":
        use_compiler("case \"$*\" in *' -o '*) echo no space left >&2; exit 1; esac", cache.parents[1], monkeypatch)
    with pytest.raises(KernelUnavailableError, match=reason):
        load_kernel("float32")
    assert not cache.exists() or not list(cache.iterdir())  # nothing unfinished stays
    assert RegressorConfig(device="cpu").resolve_backend() == "torch"
    with pytest.raises(ValueError, match=f"(?s)'native' does not work here: .*{reason}.*; use 'auto' or 'torch'"):
        RegressorConfig(device="cpu", backend="native")

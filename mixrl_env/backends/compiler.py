"""Compiles kernel.c for this machine, once; the library is kept in the user's cache folder."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess  # for the user's own compiler, never a shell  # nosec B404
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.c")
_REALS = {"float32": "float", "float64": "double"}
# -O3 unrolls and vectorises. The first flags that the compiler takes are used: Intel's and AMD's wide vectors, any processor.
_FLAGS = (
    ["-O3", "-march=native", "-mprefer-vector-width=512"],
    ["-O3", "-march=native"],
    ["-O3", "-mcpu=native"],
    ["-O3"],
)
_ALWAYS = ["-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared"]
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64


class KernelUnavailableError(RuntimeError):
    """There is no compiler, or it failed; the message says which."""


@cache
def load_kernel(dtype: str) -> ctypes.CDLL:
    """The kernel for "float32" or "float64", compiled if it was not yet.

    Calling its functions releases Python's lock, so threads run it side by side.

    Raises:
        KernelUnavailableError: without a C compiler that can build it.
    """
    compiler = _compiler()
    failures = []
    for flags in _FLAGS:
        command = [*compiler, *flags, *_ALWAYS, f"-DREAL={_REALS[dtype]}"]
        try:
            kernel = ctypes.CDLL(str(_build(command)))
        except (OSError, subprocess.SubprocessError) as error:
            output = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
            failures.append(f"{shlex.join(command)}: {output.strip()}")
            continue
        kernel.kernel_stride.argtypes, kernel.kernel_stride.restype = [_COUNT], ctypes.c_int64
        kernel.kernel_most_layers.restype = ctypes.c_int64
        network = (_POINTER, _COUNT, _COUNT, _POINTER)  # sizes, depth, layer norm, parameters
        moments, rows = (_POINTER, _POINTER), (_POINTER, _POINTER)  # x, y
        training = (_POINTER, _COUNT, _COUNT, _COUNT, _POINTER)  # indices, steps, batch, steps done, learning rates
        kernel.kernel_train.argtypes, kernel.kernel_train.restype = (*network, *moments, *rows, *training), ctypes.c_int64
        losses = (_POINTER, _COUNT)  # weights of the outputs, rows
        kernel.kernel_loss.argtypes, kernel.kernel_loss.restype = (*network, *rows, *losses), ctypes.c_double
        return kernel
    raise KernelUnavailableError("the C compiler could not build the kernel:\n" + "\n".join(failures))


@cache
def kernel_problem(dtype: str, layers: int) -> str | None:
    """Why the kernel cannot train networks of so many layers here, or None if it can."""
    try:
        most = load_kernel(dtype).kernel_most_layers()
    except KernelUnavailableError as error:
        return str(error)
    return f"it takes at most {most} layers" if layers > most else None


def _compiler() -> list[str]:
    """The command of the C compiler: $CC, else cc, gcc or clang."""
    if chosen := os.environ.get("CC"):
        try:
            return shlex.split(chosen)
        except ValueError as error:
            raise KernelUnavailableError(f"the environment variable CC is not a command: {chosen!r}: {error}") from error
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    raise KernelUnavailableError("no C compiler was found: neither $CC, cc, gcc nor clang")


def _build(command: list[str]) -> Path:
    """The library that the command makes of kernel.c, from the cache if this source was compiled for this processor before."""
    # What the compiler defines names itself, its version and the processor's instructions: a home folder may be shared.
    defines = subprocess.run(  # $CC or a compiler of the PATH, as a list  # nosec B603
        [*command, "-dM", "-E", "-x", "c", os.devnull], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    key = hashlib.sha256("\0".join([*command, defines, SOURCE.read_text()]).encode()).hexdigest()[:16]
    library = _cache_folder() / f"kernel-{key}.so"
    if not library.exists():
        handle, unfinished = tempfile.mkstemp(suffix=".so", dir=library.parent)
        os.close(handle)
        try:
            subprocess.run(  # as above  # nosec B603
                [*command, str(SOURCE), "-o", unfinished, "-lm"], check=True, capture_output=True, text=True, timeout=300
            )
            Path(unfinished).replace(library)  # whole or not at all, whoever compiles at the same time
        finally:
            Path(unfinished).unlink(missing_ok=True)
    return library


def _cache_folder() -> Path:
    """A folder that only this user can write; without such a one, a folder that goes with this process."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "mixrl"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        others_write = os.name == "posix" and (status.st_uid != os.getuid() or status.st_mode & 0o022)
        if others_write or not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = Path(tempfile.mkdtemp(prefix="mixrl-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

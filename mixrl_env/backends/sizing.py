"""How many regressors to train at once on this machine."""

from __future__ import annotations

import os

import torch

from mixrl_env.backends.base import NetworkShape

_STATES = 4  # parameters, gradient, and Adam's two moments
_NATIVE_PER_THREAD = 8  # enough that no thread waits long for the last regressor of another
_NATIVE_BYTES = 2 * 2**30
_CUDA_STACK = 1024
_CUDA_SHARE = 0.25  # of the free memory; activations need some too
_CACHE_BYTES = 16 * 2**20  # what one process can count on of the last cache; machines may report that of the whole chip


def stack_size(shape: NetworkShape, item_bytes: int, backend: str, device: torch.device) -> int:
    """A good M for `fit_regressors`. Who is trained together decides how fast, and beyond rounding not what is computed.

    The C kernel trains each regressor by itself, so that a few for each thread are enough. Batched torch products on a CPU are
    fastest while the stack stays in the last-level cache. A GPU wants as many as it has room for.

    Args:
        shape: the network.
        item_bytes: bytes of one parameter.
        backend: "native" or "torch".
        device: where it is trained.
    """
    state = _STATES * shape.num_parameters() * item_bytes
    if backend == "native":
        threads = torch.get_num_threads()
        return max(threads, min(_NATIVE_PER_THREAD * threads, _NATIVE_BYTES // state))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(max(1, min(_CUDA_STACK, _CUDA_SHARE * free // state)))
    return int(max(1, _last_level_cache() // state))


def _last_level_cache() -> int:
    try:
        size = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (AttributeError, ValueError, OSError):  # not Linux
        size = 0
    return min(size, _CACHE_BYTES) if size > 0 else _CACHE_BYTES

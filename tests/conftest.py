"""One thread for all tests: their networks are tiny, and threads that wait for each other on a busy machine take minutes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch and scikit-learn when they are imported, after this line


@pytest.fixture
def _global_generators_kept() -> Iterator[None]:
    """For tests that run code which seeds the global generators, as scripts do."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002

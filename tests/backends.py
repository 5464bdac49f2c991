"""The backends of the inner training, for tests that hold for each of them."""

from __future__ import annotations

import pytest

from mixrl_env.backends import kernel_problem

needs_kernel = pytest.mark.skipif(kernel_problem("float32", 3) is not None, reason="the C kernel cannot be built here")
BACKENDS = ["torch", pytest.param("native", marks=needs_kernel)]

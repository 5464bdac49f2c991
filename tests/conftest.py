"""One thread for all tests: their networks are tiny, and threads that wait for each other on a busy machine take minutes."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch and scikit-learn when they are imported, after this file

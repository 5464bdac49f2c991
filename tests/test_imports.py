"""Light imports stay light: what is slow to import is imported when it is first needed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = {"torch", "sklearn", "scipy", "pandas", "matplotlib", "stable_baselines3"}


def slow_modules_after(code: str) -> set[str]:
    """Which of the slow packages are imported once the code has run in a fresh interpreter."""
    program = f"{code}\nimport sys\nprint(*sorted({SLOW!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import mixrl",
        "import mixrl_env",
        "import gymnasium, mixrl_env; assert 'MixRL-NO2-v0' in gymnasium.registry",
        "import gymnasium, mixrl; assert 'MixRL-NO2-v0' in gymnasium.registry",
        "from mixrl_env import dataset_names; assert 'diabetes' in dataset_names()",
        "import mixrl, mixrl_env; assert 'MixRLSampler' in dir(mixrl) and 'MixRLEnv' in dir(mixrl_env)",
    ],
)
def test_packages_names_and_ids_need_nothing_slow(code: str) -> None:
    assert slow_modules_after(code) == set()


def test_a_table_is_checked_and_refused_with_pandas_alone() -> None:
    code = "from mixrl.estimators.command import augment, Path\ntry: augment(Path('none.csv'))\nexcept OSError: pass"
    assert slow_modules_after(code) == {"pandas"}


def test_estimators_are_imported_without_torch() -> None:
    assert slow_modules_after("from mixrl import MixRLRegressor, MixRLSampler") == {"sklearn", "scipy", "pandas"}


@pytest.mark.parametrize("package", ["mixrl", "mixrl_env"])
def test_packages_export_all_their_public_names(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Missing'"):
        _ = module.Missing

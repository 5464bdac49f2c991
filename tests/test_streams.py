"""Random generators by name."""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixrl_env.streams import data_stream, stream, torch_stream

ROOT = Path(__file__).parent.parent
SOURCES = [path for package in ("mixrl_env", "agents", "experiments") for path in sorted((ROOT / package).rglob("*.py"))]
_NAMES = st.sampled_from(["choice", "choice 0", ""])
KEYS = st.tuples(st.integers(0, 2**70), _NAMES, st.lists(st.integers(0, 2**40), max_size=3))


def calls(names: set[str]) -> list[tuple[Path, ast.Call]]:
    """Every call of one of these functions in the packages."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in names:
                    found.append((path, node))
    return found


def test_no_two_uses_share_a_name():
    uses = calls({"stream", "torch_stream"})
    names = [(path, call.args[1]) for path, call in uses]
    assert len(names) > 20
    for path, name in names:
        assert isinstance(name, ast.Constant), f"{path}: the name of a stream is a literal, so that this test can read it"
    counted = Counter(name.value for _, name in names)
    assert not [name for name, count in counted.items() if count > 1]


def test_generators_are_made_in_one_place():
    elsewhere = [
        f"{path.relative_to(ROOT)}:{call.lineno}" for path, call in calls({"default_rng", "manual_seed", "RandomState"})
    ]
    assert all(place.startswith("mixrl_env/streams.py") for place in elsewhere), elsewhere


@given(first=KEYS, second=KEYS)
def test_streams_differ_if_anything_differs(first, second):
    draws = [stream(seed, name, *indices).integers(2**63, size=2).tolist() for seed, name, indices in (first, second)]
    assert (draws[0] == draws[1]) is (first == second)


def test_trailing_zeros_count():
    draws = [stream(*key).random() for key in ((0, "a"), (0, "a", 0), (0, "a", 0, 0))] + [data_stream(0).random()]
    assert len(set(draws)) == 4


def test_same_key_same_numbers():
    assert stream(3, "a", 1).random() == stream(3, "a", 1).random()
    assert torch_stream(3, "a").initial_seed() == torch_stream(3, "a").initial_seed() != torch_stream(3, "b").initial_seed()
    assert data_stream(5).random() == np.random.default_rng(5).random()

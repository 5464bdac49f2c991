"""Bad input of the command line, and stored files that are damaged: the last two parts of the table in test_bad_input.py."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save

from mixrl import ValueNetwork, load_value_network, save_value_network
from tests.bad_calls import Call


class Command(NamedTuple):
    """A command that must be refused, the files of its folder, and words of its one line; () where tyro draws a box."""

    part: str
    what: str
    files: dict[str, str | bytes]
    arguments: str
    words: tuple[str, ...]


TABLE = "size,price\n" + "".join(f"{row},{3 * row}\n" for row in range(30))
STUDY = "a.toml"
OWN = "[tables.mine]\npath = 't.csv'\ntargets = 'price'\n"


def study(text: str, *words: str) -> tuple[dict[str, str | bytes], str, tuple[str, ...]]:
    """A study's file that must be refused, by its name."""
    return {STUDY: text, "t.csv": TABLE}, f"sweep {STUDY}", (STUDY, *words)


COMMANDS = [
    ("no verb", {}, "", ()),
    ("unknown verb", {}, "agument t.csv", ()),
    ("unknown flag", {"t.csv": TABLE}, "augment t.csv --targt price", ()),
    ("unknown preset", {}, "reproduce --preset tiny", ()),
    ("negative seed", {"t.csv": TABLE}, "augment t.csv --target price --seed -1", ("--seed", "-1")),
    ("no seconds", {"t.csv": TABLE}, "augment t.csv --target price --budget nan", ("--budget", "nan")),
    ("no such table", {}, "augment t.csv --target price", ("t.csv",)),
    (
        "a value that overflows",
        {"t.csv": TABLE.replace("\n7,", "\n1e200,")},
        "augment t.csv --target price",
        ("line 9", "size"),
    ),
    ("an open quote", {"t.csv": TABLE + '"1,2\n'}, "augment t.csv --target price", ("t.csv is no CSV table",)),
    ("no study", {}, "sweep", ("name at least one study",)),
    ("no such study", {}, "sweep a.toml", ("a.toml",)),
    ("two studies of one name", {STUDY: "", f"b/{STUDY}": ""}, f"sweep {STUDY} b/{STUDY}", ("two studies are called a",)),
    ("a learning rate in words", *study("[settings.reinforce]\nlearning_rate = 'fast'", "learning_rate")),
    ("a budget that is true", *study("kind = 'agents'\ntrainings = true", "trainings")),
    ("unknown column", *study(OWN.replace("'price'", "'prize'"), "no column 'prize'", "did you mean 'price'?")),
    ("a picture of no kind", {}, "idea --out idea.xyz", ("--out must end in .png", "idea.xyz")),
]
RECORD = '{"cell": "x"'
MARKED = "<!-- tables: s 1 -->\nold\n<!-- /tables -->\n"
DAMAGED = [
    ("nothing stored", {}, "tables s", ("there are no results in s",)),
    ("study.toml that is no TOML", {"s/study.toml": "kind = ["}, "tables s", ("s/study.toml is not TOML",)),
    ("study.toml of an unknown kind", {"s/study.toml": "kind = 'x'"}, "figures s", ("s/study.toml", "'x'")),
    ("a study without cells", {"s/study.toml": "kind = 'truth'"}, "report s", ("there are no results in s",)),
    ("half a record", {"s/study.toml": "", "s/cells/x.json": RECORD}, "tables s", ("s/cells/x.json is not a stored record",)),
    ("a page without an end", {"s/study.toml": "", "p.md": MARKED[:-18]}, "pages p.md", ("p.md", "0 of them end")),
    ("a page that asks for nothing stored", {"p.md": MARKED}, "pages p.md", ("p.md", "no results in s")),
]


def written(content: bytes) -> ValueNetwork:
    path = Path("h.safetensors")
    path.write_bytes(content)
    return load_value_network(path)


def network(**sizes: object) -> bytes:
    """The file of a value network, with other sizes in its header."""
    path = Path("good.safetensors")
    save_value_network(ValueNetwork(6, (8, 4)), path)
    header = {"value_network": json.dumps({"row_size": 6, "hidden_sizes": [8, 4]} | sizes)}
    return save(load_value_network(path).state_dict(), header)


def spoiled() -> bytes:
    good = ValueNetwork(6, (8, 4))
    torch.nn.init.constant_(next(good.parameters()), torch.nan)
    save_value_network(good, Path("good.safetensors"))
    return Path("good.safetensors").read_bytes()


NETWORKS = [
    Call("stored files", f"value network: {what}", call, ("h.safetensors does not hold a value network", *words))
    for what, call, words in (
        ("empty", lambda: written(b""), ()),
        ("truncated", lambda: written(network()[:-10]), ()),
        ("a pickle", lambda: written(pickle.dumps({"row_size": 6})), ()),
        ("no header", lambda: written(save({"w": torch.zeros(2)})), ("value_network",)),
        ("wrong keys", lambda: written(save({"w": torch.zeros(2)}, json.loads(_HEADER))), ("layers.0.weight",)),
        ("other sizes", lambda: written(network(row_size=7)), ("size mismatch",)),
        ("sizes below 1", lambda: written(network(hidden_sizes=[-1])), ("hidden_sizes", "[-1]")),
        ("sizes in words", lambda: written(network(row_size="six")), ("row_size", "'six'")),
        ("NaN", lambda: written(spoiled()), ("NaN or infinite",)),
    )
]
_HEADER = json.dumps({"value_network": json.dumps({"row_size": 6, "hidden_sizes": [8, 4]})})
FILES = [
    Command(part, *entry) for part, entries in (("command line", COMMANDS), ("stored files", DAMAGED)) for entry in entries
]

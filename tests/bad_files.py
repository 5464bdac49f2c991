"""Bad input of the command line, and stored files that are damaged: the last two parts of the table in test_bad_input.py."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from safetensors.torch import save

from experiments.results import COLUMNS, NUMBERS
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
    ("seed in words", {"t.csv": TABLE}, "augment t.csv --target price --seed first", ()),
    ("unknown preset", {}, "reproduce --preset tiny", ()),
    ("unknown part", {}, "benchmark speed", ()),
    ("negative seed", {"t.csv": TABLE}, "augment t.csv --target price --seed -1", ("--seed", "-1")),
    ("no seconds", {"t.csv": TABLE}, "augment t.csv --target price --budget nan", ("--budget", "nan")),
    ("no such table", {}, "augment t.csv --target price", ("t.csv",)),
    (
        "a value that overflows",
        {"t.csv": TABLE.replace("\n7,", "\n1e200,")},
        "augment t.csv --target price",
        ("line 9", "size"),
    ),
    (
        "an endless cell",
        {"t.csv": TABLE + "1" * 200_000 + ",1\n"},
        "augment t.csv --target price",
        ("t.csv is no CSV", "limit"),
    ),
    ("an open quote", {"t.csv": TABLE + '"1,2\n'}, "augment t.csv --target price", ("t.csv is no CSV table",)),
    ("no splits", {}, "reproduce --splits", ("--splits must be a list of seeds",)),
    ("a split twice", {}, "reproduce --preset smoke --splits 0 0", ("--splits lists a seed twice",)),
    ("no workers", {}, "reproduce --preset smoke --workers 0 --out o", ("--workers must be at least 1, got 0",)),
    ("no time", {STUDY: "preset = 'smoke'"}, f"sweep {STUDY} --time-limit -1", ("--time-limit", "-1")),
    ("no Ray", {STUDY: "preset = 'smoke'"}, f"sweep {STUDY} --address auto", ("--address is for --engine ray",)),
    ("no study", {}, "sweep", ("name at least one study",)),
    ("no such study", {}, "sweep a.toml", ("a.toml",)),
    ("two studies of one name", {STUDY: "", f"b/{STUDY}": ""}, f"sweep {STUDY} b/{STUDY}", ("two studies are called a",)),
    ("settings that are none", *study("settings = 3", "settings must be a table", "3")),
    ("a variant that is none", *study("[variants]\nmine = 3", "variant 'mine'", "3")),
    ("a dataset twice", *study("datasets = ['gap', 'gap']", "'gap' is listed twice")),
    ("unknown environment", *study("[settings]\nenv_id = 'CartPole-v1'", "env_id", "'CartPole-v1'")),
    ("unknown part of a row", *study("[settings]\nobserve = ['z']", "observe", "'z'")),
    ("options that are none", *study("[settings]\noptions = 3", "options must be a list", "3")),
    ("an option without k", *study("[settings]\noptions = [['data']]", "('data',)", "k must lie")),
    ("lam above 1", *study("[settings]\nlam = 3", "lam must be a number", "3")),
    ("no steps", *study("[settings]\nstep_budget = 0", "step_budget", "0")),
    ("learning rate in words", *study("[settings.reinforce]\nlearning_rate = 'fast'", "learning_rate must be a number")),
    ("an agent's settings that are none", *study("[settings]\nreinforce = 3", "reinforce must be a table of settings")),
    ("budget that is True", *study("kind = 'agents'\ntrainings = true", "trainings", "True")),
    ("a number for a list", *study("kind = 'transfer'\ncheckpoints = 3", "checkpoints must be a list")),
    ("unknown column", *study(OWN.replace("'price'", "'prize'"), "no column 'prize'", "did you mean 'price'?")),
    ("k beyond an own table", *study(OWN + "[settings]\noptions = [['data', 12]]", "('data', 12)", "n_train - 1 = 11")),
    ("no page", {}, "pages", ("name at least one page",)),
    ("a picture of no kind", {}, "idea --out idea.xyz", ("--out must end in .png", "idea.xyz")),
    ("a picture that is a folder", {"o.png/x": ""}, "optics --out o.png", ("--out is a folder: o.png",)),
    ("a negative split", {}, "benchmark learning --splits -1", ("--splits must be a list of seeds",)),
]

ROW = dict.fromkeys(COLUMNS, "x") | dict.fromkeys(NUMBERS, 0) | {"dataset": "no2", "settings": json.dumps({"lam": 0.5})}


def results(**changed: object) -> str:
    """A table of results with one row."""
    return pd.DataFrame([ROW | changed]).to_csv(index=False)


DRIFT = "kind = 'drift'\nseeds = [1]\n"
MARKED = "<!-- tables: s 1 -->\nold\n<!-- /tables -->\n"
DAMAGED = [
    ("nothing stored", {}, "tables s", ("there are no results in s",)),
    ("an empty file", {"s/results.csv": ""}, "tables s", ("s/results.csv is damaged",)),
    ("no text", {"s/results.csv": b"\x89PNG\xff\x00"}, "figures s", ("s/results.csv is damaged",)),
    ("half a line", {"s/results.csv": results()[:-10]}, "tables s", ("s/results.csv is damaged",)),
    ("another table", {"s/results.csv": TABLE}, "tables s", ("s/results.csv", "lacks the columns dataset")),
    ("no rows", {"s/results.csv": ",".join(COLUMNS) + "\n"}, "report s", ("s/results.csv has no rows",)),
    ("text in place of an RMSE", {"s/results.csv": results(test_rmse="low")}, "tables s", ("'low' in row 0", "'test_rmse'")),
    ("no RMSE", {"s/results.csv": results(val_rmse="")}, "figures s", ("'' in row 0", "'val_rmse'")),
    ("settings that are no JSON", {"s/results.csv": results(settings="{lam")}, "tables s", ("s/results.csv", "'{lam'")),
    ("settings that are a list", {"s/results.csv": results(settings="[1]")}, "report s", ("s/results.csv", "'[1]'")),
    ("stored results in the way", {"o/results.csv": TABLE}, "reproduce --preset smoke --out o", ("o/results.csv", "lacks")),
    (
        "failures of another kind",
        {"s/results.csv": results(), "s/failures.csv": "x,y\n1,2\n"},
        "tables s",
        ("s/failures.csv", "lacks the columns cell"),
    ),
    ("study.toml that is no TOML", {"s/study.toml": "kind = ["}, "tables s", ("s/study.toml is not TOML",)),
    ("study.toml without a kind", {"s/study.toml": "splits = [0]"}, "figures s", ("s/study.toml names no kind",)),
    ("study.toml of an unknown kind", {"s/study.toml": "kind = 'x'"}, "tables s", ("unknown kind 'x'",)),
    ("a study without cells", {"s/study.toml": DRIFT}, "tables s", ("there are no results in s",)),
    ("an empty cell", {"s/study.toml": DRIFT, "s/seed1.csv": ""}, "tables s", ("s/seed1.csv is damaged",)),
    ("another cell", {"s/study.toml": DRIFT, "s/seed1.csv": TABLE}, "figures s", ("s is damaged", "lacks 'agent'")),
    ("other settings", {"runs/a/study.toml": DRIFT, STUDY: "kind = 'truth'"}, f"sweep {STUDY}", ("runs/a holds results with",)),
    ("a measurement of nothing", {"s/cuda.csv": "x,machine,command\n1,none,c\n"}, "tables s", ("s/cuda.csv", "'none'")),
    ("another measurement", {"s/throughput.csv": TABLE}, "figures s", ("s/throughput.csv", "lacks the columns machine")),
    ("nothing learned", {"s/learning/x": ""}, "tables s", ("there are no results in s",)),
    ("another learning curve", {"s/learning/x.csv": TABLE}, "tables s", ("s/learning/x.csv", "lacks the columns variant")),
    ("a page that is no text", {"p.md": b"\xff\xfe"}, "pages p.md", ("p.md is no UTF-8 text",)),
    ("a page without an end", {"s/results.csv": results(), "p.md": MARKED[:-18]}, "pages p.md", ("p.md", "0 of them end")),
    (
        "a table before the first",
        {"s/results.csv": results(), "p.md": MARKED.replace("s 1", "s 0")},
        "pages p.md",
        ("no number 0",),
    ),
    (
        "a second page that is bad",
        {"s/results.csv": results(), "p.md": MARKED, "q.md": MARKED.replace(" s 1", " nowhere")},
        "pages p.md q.md",
        ("q.md", "nowhere"),
    ),
]


def written(content: bytes) -> ValueNetwork:
    path = Path("h.safetensors")
    path.write_bytes(content)
    return load_value_network(path)


def network(**sizes: object) -> bytes:
    """The file of a value network, with other sizes told in its header."""
    path = Path("good.safetensors")
    save_value_network(ValueNetwork(6, (8, 4)), path)
    told = {"value_network": json.dumps({"row_size": 6, "hidden_sizes": [8, 4]} | sizes)}
    return save(load_value_network(path).state_dict(), told)


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

"""Tables of the user's own: frames and files that are taken and refused, and studies over them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixrl_env import RegressionData, from_frame, read_table

PAGE = Path(__file__).parent.parent / "docs" / "datasets.md"
ROWS = 30
FEATURES, TARGETS = ("a", "flag", "same"), ("price", "rent")


@pytest.fixture
def frame() -> pd.DataFrame:
    """30 rows that "a" tells apart, a column of booleans, a constant one, two targets, and a given split in no order."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.permutation(ROWS) + 0.1,
            "price": rng.normal(size=ROWS) * 1e5,
            "flag": rng.random(ROWS) < 0.5,
            "part": rng.permutation(np.repeat(["train", "val", "test"], [15, 9, 6])),
            "same": 7,
            "rent": rng.normal(size=ROWS),
        }
    )


def parts(data: RegressionData) -> list[np.ndarray]:
    """Features and labels side by side, a part each."""
    assert data.x_test is not None
    assert data.y_test is not None
    pairs = ((data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test))
    return [np.concatenate(pair, axis=1) for pair in pairs]


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[::-1])]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# Frames


def test_given_split_keeps_every_row_in_its_part_and_order(frame: pd.DataFrame) -> None:
    data = from_frame(frame.set_index(frame.index[::-1]), TARGETS, split="part", name="flats")
    assert (data.feature_names, data.target_names, data.name) == (FEATURES, TARGETS, "flats")
    for part, rows in zip(("train", "val", "test"), parts(data), strict=True):
        own = [row for row in frame.to_dict("records") if row["part"] == part]
        assert rows.tolist() == [[float(row[name]) for name in (*FEATURES, *TARGETS)] for row in own]
    assert np.array_equal(from_frame(frame, TARGETS, split="part", split_seed=9).x_train, data.x_train)  # no seed moves it


def test_a_given_split_may_have_no_test_rows(frame: pd.DataFrame) -> None:
    data = from_frame(frame[frame["part"] != "test"], "rent", split="part")
    assert data.x_test is None
    assert (len(data.x_train), len(data.x_val)) == (15, 9)


@pytest.mark.parametrize(
    ("rows", "sizes", "expected"),
    [
        (30, None, (12, 12, 6)),
        (7, None, (2, 2, 3)),
        (5, None, (2, 2, 1)),
        (30, (20, 3, 4), (20, 3, 4)),
        (30, (2, 1, 0), (2, 1, 0)),
    ],
)
def test_drawn_splits(
    frame: pd.DataFrame, rows: int, sizes: tuple[int, int, int] | None, expected: tuple[int, int, int]
) -> None:
    table = frame.drop(columns="part").iloc[:rows]
    first, again, other = (from_frame(table, TARGETS, sizes=sizes, split_seed=seed) for seed in (3, 3, 4))
    assert (len(first.x_train), len(first.x_val), 0 if first.x_test is None else len(first.x_test)) == expected
    assert np.array_equal(first.x_train, again.x_train)
    assert np.array_equal(first.y_val, again.y_val)
    assert not np.array_equal(first.x_train, other.x_train) or rows < 10
    known = {row["a"]: [row["price"], row["rent"]] for row in table.to_dict("records")}
    given = [(first.x_train, first.y_train), (first.x_val, first.y_val)]
    given += [(first.x_test, first.y_test)] if first.x_test is not None and first.y_test is not None else []
    drawn = [(x[0], y.tolist()) for xs, ys in given for x, y in zip(xs, ys, strict=True)]
    assert len({a for a, _ in drawn}) == len(drawn) == sum(expected)
    assert all(known[a] == labels for a, labels in drawn)


Change = Callable[[pd.DataFrame], pd.DataFrame]


def with_value(column: str, row: int, value: Any) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.iloc[row, list(frame.columns).index(column)] = value
        return changed

    return change


REFUSED: dict[str, tuple[Change, dict[str, Any], str]] = {
    "target": (lambda f: f, {"targets": "pirce"}, "no column 'pirce', which is named as target; did you mean 'price'?"),
    "target's case": (lambda f: f, {"targets": "PRICE"}, "no column 'PRICE'.*did you mean 'price'?"),
    "far target": (lambda f: f, {"targets": "xyz"}, "no column 'xyz'.*its columns are a, price, flag, part, same, rent$"),
    "many columns": (
        lambda f: pd.DataFrame(np.ones((9, 30))),
        {"targets": "xyz"},
        r"its columns are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.$",
    ),
    "no target": (lambda f: f, {"targets": []}, "targets is empty: name at least one column"),
    "target twice": (lambda f: f, {"targets": ["rent", "rent"]}, "'rent' is named twice"),
    "split column": (lambda f: f, {"split": "parts"}, "no column 'parts', which is named as split; did you mean 'part'?"),
    "split as target": (
        lambda f: f,
        {"targets": ["rent", "part"]},
        "'part' is named as a target and as the column of the split",
    ),
    "no feature": (lambda f: f[["part", "price", "rent"]], {}, "has no column that is a feature, only 'part', 'price', 'rent'"),
    "same name": (lambda f: f.rename(columns={"flag": "a"}), {}, "has 2 columns called 'a': rename or drop all but one"),
    "number and text": (lambda f: f.rename(columns={"flag": 0, "a": "0"}), {}, "has 2 columns called '0'"),
    "index column": (lambda f: f.rename(columns={"flag": "Unnamed: 2"}), {}, "column 3 of the table has no name.*index=False"),
    "blank name": (lambda f: f.rename(columns={"a": " "}), {}, "column 1 of the table has no name"),
    "text": (
        with_value("flag", 4, "yes"),
        {},
        r"has 'yes', which is no number, in row 4 \(from 0\), column 'flag' \(the first of 1 in 30 rows\): encode",
    ),
    "long text": (with_value("a", 4, "x" * 500), {}, r"has 'x+\.\.\.x+', which is no number"),
    "text label": (with_value("rent", 0, "12 000"), {}, "has '12 000', which is no number, in row 0 .*column 'rent'"),
    "text before missing": (lambda f: with_value("a", 9, "?")(with_value("a", 2, None)(f)), {}, r"'\?', which is no number"),
    "date": (
        lambda f: f.assign(a=pd.Timestamp("2020-02-01")),
        {},
        "has '2020-02-01 00:00:00', which is no number.*of 30 in 30",
    ),
    "missing": (
        lambda f: with_value("rent", 3, None)(with_value("a", 20, np.nan)(f)),
        {},
        r"no value in row 3 \(from 0\), column 'rent' \(the first of 2 in 30 rows\): fill in or drop",
    ),
    "infinite": (with_value("same", 7, np.inf), {}, r"has inf, which is not finite, in row 7 \(from 0\), column 'same'"),
    "part": (with_value("part", 8, "valid"), {}, r"has 'valid' in row 8 \(from 0\), column 'part'; it must be 'train', 'val'"),
    "part as number": (lambda f: f.assign(part=1), {}, r"has '1' in row 0"),
    "no part": (with_value("part", 8, None), {}, "has no value in row 8 .*column 'part'; it must be"),
    "no validation rows": (lambda f: f[f["part"] != "val"], {}, "has no row with 'val' in column 'part'"),
    "no training rows": (lambda f: f[f["part"] != "train"], {}, "has no row with 'train' in column 'part'"),
    "one training row": (lambda f: f.drop(f.index[f["part"] == "train"][1:]), {}, "at least 2 training rows, got 1"),
    "split and sizes": (lambda f: f, {"sizes": (9, 9, 9)}, "'part' gives the split, so sizes cannot be given too"),
    "too few rows": (lambda f: f.iloc[:4], {"split": None}, "the table has 4 rows, too few to draw .*: it needs 5"),
    "no rows": (lambda f: f.iloc[:0], {"split": None}, "the table has 0 rows, too few"),
    "too large": (lambda f: f, {"split": None, "sizes": (20, 10, 1)}, r"at most the 30 rows of the table; got \(20, 10, 1\)"),
    "one to train on": (lambda f: f, {"split": None, "sizes": (1, 10, 1)}, "sizes must be three whole numbers"),
    "none to validate": (lambda f: f, {"split": None, "sizes": (10, 0, 1)}, "sizes must be three whole numbers"),
    "two sizes": (lambda f: f, {"split": None, "sizes": (10, 10)}, "sizes must be three whole numbers"),
    "shares": (lambda f: f, {"split": None, "sizes": (0.6, 0.2, 0.2)}, "sizes must be three whole numbers"),
    "split as feature": (lambda f: f, {"split": None}, "which is no number, in row 0 .*column 'part'.*of 30 in 30 rows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_frames_that_are_refused(frame: pd.DataFrame, what: str) -> None:
    change, arguments, message = REFUSED[what]
    table = change(frame)
    before = table.copy()
    with pytest.raises(ValueError, match=message):
        from_frame(table, **{"targets": TARGETS, "split": "part"} | arguments)
    pd.testing.assert_frame_equal(table, before)


# Files


def test_a_file_gives_what_its_frame_gives(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "flats.csv"
    frame.to_csv(path, index=False)
    data = read_table(str(path), TARGETS, split="part")
    for ours, expected in zip(parts(data), parts(from_frame(frame, TARGETS, split="part")), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-15)
    assert (data.feature_names, data.target_names, data.name) == (FEATURES, TARGETS, "flats")
    assert read_table(path, "rent", split="part", name="mine").name == "mine"
    numbers = {"True": 1.0, "False": 0.0}
    with path.open(newline="") as file:  # the same rows by Python's own reader
        cells = [[row[name] for name in (*FEATURES, *TARGETS)] for row in csv.DictReader(file)]
    rows = np.array([[numbers[cell] if cell in numbers else float(cell) for cell in row] for row in cells])
    np.testing.assert_allclose(in_order(np.concatenate(parts(data))), in_order(rows), rtol=1e-15)
    frame.drop(columns="part").to_csv(path, index=False)
    drawn = [read_table(path, TARGETS, sizes=(10, 8, 6), split_seed=seed).x_train for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    again = from_frame(frame.drop(columns="part"), TARGETS, sizes=(10, 8, 6), split_seed=1)
    np.testing.assert_allclose(drawn[0], again.x_train, rtol=1e-15)


GOOD = "a,b,y\n" + "".join(f"{row},{row + 0.5},{row * 2}\n" for row in range(8))
REFUSED_FILES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "is empty"),
    "blank lines": ("\n  \n", "is empty"),
    "header": ("a,b,y\n", "has 0 rows, too few"),
    "semicolons": (
        GOOD.replace(",", ";").replace(".", ","),
        "separated by semicolons: give mixrl augment --sep ';', and --decimal , .*pandas.*from_frame",
    ),
    "tabs": (GOOD.replace(",", "\t"), "separated by tabs: give mixrl augment --sep tab"),
    "spreadsheet": (
        b"PK\x03\x04\xff\xfe",
        "is no text in UTF-8 .*: name its encoding, such as latin-1 or cp1252, or save it in UTF-8",
    ),
    "same name": (GOOD.replace("a,b", "b,b"), "has 2 columns called 'b'"),
    "index column": (pd.DataFrame({"a": range(9), "y": range(9)}).to_csv(), "column 1 of .* has no name.*index=False"),
    "comma at the end": (GOOD.replace("\n", ",\n"), "column 4 of .* has no name"),
    "more values than names": (GOOD.replace("a,b,y", "b,y"), "have 3 values, but it names 2 columns"),
    "long line": (GOOD + "1,2,3,4\n", "is no CSV table: .*Expected 3 fields in line 10, saw 4"),
    "short line": (GOOD + "1,2\n", r"no value in line 10, column 'y' \(the first of 1 in 9 rows\)"),
    "text": (GOOD + "1,high,3\n", "'high', which is no number, in line 10, column 'b'"),
    "decimal comma": (GOOD + '1,"2,5",3\n', "'2,5', which is no number, in line 10, column 'b'"),
    "after blank lines": ("\n" + GOOD + "\n   \n1,high,3\n", "'high', which is no number, in line 13, column 'b'"),
    "after a break in quotes": ('a,"b\nb",y\n' + GOOD[6:] + "1,2,z\n", "'z', which is no number, in line 11, column 'y'"),
    "only commas": (GOOD + ",,\n", r"no value in line 10, column 'a' \(the first of 3 in 9 rows\)"),
    "one column": ("y\n1\n2\n3\n4\n5\n", "has no column that is a feature, only 'y'"),
}


@pytest.mark.parametrize("what", REFUSED_FILES)
def test_files_that_are_refused(tmp_path: Path, what: str) -> None:
    text, message = REFUSED_FILES[what]
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path, "y")
    assert str(path) in str(caught.value)

"""What the verb augment refuses, each in one line; and its files: all of them or none, and none lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import transaction
from mixrl import MixRLSampler
from tests.test_augment import OUTPUTS, Run, names, plane

# All files or none


def test_files_that_exist_are_kept(folder: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    plane().to_csv("t.csv", index=False)
    for name in OUTPUTS:
        (folder / name).write_text("old")
        with pytest.raises(SystemExit) as ended:
            run("t.csv", "--target", "y", "--budget", "None")
        assert ended.value.code == 2
        assert name in (error := capsys.readouterr().err)
        assert "--overwrite" in error
        assert (folder / name).read_text() == "old"
        assert names(folder) == {"t.csv", name}
        (folder / name).unlink()
    (folder / "t-augmented.csv").write_text("old")
    run("t.csv", "--target", "y", "--budget", "None", "--overwrite")
    assert (folder / "t-augmented.csv").stat().st_size > 1000
    assert names(folder) == {"t.csv", *OUTPUTS}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("failing", [(transaction, "write_through"), (Path, "replace")], ids=["write", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_in_the_middle(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, failing: tuple[object, str], old: bool
) -> None:
    plane().to_csv("t.csv", index=False)
    for name in OUTPUTS if old else ():
        (folder / name).write_text("old")
    do, calls = getattr(*failing), iter(range(100))

    def fail(*arguments: object) -> object:
        if next(calls) == 1:
            raise error
        return do(*arguments)

    monkeypatch.setattr(*failing, fail)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y", "--budget", "None", "--overwrite")
    assert ended.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert names(folder) == {"t.csv", *(OUTPUTS if old else ())}
    assert all((folder / name).read_text() == "old" for name in OUTPUTS if old)


def test_ctrl_c_while_it_learns(
    folder: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    plane().to_csv("t.csv", index=False)
    monkeypatch.setattr(MixRLSampler, "fit", interrupted)
    monkeypatch.setattr(MixRLSampler, "fit_resample", interrupted)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted, nothing was written\n"
    assert names(folder) == {"t.csv"}


def test_several_files_at_once(folder: Path) -> None:
    (folder / "a").write_text("old")
    transaction.write_all({folder / "a": b"1", folder / "b": b"2"})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "1", "b": "2"}


def test_what_was_killed_is_undone_by_the_next(folder: Path, run: Run) -> None:
    plane().to_csv("t.csv", index=False)
    table, plan = "t-augmented.csv", "t-augmented-plan.csv"
    (folder / table).write_text("new")
    (folder / f".{table}.old").write_text("old")
    (folder / f"{table}.journal").write_text(f'["{table}"]')  # there was no plan
    (folder / plan).write_text("new")
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y")
    assert ended.value.code == 2  # there is a file, and no --overwrite
    assert (folder / table).read_text() == "old"
    assert names(folder) == {"t.csv", table}


# Bad input

GOOD = "size,age,price\n" + "".join(f"{row},{row % 5},{3 * row}\n" for row in range(30))
TARGET = ["--target", "price"]
REFUSED: dict[str, tuple[str, list[str], list[str]]] = {
    "near target": (GOOD, ["--target", "Prise"], ["no column 'Prise'", "did you mean 'price'?"]),
    "far target": (GOOD, ["--target", "weight"], ["no column 'weight'", "size, age, price"]),
    "no target": (GOOD, [], ["--target", "'size', 'age', 'price'"]),
    "one target twice": (GOOD, [*TARGET, *TARGET], ["named twice"]),
    "text in a column of numbers": (GOOD.replace("7,2,21", "7,two,21"), TARGET, ["'two'", "line 9", "column 'age'"]),
    "text in the target": (GOOD.replace("7,2,21", "7,2,?"), TARGET, ["'?'", "line 9", "column 'price'"]),
    "values missing": (
        GOOD.replace("7,2,21", "7,,21").replace("9,4,27", ",4,27"),
        TARGET,
        ["no value in line 9, column 'age'", "first of 2 in 30 rows", "fill in or drop"],
    ),
    "categories": (GOOD.replace(",2,", ",two,").replace(",3,", ",three,").replace(",4,", ",four,"), TARGET, ["--one-hot"]),
    "categories missing": (
        GOOD.replace(",0,", ",o,").replace(",1,", ",,").replace(",2,", ",two,").replace(",3,", ",three,").replace(",4,", ",e,"),
        [*TARGET, "--one-hot"],
        ["no value in line 3, column 'age'", "first of 6 in 30 rows"],
    ),
    "names": (
        "name,price\n" + "".join(f"person {row},{row}\n" for row in range(30)),
        [*TARGET, "--one-hot"],
        ["30 different values", "'person 0' in line 2"],
    ),
    "too few rows": ("size,price\n1,2\n2,3\n3,5\n", TARGET, ["3 rows, too few", "at least 4"]),
    "only a header": ("size,price\n", TARGET, ["0 rows, too few"]),
    "all equal": ("size,price\n" + "".join(f"{row},7\n" for row in range(30)), TARGET, ["7 in column 'price' of every row"]),
    "only the target": ("price\n1\n2\n3\n4\n5\n", TARGET, ["no column that is a feature"]),
    "a name twice": (GOOD.replace("size,age", "age,age"), TARGET, ["2 columns called 'age'"]),
    "empty": ("", TARGET, ["is empty"]),
    "semicolons": (GOOD.replace(",", ";"), TARGET, ["apart by semicolons, not commas"]),
    "tabs": (GOOD.replace(",", "\t"), TARGET, ["apart by tabs, not commas"]),
    "not a number": (GOOD.replace("7,2,21", "7,inf,21"), TARGET, ["not finite", "line 9"]),
    "no budget": (GOOD, [*TARGET, "--budget", "0"], ["--budget", "above 0"]),
    "ending": (GOOD, [*TARGET, "--out", "o.xlsx"], ["--out must end in .csv or .parquet"]),
    "folder": (GOOD, [*TARGET, "--out", "there/o.csv"], ["there is no folder that files can be written to"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_one_line(folder: Path, run: Run, capsys: pytest.CaptureFixture[str], what: str) -> None:
    text, arguments, told = REFUSED[what]
    (folder / "t.csv").write_text(text)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", *arguments)
    out, error = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for words in told:
        assert words in error
    assert names(folder) == {"t.csv"}


def test_no_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(SystemExit) as ended:
            run(name, "--target", "y")
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: [Errno 2] No such file or directory: '{name}'\n"

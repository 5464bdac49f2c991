"""`mixrl augment`: files against their input and the parents of mixed rows, messages, and representative refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.linear_model import LinearRegression

from mixrl import MixRLSampler, files
from mixrl.estimators import sampler
from mixrl.estimators.command import IS_MIXED
from mixrl.terminal import WorkProgress
from mixrl_env import read_table
from tests.test_estimator_input import TREE

pytestmark = pytest.mark.usefixtures("small_networks")
Run = Callable[..., str]
RNG = np.random.default_rng(0)
OUTPUTS = {"t-augmented.csv", "t-augmented-parents.csv", "t-augmented-picture.png"}


def judge_by(monkeypatch: pytest.MonkeyPatch, estimator: object) -> None:
    monkeypatch.setattr(sampler, "MixRLSampler", partial(MixRLSampler, estimator, cv=2))


def plane(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, (rows, 2))
    return pd.DataFrame({"a": x[:, 0], "y": x @ [2, 1], "b": x[:, 1], "n": np.arange(rows) % 7, "z": x @ [1, -1]})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def midpoints(values: pd.DataFrame, parents: str) -> np.ndarray:
    pairs = pd.read_csv(parents)
    assert list(pairs) == ["row", "neighbor", "lambda"]
    return np.array([(values.iloc[i] + values.iloc[j]) / 2 for i, j in zip(pairs["row"], pairs["neighbor"], strict=True)])


# What is written


@pytest.mark.parametrize("targets", [["y"], ["z", "y"]])
def test_own_bytes_first_then_rows_between_parents(folder: Path, run: Run, targets: list[str]) -> None:
    table = plane()
    table["n"] = table["n"].astype(str)
    text = "\n" + table.to_csv(index=False).replace(",3,", ",3.0000,").replace(",4,", ",+4,").replace("\n", "\r\n")
    (folder / "t.csv").write_bytes(text.encode())
    said = run("t.csv", *(word for target in targets for word in ("--target", target)))
    assert names(folder) == {"t.csv", *OUTPUTS}
    written = (folder / "t-augmented.csv").read_bytes()
    assert written.startswith(text.encode())
    assert written.count(b"\n") == written.count(b"\r\n") + 1  # the first line is blank
    mixed = pd.read_csv("t-augmented.csv")[40:].to_numpy()
    np.testing.assert_allclose(mixed, midpoints(plane(), "t-augmented-parents.csv"), rtol=1e-9, atol=1e-9)
    assert f"40 rows before, {40 + len(mixed)} after; the mixed ones are the last {len(mixed)}." in said
    assert max(len(cell) for cell in ",".join(written.decode().splitlines()[42:]).split(",")) <= 17  # no 0.30000000000000004
    assert (folder / "t-augmented-picture.png").read_bytes().startswith(b"\x89PNG")


def test_options_of_columns_and_rows(folder: Path, run: Run) -> None:
    table = plane().assign(patient=np.arange(40) // 4, name=[f"person {row}" for row in range(40)])
    table.to_csv("t.csv", index=False, lineterminator="\r\n")
    options = ["--drop", "name", "--drop", "z", "--group", "patient", "--most", "25", "--mark", "--round-integers"]
    said = run("t.csv", "--target", "y", "--seed", "3", *options)
    out = pd.read_csv("t-augmented.csv")
    assert list(out) == ["a", "y", "b", "n", IS_MIXED]
    assert out[IS_MIXED].tolist() == [0] * 40 + [1] * 25
    between = midpoints(out[:40], "t-augmented-parents.csv")
    between[:, 3] = np.rint(between[:, 3])
    np.testing.assert_allclose(out[40:].to_numpy()[:, :4], between[:, :4], rtol=1e-9)
    lines = (folder / "t-augmented.csv").read_bytes().decode().split("\r\n")
    own = table[["a", "y", "b", "n"]].assign(**{IS_MIXED: 0}).to_csv(index=False)
    assert lines[:41] == own.splitlines()  # every digit
    assert len(lines) == 41 + 25 + 1
    table = pd.read_csv("t.csv")  # pandas 2 reads some numbers with another last digit than was written
    fitted = MixRLSampler(TREE, cv=2, round_integers=True, max_mixed=25, random_state=3)
    fitted.fit(table[["a", "b", "n"]], table[["y"]], groups=table["patient"])
    pd.testing.assert_frame_equal(pd.read_csv("t-augmented-parents.csv"), fitted.parents_)
    rmse, (gain, low, high) = fitted.report_.set_index("plan")["rmse"], fitted.gain_
    assert f"no mixing        {rmse['no mixing']:.4g}\n" in said
    assert f"the best mixing  {rmse[fitted.chosen_]:.4g}   {fitted.chosen_}\n" in said
    assert f"on new rows: {gain:.2g} [{low:.2g}, {high:.2g}], {gain / rmse['no mixing']:.0%} less" in said


@pytest.mark.parametrize(
    ("sep", "decimal", "encoding"), [(";", ",", "latin-1"), ("\t", ".", "utf-16"), (",", ".", "utf-8-sig")]
)
def test_files_of_other_kinds_keep_theirs(folder: Path, run: Run, sep: str, decimal: str, encoding: str) -> None:
    table = plane().rename(columns={"a": "größe"}).assign(farbe=["grün", "blau"] * 20)
    how = {"sep": sep, "decimal": decimal, "encoding": encoding}
    table.to_csv("t.csv", index=False, **how)
    given = ("--sep", "tab" if sep == "\t" else sep, "--decimal", decimal, "--encoding", encoding)
    run("t.csv", "--target", "y", "--categories", "within", *given)
    assert (folder / "t-augmented.csv").read_bytes().startswith((folder / "t.csv").read_bytes())
    out = pd.read_csv("t-augmented.csv", **how)
    plain = ["größe", "y", "b", "n", "z"]
    np.testing.assert_allclose(out[40:][plain], midpoints(table[plain], "t-augmented-parents.csv"), rtol=1e-9, atol=1e-9)
    for name in ("row", "neighbor"):
        assert out["farbe"][40:].tolist() == table["farbe"][pd.read_csv("t-augmented-parents.csv")[name]].tolist()


@pytest.mark.parametrize("strategy", ["search", "pretrained", "none"])
def test_the_answer_may_be_not_to_augment(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    judge_by(monkeypatch, LinearRegression())
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.uniform(0, 1, 40), "flag": [True, False] * 20})
    table.assign(y=np.sign(np.sin(40 * table["a"]))).to_csv("t.csv", index=False)
    said = run("t.csv", "--target", "y", "--strategy", strategy)
    assert ("Do not augment: what" if strategy == "search" else "40 rows before, 40 after") in said
    assert (folder / "t-augmented.csv").read_bytes() == (folder / "t.csv").read_bytes()
    assert (folder / "t-augmented-parents.csv").read_text() == "row,neighbor,lambda\n"


def test_categories_and_truth_values(run: Run) -> None:
    table = plane().assign(flag=np.arange(40) % 3 == 0)
    table.insert(1, "colour", ["red", "blue, dark", "red", "green"] * 10)
    table.to_csv("t.csv", index=False)
    run("t.csv", "--target", "y", "--categories", "one_hot", "--out", "o.csv")
    out, coded = pd.read_csv("o.csv"), pd.get_dummies(table["colour"], prefix="colour", prefix_sep="=")
    assert list(out) == ["a", *coded, "y", "b", "n", "z", "flag"]
    assert (out[[*coded, "flag"]][:40] == coded.assign(flag=table["flag"])).all(axis=None)
    assert set(out[[*coded, "flag"]].to_numpy().ravel()) == {0, 0.5, 1}
    read_table("o.csv", "y")  # all numbers


def test_parquet(folder: Path, run: Run) -> None:
    pytest.importorskip("pyarrow")
    table = plane().astype({"b": "float32"}).assign(flag=[True, False] * 20, colour=pd.Categorical(["red", "blue"] * 20))
    table.to_parquet("t.parquet")
    options = ("--target", "y", "--categories", "within", "--drop", "z")
    run("t.parquet", *options)
    out, table = pd.read_parquet("t-augmented.parquet"), table.drop(columns="z")
    kinds = dict.fromkeys(table, "float64") | {"b": "float32", "colour": "category"}
    assert out.dtypes.astype(str).to_dict() == kinds
    assert (out[:40] == table).all(axis=None)
    run("t.parquet", *options, "--out", "t.csv")
    assert (folder / "t.csv").read_text().startswith(table.assign(flag=table["flag"].astype(int)).to_csv(index=False))
    mixed = pd.read_csv("t.csv")[40:].select_dtypes("number")
    np.testing.assert_allclose(mixed, out[40:].select_dtypes("number"), rtol=1e-6, atol=1e-6)


# Messages


def test_warnings_say_what_helps(run: Run) -> None:
    table = plane().assign(code=[f"00{row % 9}" for row in range(40)])
    table.loc[7, "y"] = 1e9
    table = pd.concat([table, table[20:21]], ignore_index=True).assign(
        sold=RNG.permutation(41), row_id=10 * RNG.permutation(41)
    )
    table.to_csv("t.csv", index=False)
    warned = [line for line in run("t.csv", "--target", "y").splitlines() if line.startswith("warning: ")]
    expected = [
        "'sold' seems to number the rows, which says nothing of new ones: leave it out with --drop sold",
        "'row_id' seems to number the rows, which says nothing of new ones: leave it out with --drop row_id",
        "'code' has codes such as 000, which are read as numbers: leave it out with --drop code",
        f"{40 / 41:.0%} of the variance of 'y' come from 1 of 41 rows (line 9): check these, or predict its logarithm",
    ]
    assert [line.removeprefix("warning: ") for line in warned] == expected
    plane().iloc[[*range(8), 0, 1]].to_csv("t.csv", index=False)
    said = run("t.csv", "--target", "y", "--overwrite")
    assert "warning: fewer than 20 rows are hardly enough to learn from\n" in said
    assert "warning: 4 of 10 rows are there more than once; they are held out together\n" in said


def test_progress_on_a_terminal_and_in_a_file() -> None:
    shown = {}
    for terminal in (True, False):
        console = Console(file=StringIO(), force_terminal=terminal, width=100)
        with WorkProgress(console, "begun") as progress:
            for share in np.arange(0, 1.001, 0.01):
                progress.update(float(share), f"{share:.2f} is done")
        shown[terminal] = console.file.getvalue()
    assert "1.00 is done" in shown[True]
    lines = shown[False].splitlines()
    assert lines[0] == "[  0%] 0.00 is done"
    assert 9 <= len(lines) <= 11


# Files


def test_files_that_exist_are_kept(folder: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    plane().to_csv("t.csv", index=False)
    for name in OUTPUTS:
        (folder / name).write_text("old")
        with pytest.raises(SystemExit):
            run("t.csv", "--target", "y")
        assert f"{name} exists: replace it with --overwrite" in capsys.readouterr().err
        assert (folder / name).read_text() == "old"
        assert names(folder) == {"t.csv", name}
        (folder / name).unlink()
    (folder / "t-augmented.csv").write_text("old")
    run("t.csv", "--target", "y", "--overwrite")
    assert (folder / "t-augmented.csv").stat().st_size > 1000
    assert names(folder) == {"t.csv", *OUTPUTS}


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_table(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The table is written last, in one go."""
    plane().to_csv("t.csv", index=False)
    (folder / "t-augmented.csv").write_text("old")
    do, calls = files.write_through, iter(range(100))

    def fail(*arguments: object) -> object:
        if next(calls) == 2:
            raise error
        return do(*arguments)

    monkeypatch.setattr(files, "write_through", fail)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y", "--strategy", "none", "--overwrite")
    assert ended.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert names(folder) == {"t.csv", *OUTPUTS}  # parents and picture are complete
    assert (folder / "t-augmented.csv").read_text() == "old"
    assert (folder / "t-augmented-picture.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_while_plans_are_tried(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(LinearRegression):
        def predict(self, X: object) -> np.ndarray:  # noqa: N803
            raise KeyboardInterrupt

    judge_by(monkeypatch, Interrupted())
    plane().to_csv("t.csv", index=False)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y")
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted, the table was not written\n")
    assert names(Path()) == {"t.csv"}


# Refusals


GOOD = "size,age,price\n" + "".join(f"{row},{row % 5},{3 * row}\n" for row in range(30))
WORDS = GOOD.replace(",2,", ",two,").replace(",3,", ",three,").replace(",4,", ",e,").replace(",1,", ",one,")
PRICE = ["--target", "price"]
REFUSED: dict[str, tuple[str, list[str], list[str]]] = {
    "no target": (GOOD, [], ["--target", "'size', 'age', 'price'"]),
    "a category": (WORDS, PRICE, ["column 'age'", "'0' in line 2", "--drop age", "--categories within", "one_hot"]),
    "names": (
        "name,price\n" + "".join(f"person {row},{row}\n" for row in range(30)),
        [*PRICE, "--categories", "one_hot"],
        ["30 different values", "'person 0' in line 2", "--drop name"],
    ),
    "dates": (
        GOOD.replace(",2,", ",2020-01-02,").replace(",3,", ",1.2.2020,").replace(",4,", ",1/2/99,"),
        PRICE,
        ["--drop age"],
    ),
    "too few rows": ("size,price\n1,2\n2,3\n3,5\n", PRICE, ["3 rows, too few", "at least 4"]),
    "not a number": (GOOD.replace("7,2,21", "7,inf,21"), PRICE, ["not finite", "line 9"]),
    "semicolons": (GOOD.replace(",", ";"), PRICE, ["separated by semicolons", "--sep ';'"]),
    "an encoding": (GOOD, [*PRICE, "--encoding", "runes"], ["unknown encoding 'runes'", "latin-1"]),
    "no such column": (GOOD, [*PRICE, "--drop", "weight"], ["no feature 'weight'", "size, age, price"]),
    "the target dropped": (GOOD, [*PRICE, "--drop", "price"], ["no feature 'price'"]),
    "all dropped": (GOOD, [*PRICE, "--drop", "size", "--group", "age"], ["no column that is a feature"]),
    "marked already": (GOOD.replace("age", IS_MIXED), [*PRICE, "--mark"], [IS_MIXED, "rename it"]),
    "no budget": (GOOD, [*PRICE, "--budget", "0"], ["--budget", "above 0"]),
    "no rows": (GOOD, [*PRICE, "--most", "0"], ["--most", "at least 1"]),
    "one sign": (GOOD, [*PRICE, "--decimal", ","], ["--sep and --decimal must be different"]),
    "folder": (GOOD, [*PRICE, "--out", "there/o.csv"], ["there is not a writable folder"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_one_line(folder: Path, run: Run, capsys: pytest.CaptureFixture[str], what: str) -> None:
    text, arguments, expected = REFUSED[what]
    (folder / "t.csv").write_text(text)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", *arguments)
    out, error = capsys.readouterr()
    assert (ended.value.code, out, error[:7], error.count("\n")) == (2, "", "error: ", 1)
    assert all(words in error for words in expected), error
    assert names(folder) == {"t.csv"}

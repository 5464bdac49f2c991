"""`mixrl augment`: files against their input and the plan, messages, and representative refusals."""

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
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mixrl import MixRLSampler, files
from mixrl.estimators import command
from mixrl.terminal import WorkProgress
from mixrl_env import read_table

Run = Callable[..., str]


def judge_by(monkeypatch: pytest.MonkeyPatch, estimator: object, trainings: int = 0) -> None:
    monkeypatch.setattr(command, "MixRLSampler", partial(MixRLSampler, estimator, folds=2, trainings=trainings))


def plane(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, (rows, 2))
    return pd.DataFrame({"a": x[:, 0], "y": x @ [2, 1], "b": x[:, 1], "n": np.arange(rows) % 7, "z": x @ [1, -1]})


def mixed_rows(table: pd.DataFrame, targets: list[str], plan: pd.DataFrame) -> np.ndarray:
    """Row by row, neighbour by neighbour."""
    spaces = {"data": table.drop(columns=targets), "label": table[targets]}
    points = {space: StandardScaler().fit_transform(part) for space, part in spaces.items()}
    values, rows = table.to_numpy(float), []
    for one in plan.itertuples():
        others = [row for row in range(len(table)) if row != one.row]
        where = points["data" if one.space == "all" else one.space]
        nearest = sorted(others, key=lambda row: np.linalg.norm(where[row] - where[one.row]))[: one.k]
        rows += [(values[one.row] + values[row]) / 2 for row in nearest]
    return np.unique(np.round(rows, 8), axis=0)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


OUTPUTS = {"t-augmented.csv", "t-augmented-plan.csv", "t-augmented-plan.png"}


# What is written


@pytest.mark.parametrize("targets", [["y"], ["z", "y"]])
def test_own_rows_first_then_those_of_the_plan(folder: Path, run: Run, targets: list[str]) -> None:
    table = plane()
    table["n"] = table["n"].astype(str)
    text = "\n" + table.to_csv(index=False).replace(",3,", ",3.0000,").replace(",4,", ",+4,").replace("\n", "\r\n")
    (folder / "t.csv").write_bytes(text.encode())
    said = run("t.csv", *(word for target in targets for word in ("--target", target)), "--budget", "None")
    assert names(folder) == {"t.csv", *OUTPUTS}
    written = (folder / "t-augmented.csv").read_text()
    assert written.startswith(text.strip().replace("\r\n", "\n") + "\n")
    everything, plan = pd.read_csv(StringIO(written)), pd.read_csv("t-augmented-plan.csv")
    assert list(plan) == ["row", "line", "space", "k", "probability"]
    assert (plan["line"] == plan["row"] + 3).all()  # a blank line, and the names
    assert plan["probability"].isna().all()  # nothing was learned
    assert len(plan) > 0
    expected = mixed_rows(plane(), targets, plan)
    found = everything.iloc[40:].to_numpy(float)
    np.testing.assert_allclose(np.unique(np.round(found, 8), axis=0), expected, atol=2e-8)
    assert len(found) == len(expected)
    assert f"40 rows before, {40 + len(found)} after; the mixed ones are the last {len(found)}." in said
    assert max(len(cell) for cell in ",".join(written.splitlines()[41:]).split(",")) <= 17  # no 0.30000000000000004
    assert (folder / "t-augmented-plan.png").read_bytes().startswith(b"\x89PNG")


def test_gain_in_units_of_the_label(run: Run) -> None:
    plane().to_csv("t.csv", index=False)
    table = pd.read_csv("t.csv")  # pandas 2 reads some numbers with another last digit than was written
    said = run("t.csv", "--target", "y", "--budget", "None")
    tree = DecisionTreeRegressor(random_state=0)
    sampler = MixRLSampler(tree, folds=2, trainings=0, random_state=0).fit(table.drop(columns="y"), table["y"])
    report = sampler.report_.set_index("way")
    assert all(command._in_words(way) for way in report.index.drop("no mixing"))
    way, none = report.loc[sampler.chosen_[0]], report.loc["no mixing"]
    gain = none["rmse"] - way["rmse"]
    error = way["standard_error"] / (none["rmse"] + way["rmse"])
    assert f"no mixing  {none['rmse']:.4g}" in said
    assert f"chosen  {way['rmse']:.4g}   {sampler.chosen_[0]}" in said
    assert f"gain {gain:+.2g} ± {error:.2g}  ({gain / none['rmse']:+.1%};" in said


def test_the_answer_may_be_not_to_augment(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_by(monkeypatch, LinearRegression())
    table = plane().assign(flag=[True, False] * 20)
    table["y"] += 30 * np.sin(table["a"])
    table.to_csv("t.csv", index=False)
    said = run("t.csv", "--target", "y", "--budget", "None")
    assert "Do not augment: none of" in said
    assert (folder / "t-augmented.csv").read_bytes() == (folder / "t.csv").read_bytes()
    assert (folder / "t-augmented-plan.csv").read_text() == "row,line,space,k,probability\n"
    assert names(folder) == {"t.csv", *OUTPUTS}


def test_categories_and_truth_values(run: Run) -> None:
    table = plane().assign(flag=[True, False] * 20)
    table.insert(1, "colour", ["red", "blue, dark", "red", "green"] * 10)
    table.to_csv("t.csv", index=False)
    run("t.csv", "--target", "y", "--budget", "None", "--one-hot", "--out", "o.csv")
    out = pd.read_csv("o.csv")
    coded = [f"colour={value}" for value in ("blue, dark", "green", "red")]
    assert list(out) == ["a", *coded, "y", "b", "n", "z", "flag"]
    for name in coded:
        assert (out[name][:40] == (table["colour"] == name.split("=")[1])).all()
    assert np.allclose(out[coded].sum(axis=1), 1)
    assert (out["flag"][:40] == table["flag"]).all()
    assert set(out[[*coded, "flag"]].to_numpy().ravel()) == {0, 0.5, 1}
    read_table("o.csv", "y")  # all numbers


def test_parquet(folder: Path, run: Run) -> None:
    pytest.importorskip("pyarrow")
    table = plane().astype({"b": "float32"}).assign(flag=[True, False] * 20)
    table.to_parquet("t.parquet")
    run("t.parquet", "--target", "y", "--budget", "None")
    out, plan = pd.read_parquet("t-augmented.parquet"), pd.read_csv("t-augmented-plan.csv")
    assert list(plan) == ["row", "space", "k", "probability"]
    assert out.dtypes.astype(str).to_dict() == dict.fromkeys(table, "float64") | {"b": "float32"}
    assert (out[:40].to_numpy(float) == table.to_numpy(float)).all()
    assert len(out) > 40
    run("t.parquet", "--target", "y", "--budget", "None", "--out", "t.csv")
    text = table.assign(flag=table["flag"].astype(int)).to_csv(index=False)
    assert (folder / "t.csv").read_text().startswith(text)
    mixed = pd.read_csv("t.csv")[40:].to_numpy()
    np.testing.assert_allclose(mixed, out[40:].to_numpy(float), rtol=1e-6, atol=1e-6)


# Messages


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
            run("t.csv", "--target", "y", "--budget", "None")
        assert name in (error := capsys.readouterr().err)
        assert "--overwrite" in error
        assert (folder / name).read_text() == "old"
        assert names(folder) == {"t.csv", name}
        (folder / name).unlink()
    (folder / "t-augmented.csv").write_text("old")
    run("t.csv", "--target", "y", "--budget", "None", "--overwrite")
    assert (folder / "t-augmented.csv").stat().st_size > 1000
    assert names(folder) == {"t.csv", *OUTPUTS}


@pytest.mark.parametrize("failing", [(files, "write_through"), (Path, "replace")], ids=["write", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_table(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, failing: tuple[object, str]
) -> None:
    """The table is written last, in one go."""
    plane().to_csv("t.csv", index=False)
    (folder / "t-augmented.csv").write_text("old")
    do, calls = getattr(*failing), iter(range(100))

    def fail(*arguments: object) -> object:
        if next(calls) == 2:
            raise error
        return do(*arguments)

    monkeypatch.setattr(*failing, fail)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y", "--budget", "None", "--overwrite")
    assert ended.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert names(folder) == {"t.csv", *OUTPUTS}  # plan and picture are complete
    assert (folder / "t-augmented.csv").read_text() == "old"
    assert (folder / "t-augmented-plan.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_while_it_learns(
    folder: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    plane().to_csv("t.csv", index=False)
    monkeypatch.setattr(MixRLSampler, "fit_resample", interrupted)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", "--target", "y")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted, the table was not written\n"
    assert names(folder) == {"t.csv"}


# Refusals


GOOD = "size,age,price\n" + "".join(f"{row},{row % 5},{3 * row}\n" for row in range(30))
REFUSED: dict[str, tuple[str, list[str], list[str]]] = {
    "no target": (GOOD, [], ["--target", "'size', 'age', 'price'"]),
    "a category": (
        GOOD.replace(",2,", ",two,").replace(",3,", ",three,").replace(",4,", ",e,").replace(",1,", ",one,"),
        ["--target", "price"],
        ["column 'age'", "'0' in line 2", "--one-hot"],
    ),
    "names": (
        "name,price\n" + "".join(f"person {row},{row}\n" for row in range(30)),
        ["--target", "price", "--one-hot"],
        ["30 different values", "'person 0' in line 2"],
    ),
    "too few rows": ("size,price\n1,2\n2,3\n3,5\n", ["--target", "price"], ["3 rows, too few", "at least 4"]),
    "not a number": (GOOD.replace("7,2,21", "7,inf,21"), ["--target", "price"], ["not finite", "line 9"]),
    "no budget": (GOOD, ["--target", "price", "--budget", "0"], ["--budget", "above 0"]),
    "folder": (GOOD, ["--target", "price", "--out", "there/o.csv"], ["there is not a writable folder"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_one_line(folder: Path, run: Run, capsys: pytest.CaptureFixture[str], what: str) -> None:
    text, arguments, expected = REFUSED[what]
    (folder / "t.csv").write_text(text)
    with pytest.raises(SystemExit) as ended:
        run("t.csv", *arguments)
    out, error = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert all(words in error for words in expected), error
    assert names(folder) == {"t.csv"}

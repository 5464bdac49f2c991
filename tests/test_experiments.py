"""The command line end to end, and what becomes of it when it is interrupted or misused."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from experiments.__main__ import main, table_2
from experiments.kinds import make_study
from experiments.presets import SMALL_REGRESSOR, Settings
from experiments.runner.store import read_results
from mixrl import load_value_network
from mixrl_env import RegressorConfig

ROOT = Path(__file__).parent.parent


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Done:
    """`python -m experiments ...` without the seconds that importing torch takes."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["experiments", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("study") / "smoke"
    done = run("reproduce", "--preset", "smoke", "--splits", "0", "3", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_reproduce_stores_every_method_and_says_where(study: tuple[Path, str]) -> None:
    folder, printed = study
    stored = read_results(folder)
    results = stored.rows
    assert set(results["method"]) == {"No Augmentation", "Original Mixup", "Global kNN", "MixRL"}
    assert len(results) == 4 * 2 * 2  # methods x splits x final trainings
    assert all("experiments reproduce --preset smoke" in record.command for record in stored.records)
    contract = ["dataset", "method", "split_seed", "seed", "val_rmse", "test_rmse", "test_r2", "num_rows", "trainings"]
    assert {*contract, "seconds", "preset", "version", "command"} <= set(pd.read_csv(folder / "results.csv"))
    rows = results.drop_duplicates(["method", "split_seed"]).set_index(["method", "split_seed"])
    assert rows.loc[("No Augmentation", 0), "num_rows"] == 200
    assert rows.loc[("Original Mixup", 0), "num_rows"] == 200 + 200 * 199 // 2
    assert rows.loc[("MixRL", 0), "agent"] == "reinforce"
    for column in ("0.5165", "0.5012"):  # the paper's figures stand beside ours
        assert column in printed
    for name in ("no2_learning_curve.png", "no2_k_histogram.png", "no2_methods.png"):
        assert (folder / "figures" / name).read_bytes().startswith(b"\x89PNG")
        assert name in printed.replace("\n", "")
    for record in stored.where(method="MixRL").records:
        assert record.settings["num_envs"] == 2
        assert load_value_network(stored.file(record, "value_network.safetensors")).row_size == 40
        assert len(pd.read_csv(stored.file(record, "progress.csv"))) == 4  # 8 trainings, 2 an update
        plan = pd.read_csv(stored.file(record, "plan.csv"))
        assert list(plan.columns) == ["row", "space", "k", "probability", "plan"]
        assert not plan.duplicated(["row", "space"]).any()


def test_reproduce_takes_any_dataset_and_raw_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("reproduce", "--preset", "smoke", "--dataset", "noisy_corner", "--raw-labels")
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "runs" / "noisy_corner-smoke-raw")
    assert set(results.rows["dataset"]) == {"noisy_corner"}
    for record in results.records:
        assert (record.settings["env_id"], record.settings["standardize_labels"]) == ("MixRL-v0", False)
    assert "Paper" not in done.stdout  # no figures of the paper, which has not this dataset
    assert "Tables 2 to 6" not in done.stdout


def test_reproduce_has_the_plan_search_beside_reinforce() -> None:
    study = make_study(tomllib.loads(table_2("default", "gap", [1, 2], raw_labels=True)), "test")
    settings = {cell.labels["method"]: cell.settings for cell in study.cells()}
    assert [*settings] == ["No Augmentation", "Original Mixup", "Global kNN", "MixRL", "MixRL (plan search)"]
    assert [(own["agent"], own["trainings"]) for own in settings.values()][3:] == [("reinforce", 512), ("plan_search", 400)]
    assert not any(own["standardize_labels"] for own in settings.values())
    assert {cell.labels["split_seed"] for cell in study.cells()} == {1, 2}


def test_the_environment_follows_the_dataset() -> None:
    ids = {"no2": "MixRL-NO2-v0", "synthetic": "MixRL-Synthetic-v0", "product": "MixRL-Product-v0", "tecator": "MixRL-v0"}
    for dataset, env_id in ids.items():
        for preset in ("default", "paper"):
            cells = make_study({"preset": preset, "datasets": [dataset]}, "test").cells()
            for cell in cells:
                settings = cell.settings
                assert (settings["dataset"], settings["env_id"], settings["standardize_labels"]) == (dataset, env_id, True)
                sizes = settings.get("regressor", {}).get("hidden_sizes")
                assert sizes == (SMALL_REGRESSOR.hidden_sizes if dataset == "tecator" else None)
    assert replace(Settings(), env_id="MixRL-v0").on("no2").env_id == "MixRL-v0"  # what was set stays
    assert Settings(regressor=RegressorConfig()).on("auto").regressor == RegressorConfig()


def test_a_second_run_computes_nothing_and_a_new_split_adds(study: tuple[Path, str]) -> None:
    folder, _ = study
    before = (folder / "results.csv").read_bytes()
    again = run("reproduce", "--preset", "smoke", "--splits", "0", "--out", folder)
    assert "nothing to compute" in again.stdout
    assert (folder / "results.csv").read_bytes() == before


def test_same_seed_same_results(study: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = study
    run("reproduce", "--preset", "smoke", "--splits", "3", "--out", tmp_path / "again")
    first, again = read_results(folder).rows, read_results(tmp_path / "again").rows
    columns = ["method", "seed", "val_rmse", "test_rmse", "test_r2", "num_rows", "plans", "parameters"]
    pd.testing.assert_frame_equal(first.loc[first["split_seed"] == 3, columns].reset_index(drop=True), again[columns])


def test_interrupted_study_keeps_what_was_finished(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a study of many splits, in a process of its own."""
    command = [sys.executable, "-m", "experiments", "reproduce", "--preset", "smoke", "--splits", *map(str, range(500))]
    wide = os.environ | {"COLUMNS": "200"}  # else the table may break the names of methods
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=wide
    )
    while not list(tmp_path.glob("cells/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished cells are in" in printed
    assert "No Augmentation" in printed
    assert "Traceback" not in errors
    assert len(read_results(tmp_path).rows) >= 2
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--preset", "tiny"], "default"),
        (["reproduce", "--split", "0"], "--splits"),
        (["reproduce", "--splits", "-1"], "greater than or equal to 0"),
        (["reproduce", "--dataset", "no3"], "unknown dataset 'no3'; known: 'athletes', 'auto', "),
        (["tables", "nowhere"], "no results in nowhere"),
        (["figures", "nowhere"], "no results in nowhere"),
        (["train-all"], "reproduce"),
    ],
)
def test_wrong_command_is_one_clear_error(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr

"""Studies from TOML files: what they ask for, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.kinds import read_study
from experiments.methods import BASELINES
from experiments.presets import PRESETS
from experiments.runner.store import read_results
from experiments.studies.comparison import Comparison
from tests.test_experiments import run

SHIPPED = sorted((Path(__file__).parent.parent / "experiments" / "studies").glob("*.toml"))
PLANE = "a,b,y\n" + "".join(f"{i},{(7 * i) % 13},{3 * i + (7 * i) % 13}\n" for i in range(60))


def comparison(path: Path, text: str) -> Comparison:
    path.write_text(text)
    study = read_study(path)
    assert isinstance(study, Comparison)
    return study


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_files_are_studies_that_can_start(path: Path) -> None:
    cells = read_study(path).cells()
    assert len({cell.name for cell in cells}) == len(cells) > 0
    assert path.read_text().startswith("# ")  # says what it asks


def test_a_file_of_one_line_compares_all_baselines_with_the_preset(tmp_path: Path) -> None:
    study = comparison(tmp_path / "one.toml", 'preset = "smoke"\n')
    assert list(study.methods()) == [*BASELINES, "MixRL"]
    assert study.methods()["MixRL"] == PRESETS["smoke"]
    assert [cell.labels for cell in study.cells()] == [
        {"dataset": "no2", "method": method, "split_seed": 0} for method in study.methods()
    ]


def test_what_a_file_changes(tmp_path: Path) -> None:
    text = (
        'datasets = ["no2", "auto"]\nsplits = [3, 1]\nbaselines = ["C-Mixup", "No Augmentation"]\n'
        "[settings]\nregressor = {max_steps = 7}\nfinal_trainings = 3\n"
        '[variants.A]\nlam = ["beta", 2]\n[variants.B.reinforce]\npatience = 5\n'
    )
    study = comparison(tmp_path / "mine.toml", text)
    methods = study.methods()
    assert list(methods) == ["C-Mixup", "No Augmentation", "A", "B"]
    assert {settings.final_trainings for settings in methods.values()} == {3}
    assert {settings.regressor.max_steps for settings in methods.values() if settings.regressor} == {7}
    assert tuple(methods["A"].lam) == ("beta", 2)
    assert methods["B"].reinforce.patience == 5
    assert methods["B"].reinforce.learning_rate == PRESETS["default"].reinforce.learning_rate
    places = [cell.place for cell in study.cells()]
    assert places == sorted(places)
    assert [cell.labels["split_seed"] for cell in study.cells()][:8] == [3] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = [", "is not TOML"),
        ('kind = "kin"', "kind"),
        ("splitz = [0]", "splitz"),
        ("splits = [0, 0]", "listed twice"),
        ('datasets = ["no3"]', "unknown dataset 'no3'"),
        ('baselines = ["Mixup"]', "unknown baseline 'Mixup'"),
        ('[variants."C-Mixup"]', "which is a baseline"),
        ("[settings]\ntrainings = -3", "trainings"),
        ('[tables.no2]\npath = "x.csv"\ntargets = "y"', "which is another dataset"),
        ('[tables.own]\npath = "missing.csv"\ntargets = "y"', "cannot read"),
        ('kind = "fidelity"\nmasks = 0', "masks"),
        ('kind = "distances"\nregressor = {hidden = 3}', "unknown regressor setting 'hidden'"),
    ],
)
def test_bad_files_are_one_line_and_no_work_is_begun(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    done = run("sweep", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_table_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "plane.csv").write_text(PLANE)
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "smoke"\nsplits = [0, 1]\nbaselines = ["No Augmentation"]\n'
        "settings = {regressor = {hidden_sizes = [4], max_steps = 20}}\n"
        '[tables.plane]\npath = "plane.csv"\ntargets = ["y"]\nsizes = [30, 15, 15]\n'
    )
    done = run("sweep", path, "--out", tmp_path, "--workers", "1")
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "mine")
    assert set(results.rows["dataset"]) == {"plane"}
    assert {tuple(record.settings["table"]["sizes"]) for record in results.records} == {(30, 15, 15)}
    assert results.records[0].settings["table"]["path"] == "plane.csv"  # a file may be moved, with its study
    (tmp_path / "plane.csv").write_text(PLANE + "1,2,3\n")
    assert "with table" in run("sweep", path, "--out", tmp_path).stderr

"""Studies from TOML files: what they ask for, what is stored of them, and what their tables make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.engines.base import Failure, Outcome, perform
from experiments.failures import record_failure
from experiments.methods import BASELINES
from experiments.methods.mixrl import hold_back, make_envs, rotate
from experiments.results import read_results
from experiments.settings import PRESETS, with_changes
from experiments.studies.cells import CellFolder, CellStudy, Row, read_cells
from experiments.studies.drift import Drift
from experiments.studies.kinds import COMPARE, KINDS, cell_study, read_toml
from experiments.studies.transfer import Transfer
from experiments.study import Study, read_study
from mixrl import MaskRegressionConfig, ReinforceVariantConfig
from mixrl_env import ProblemConfig, RegressionData, RegressorConfig, load_dataset
from tests.test_experiments import Done, run

SHIPPED = sorted((Path(__file__).parent.parent / "experiments" / "studies").glob("*.toml"))
TINY = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=40, eval_every=20, patience=2)
OPTIONS = (("data", 1), ("data", 4), ("label", 1), ("label", 4))


def read(path: Path) -> Study | CellStudy:
    told = read_toml(path)
    return read_study(path, told) if told["kind"] == COMPARE else cell_study(str(path), told)


SMALL_STUDY = """
preset = "smoke"
datasets = ["auto"]
splits = [0, 2]
baselines = ["No Augmentation"]
[settings]
env_id = "MixRL-v0"
options = [["data", 1], ["label", 2]]
step_budget = 3
thresholds = 2
regressor = { hidden_sizes = [4], max_steps = 10 }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


# Settings and files


def test_with_changes_replaces_fields_and_fields_of_fields() -> None:
    base = PRESETS["default"]
    before = base.as_dict()
    changed = with_changes(
        base,
        {
            "trainings": 12,
            "observe": ["option", "distances"],
            "options": [["data", 1], ["all", 0]],
            "regressor": {"hidden_sizes": [4], "learning_rate": 0.5},
            "reinforce": {"entropy_bonus": 0.25},
            "mask_regression": {"num_features": 7},
        },
    )
    assert changed == replace(
        base,
        trainings=12,
        observe=("option", "distances"),
        options=(("data", 1), ("all", 0)),
        regressor=RegressorConfig(hidden_sizes=(4,), learning_rate=0.5),
        reinforce=replace(base.reinforce, entropy_bonus=0.25),
        mask_regression=MaskRegressionConfig(7),
    )
    assert base.as_dict() == before
    assert with_changes(base, {}) == base
    again = with_changes(changed, {"regressor": {"batch_size": 3}, "reinforce": {"center": True}})  # further changes add up
    assert again.regressor == RegressorConfig(hidden_sizes=(4,), learning_rate=0.5, batch_size=3)
    assert again.reinforce == replace(base.reinforce, entropy_bonus=0.25, center=True)
    whole = ReinforceVariantConfig(average=0.5)
    assert with_changes(base, {"reinforce": whole}).reinforce is whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": 3}, "unknown setting training; known: dataset, env_id, "),
        ({"reinforce": {"lr": 3}}, "unknown setting reinforce.lr; known: reinforce.learning_rate, "),
        ({"regressor": {"layers": 3}}, "unknown setting regressor.layers; known: regressor.hidden_sizes, "),
        (
            {"mask_regression": {"features": 3}},
            "unknown setting mask_regression.features; known: mask_regression.num_features, mask_regression.exploration$",
        ),
        ({"reinforce": {"average": 1.5}}, "average must lie"),
        ({"regressor": {"batch_size": 0}}, "batch_size must be"),
    ],
)
def test_changes_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_changes(PRESETS["default"], changes)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_studies_that_can_start(path: Path) -> None:
    study = read(path)
    if not isinstance(study, Study):
        assert list(study.cells())
        return
    assert study.name == path.stem
    assert study.datasets
    assert study.splits == tuple(dict.fromkeys(study.splits))
    assert any(name not in BASELINES for name in study.methods)
    for settings in study.methods.values():
        own = settings.env_settings()
        assert own.pop("data") == settings.dataset
        ProblemConfig.from_settings(own)  # an environment would take them
        assert settings.agent in ("reinforce", "mask_regression", "none")
        assert settings.plan in ("most_probable", "sampled")
        assert settings.rule in ("lowest", "average", "beats_no_mixing")
        assert settings.folds == 1 or settings.agent == "mask_regression"


def test_a_file_of_one_line_compares_all_baselines_with_the_preset(tmp_path: Path) -> None:
    study = read(write(tmp_path, 'preset = "smoke"'))
    assert isinstance(study, Study)
    assert (study.name, study.datasets, study.splits) == ("mine", ("no2",), (0,))
    assert list(study.methods) == [*BASELINES, "MixRL"]
    assert study == Study("mine", ("no2",), (0,), Study.of_preset("smoke", (0,)).methods)
    assert study.methods["MixRL"] == PRESETS["smoke"]
    assert isinstance(default := read(write(tmp_path, "")), Study)
    assert default.methods["MixRL"] == PRESETS["default"]


def test_what_a_file_changes(tmp_path: Path) -> None:
    study = read(
        write(
            tmp_path,
            """
            preset = "smoke"
            datasets = ["gap", "auto"]
            splits = [3, 1]
            baselines = ["Global kNN"]
            [settings]
            env_id = "MixRL-v0"
            regressor = { hidden_sizes = [4] }
            [variants."a"]
            [variants."b"]
            agent = "mask_regression"
            regressor = { batch_size = 7 }
            """,
        )
    )
    assert isinstance(study, Study)
    assert (study.datasets, study.splits) == (("gap", "auto"), (3, 1))
    assert list(study.methods) == ["Global kNN", "a", "b"]
    base = replace(PRESETS["smoke"], env_id="MixRL-v0", regressor=replace(RegressorConfig(max_steps=100), hidden_sizes=(4,)))
    assert study.methods["a"] == replace(base, mixrl_name="a")
    assert base.regressor is not None
    regressor = replace(base.regressor, batch_size=7)
    assert study.methods["b"] == replace(base, mixrl_name="b", agent="mask_regression", regressor=regressor)
    for name in ("env_id", "regressor", "knn_repeats", "final_trainings"):
        assert getattr(study.methods["Global kNN"], name) == getattr(base, name)


def test_keys_of_the_other_kinds(tmp_path: Path) -> None:
    ours = read(write(tmp_path, 'kind = "transfer"\nsplits = [4, 2]\nmasks = 3\ncheckpoints = [16]'))
    assert ours == Transfer(splits=(4, 2), masks=3, checkpoints=(16,))
    assert [name for name, _ in ours.cells()] == ["no2-split4", "no2-split2"]
    assert read(write(tmp_path, 'kind = "drift"\nseeds = [9]')) == Drift(seeds=(9,))
    two = read(write(tmp_path, 'kind = "truth"\ndatasets = ["gap", "half_wiggly"]\nsplits = [0, 5]'))
    assert [name for name, _ in two.cells()] == ["gap-split0", "gap-split5", "half_wiggly-split0", "half_wiggly-split5"]
    for kind, study in KINDS.items():
        assert read(write(tmp_path, f'kind = "{kind}"')) == study()


BAD_FILES = {
    "not TOML": ("splits = [0", "is not TOML"),
    "kind": (
        'kind = "comparison"',
        "unknown kind 'comparison'; known: compare, agents, distances, drift, endings, estimators, fidelity, labels, transfer",
    ),
    "key": ('split = [0]\npreset = "smoke"', "unknown key 'split'; known: 'kind', 'preset', 'datasets', 'splits'"),
    "preset": ('preset = "tiny"', "unknown preset 'tiny'; known: 'default', 'mask_regression', 'paper', 'smoke'"),
    "dataset": ('datasets = ["no2", "no3"]', "unknown dataset 'no3'; known: 'auto', 'body'"),
    "baseline": ('baselines = ["kNN"]', "unknown baseline 'kNN'; known: 'No Augmentation'"),
    "setting": ("[settings]\ntraining = 3", "unknown setting training; known: dataset"),
    "nested setting": ("[settings.reinforce]\nlr = 3", r"unknown setting reinforce\.lr; known: reinforce\.learning_rate"),
    "variant's setting": ('[variants."x".regressor]\nlr = 3', r"unknown setting regressor\.lr; known: regressor\.hidden"),
    "value": ("[settings.reinforce]\naverage = 1.5", r"average must lie in \[0, 1\), got 1.5"),
    "nested value": ('[variants."x".mask_regression]\nnum_features = 0', "num_features must be at least 1, got 0"),
    "no splits": ("splits = []", r"splits must be a list of seeds of 0 or above, got \[\]"),
    "negative split": ("splits = [0, -1]", r"splits must be a list of seeds of 0 or above, got \[0, -1\]"),
    "split in words": ('splits = ["0"]', r"splits must be a list of seeds of 0 or above, got \['0'\]"),
    "split with a fraction": ("splits = [0.5]", r"splits must be a list of seeds of 0 or above, got \[0\.5\]"),
    "key of another kind": (
        'kind = "drift"\nsplits = [0]',
        "unknown key 'splits'; a study of kind 'drift' knows seeds, trainings",
    ),
    "dataset that the paper has not": (
        'kind = "distances"\ndataset = "auto"',
        "the paper has no settings for 'auto'; choose one of no2, synthetic, product",
    ),
    "key of no kind": (
        'kind = "truth"\nseed = 0',
        "unknown key 'seed'; a study of kind 'truth' knows datasets, splits, repeats",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    text, message = BAD_FILES[name]
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"image\.toml is not TOML"):
        read_toml(path)


# Cells


class Three:
    """Three cells."""

    def cells(self) -> Iterable[tuple[str, Callable[[], list[Row]]]]:
        return [(name, partial(some_rows, number)) for number, name in enumerate("abc")]

    @staticmethod
    def tables(stored: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        return [("all", stored)]

    @staticmethod
    def draw(stored: pd.DataFrame, out: Path) -> list[Path]:
        return []


def some_rows(number: int) -> list[Row]:
    return [{"cell": number, "value": number / 3, "words": "x, y" if row else ""} for row in range(2)]


def test_cells_are_files(tmp_path: Path) -> None:
    work = CellFolder(Three(), tmp_path)
    assert [task.name for task in work.missing()] == ["a", "b", "c"]
    for task in work.tasks[:2]:
        work.keep(task, perform(task, tmp_path, lambda *told: None))
    assert [task.name for task in work.missing()] == [task.name for task in CellFolder(Three(), tmp_path).missing()] == ["c"]
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["a.csv", "b.csv"]
    record_failure(tmp_path, work.tasks[2], Outcome(failure=Failure("error")), None, "")  # another file, but no cell
    stored = read_cells(tmp_path)
    assert stored["cell"].tolist() == [0, 0, 1, 1]
    assert stored["value"].tolist() == [number / 3 for number in (0, 0, 1, 1)]


def test_a_folder_without_cells_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results in"):
        read_cells(tmp_path)


# Held-back and rotating rows


def some_data(n_val: int = 10) -> RegressionData:
    """Every row is told apart by its first feature, and its label belongs to it."""
    x = np.column_stack([np.arange(30 + n_val), np.random.default_rng(0).normal(size=30 + n_val)])
    y = 100 + x[:, 0]
    return RegressionData(x[:20], y[:20], x[20 : 20 + n_val], y[20 : 20 + n_val], x[20 + n_val :], y[20 + n_val :], name="rows")


def labelled(*pairs: tuple[np.ndarray, np.ndarray]) -> list[tuple[float, ...]]:
    """All rows with their labels, sorted: a multiset."""
    return sorted(tuple(row) for x, y in pairs for row in np.concatenate([x, y], axis=1).tolist())


@pytest.mark.parametrize(
    ("n_val", "share", "held"),
    [(10, 0.5, 5), (10, 0.3, 3), (10, 0.01, 1), (10, 0.99, 9), (10, 1.0, 9), (3, 0.5, 1), (2, 0.5, 1)],
)
def test_hold_back_takes_the_last_validation_rows_out(n_val: int, share: float, held: int) -> None:
    data = some_data(n_val)
    rest, (x, y) = hold_back(data, share)
    assert len(x) == len(y) == held
    assert len(rest.x_val) == len(rest.y_val) == n_val - held
    assert labelled((rest.x_val, rest.y_val), (x, y)) == labelled((data.x_val, data.y_val))
    assert np.array_equal(rest.x_val, data.x_val[: n_val - held])
    for part in ("x_train", "y_train", "x_test", "y_test"):
        assert np.array_equal(getattr(rest, part), getattr(data, part))
    assert rest.name == data.name


def test_rotate_deals_training_and_validation_rows_out_anew() -> None:
    data = some_data()
    assert rotate(data, 5, 0) is data
    folds = [rotate(data, 5, fold) for fold in range(1, 5)]
    whole = labelled((data.x_train, data.y_train), (data.x_val, data.y_val))
    for fold in folds:
        assert (len(fold.x_train), len(fold.x_val)) == (20, 10)
        assert labelled((fold.x_train, fold.y_train), (fold.x_val, fold.y_val)) == whole
        assert np.array_equal(fold.y_val[:, 0], 100 + fold.x_val[:, 0])
        assert fold.x_test is None
        assert fold.name == data.name
    sets = [frozenset(fold.x_val[:, 0].tolist()) for fold in [data, *folds]]
    assert len(set(sets)) == 5
    assert np.array_equal(rotate(data, 5, 2).x_val, folds[1].x_val)
    assert not np.array_equal(rotate(data, 6, 2).x_val, folds[1].x_val)
    # Every row comes into the validation part as often as its share says.
    often = np.mean([np.isin(np.arange(30), rotate(data, 0, fold).x_val[:, 0]) for fold in range(1, 601)], axis=0)
    assert np.abs(often - 1 / 3).max() < 4.5 * (2 / 9 / 600) ** 0.5


def test_environments_of_the_agent_rotate_and_hold_back() -> None:
    settings = replace(
        PRESETS["smoke"], dataset="auto", env_id="MixRL-v0", options=OPTIONS, regressor=TINY, pretrained=False, num_envs=3
    )
    data = load_dataset("auto", 4)
    whole = labelled((data.x_train, data.y_train), (data.x_val, data.y_val))
    folded = list(make_envs(replace(settings, agent="mask_regression", folds=3, held_back=0.25), data, 4))
    assert [envs.num_envs for envs in folded] == [3, 3, 3]
    for fold, envs in enumerate(folded):
        ours = envs.unwrapped.problem.data  # type: ignore[attr-defined]
        assert (len(ours.x_train), len(ours.x_val)) == (156, 117)
        assert np.array_equal(ours.x_train, data.x_train) == (fold == 0)
        assert set(labelled((ours.x_train, ours.y_train), (ours.x_val, ours.y_val))) < set(whole)
    [plain] = make_envs(settings, data, 4)
    assert np.array_equal(plain.unwrapped.problem.data.x_val, data.x_val)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="folds > 1 needs agent = 'mask_regression'"):
        list(make_envs(replace(settings, folds=2), data, 4))


# The command line


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


COMPARED = (
    SMALL_STUDY
    + """
[variants."MixRL"]
reinforce = { hidden_sizes = [4] }
[variants."Regression, 2 folds!"]
agent = "mask_regression"
mask_regression = { num_features = 5 }
trainings = 12
folds = 2
held_back = 0.5
plan = "sampled"
rule = "average"
"""
)


def test_the_verb_sweep_compares_and_goes_on(tmp_path: Path) -> None:
    path, out = write(tmp_path, COMPARED), tmp_path / "out"
    done = run("sweep", path, "--out", out)
    assert done.returncode == 0, done.stderr
    folder = out / "mine"
    results = read_results(folder)
    assert results.groupby(["method", "split_seed"]).size().to_dict() == {
        (method, split): 2 for method in ("No Augmentation", "MixRL", "Regression, 2 folds!") for split in (0, 2)
    }
    assert set(results["preset"]) == {"mine"}
    assert results["command"].str.contains("mine.toml").all()
    spent = results.groupby("method")["trainings"].max()
    assert spent["No Augmentation"] == 0
    assert spent["Regression, 2 folds!"] >= 12
    for name in ("No Augmentation", "Regression, 2 folds!"):
        assert name in " ".join(done.stdout.split())
    for split in (0, 2):
        for variant in ("mixrl", "regression-2-folds"):
            cell = folder / f"auto-split{split}" / variant
            assert {"policy.csv", "policies.csv", "plan.csv", "progress.csv"} <= {file.name for file in cell.iterdir()}
            policy = pd.read_csv(cell / "policy.csv")
            assert len(policy) == 156 * 2
            assert policy["probability"].between(0, 1).all()
    assert is_png(folder / "figures" / "auto_methods.png")
    assert not list(folder.rglob("*.partial"))

    before = (folder / "results.csv").read_bytes()
    again = run("sweep", path, "--out", out)
    assert again.returncode == 0
    assert "nothing to compute" in again.stdout
    assert (folder / "results.csv").read_bytes() == before

    path.write_text(COMPARED.replace("thresholds = 2", "thresholds = 3"))
    other = run("sweep", path, "--out", out)
    assert other.returncode == 2
    assert "another settings" in other.stderr
    assert (folder / "results.csv").read_bytes() == before


def test_the_verb_sweep_computes_cells_and_goes_on(tmp_path: Path) -> None:
    def study(seeds: str) -> Done:
        path = write(tmp_path, f'kind = "drift"\nseeds = {seeds}\ntrainings = 16')
        return run("sweep", path, "--out", tmp_path / "out")

    folder = tmp_path / "out" / "mine"
    done = study("[0]")
    assert done.returncode == 0, done.stderr
    assert "[1/1] seed0: " in done.stdout
    assert "Policies after 1 runs each" in done.stdout
    assert is_png(folder / "drift.png")
    assert not list(folder.glob("*.partial"))
    first = (folder / "seed0.csv").read_bytes()
    more = study("[0, 1]")
    assert more.returncode == 0, more.stderr
    assert "[2/2] seed1: " in more.stdout
    assert "seed0: " not in more.stdout
    assert (folder / "seed0.csv").read_bytes() == first
    assert set(read_cells(folder)["seed"]) == {0, 1}


@pytest.mark.parametrize("name", [None, *BAD_FILES])
def test_a_bad_file_is_one_line_and_no_work_is_begun(name: str | None, tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text(COMPARED)
    bad = tmp_path / "absent.toml" if name is None else write(tmp_path, BAD_FILES[name][0])
    done = run("sweep", good, bad, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert bad.name in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()

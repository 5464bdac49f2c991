"""The command line: python -m experiments VERB. Each verb is one function below; its arguments are the flags."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from experiments.benchmark.run import Benchmark, Part
from experiments.families import draw_families
from experiments.idea import draw_idea
from experiments.kinds import make_study, open_study
from experiments.optics import draw_reference, residuals
from experiments.pages import draw_stored, fill_pages, tables_of
from experiments.presets import PRESETS
from experiments.pretrain import pretrain
from experiments.report import write_report
from experiments.runner.cells import perform
from experiments.runner.engines import EngineName, make_engine
from experiments.runner.progress import SweepProgress
from experiments.runner.store import STUDY_FILE, Store
from experiments.runner.sweep import Sweep
from experiments.show.figures import check_picture
from experiments.show.tables import print_tables
from experiments.studies.agents import AGENTS
from experiments.train import train
from mixrl.estimators.command import augment

ResultsFolder = Annotated[Path, tyro.conf.Positional]


def reproduce(
    preset: Literal["default", "mask_regression", "plan_search", "paper", "smoke"] = "default",
    dataset: str = "no2",
    splits: tuple[int, ...] = (0,),
    raw_labels: bool = False,
    out: Path | None = None,
    workers: int = 1,
) -> None:
    """Run the rows of Table 2 on one dataset and print them beside the paper's, where it has this dataset.

    Finished methods are stored at once and are not computed again; Ctrl-C loses only the method at work.

    Args:
        preset: default (REINFORCE, and the plan search, ours, beside it), mask_regression and plan_search (ours) take minutes,
            paper hours (Algorithm 1 as printed), smoke seconds (to see that it runs).
        dataset: name of the dataset: the paper's no2, synthetic and product, or another of docs/datasets.md.
        splits: seeds of the random splits into training, validation and test rows.
        raw_labels: train on labels as they are; otherwise they are standardised inside the training.
        out: folder of the results; runs/DATASET-PRESET if not given, with -raw behind it for raw labels.
        workers: methods that run side by side and share the cores.
    """
    folder = out or Path("runs") / f"{dataset}-{preset}{'-raw' if raw_labels else ''}"
    text = table_2(preset, dataset, splits, raw_labels)
    study = make_study(tomllib.loads(text), "reproduce")
    _compute([Store(folder, study.cells(), text, _command())], workers)


def table_2(preset: str, dataset: str, splits: Sequence[int], raw_labels: bool) -> str:
    """The study behind `reproduce` as TOML: the default preset has the plan search beside REINFORCE."""
    given = {"kind": "compare", "preset": preset, "datasets": [dataset], "splits": [*splits]}
    parts: dict[str, dict[str, Any]] = {"settings": {"standardize_labels": False}} if raw_labels else {}
    if preset == "default":
        ours = PRESETS["plan_search"]
        changes = {"agent": ours.agent, "num_envs": ours.num_envs, "trainings": ours.trainings}
        parts |= {f'variants."{PRESETS[preset].mixrl_name}"': {}, f'variants."{ours.mixrl_name}"': changes}
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
    for name, part in parts.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in part.items())]
    return "\n".join(lines) + "\n"


def sweep(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path = Path("runs"),
    workers: int | None = None,
    engine: EngineName = "processes",
    address: str | None = None,
    time_limit: float | None = None,
) -> None:
    """Run the cells of studies from their TOML files side by side; each study goes into the folder of its name.

    A cell is one method on one dataset and split, or what a study of another kind calls one. Finished cells are stored at once
    and are not computed again. Cells that fail are recorded in cells/*.failed.json and tried again by the next sweep. Several
    sweeps may work on one folder.

    Args:
        files: such as experiments/studies/no2.toml.
        out: folder of the studies' folders; results holds those of the documentation.
        workers: cells that run side by side; all cores of the machine or the cluster if not given.
        engine: processes of this machine, or a Ray cluster; see docs/running.md.
        address: of the Ray cluster; if not given $RAY_ADDRESS, one that runs on this machine, or one started for the sweep.
        time_limit: minutes that a cell may take; the tables print TLE for methods that take longer.
    """
    if not files:
        raise ValueError("name at least one study, such as experiments/studies/no2.toml")
    for number, path in enumerate(files):
        if path.stem in (other.stem for other in files[:number]):
            raise ValueError(f"two studies are called {path.stem} and would share the folder {out / path.stem}: rename one")
    studies = [(path, open_study(path)) for path in files]  # a bad file is an error before any work
    stores = [Store(out / path.stem, study.cells(), path.read_text(), _command()) for path, study in studies]
    _compute(stores, workers, engine, address, time_limit)


def compare(
    agents: tuple[str, ...] = tuple(AGENTS),
    splits: tuple[int, ...] = (0, 1, 2, 3, 4),
    trainings: int = 1024,
    dataset: str = "no2",
    out: Path = Path("runs/agents"),
    workers: int | None = None,
) -> None:
    """Compare agents on equal budgets: learning curves, final validation and test RMSE, wall time; minutes an agent and split.

    Finished cells, one agent on one split each, are stored at once and are not computed again; more agents and splits may be
    added to a folder. experiments/studies/agents.toml is the same study for the verb sweep.

    Args:
        agents: names as the tables print them, such as PPO "REINFORCE, guarded"; the controls are agents, too.
        splits: seeds of the random splits into training, validation and test rows.
        trainings: inner trainings that each agent may spend on a split.
        dataset: name of the dataset.
        out: folder of the results; results/agents holds those of the documentation.
        workers: cells that run side by side; all cores if not given.
    """
    given = {"kind": "agents", "dataset": dataset, "agents": [*agents], "splits": [*splits], "trainings": trainings}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
    _compute([Store(out, make_study(given, "compare").cells(), text, _command())], workers)


def _compute(
    stores: list[Store],
    workers: int | None = None,
    engine: EngineName = "processes",
    address: str | None = None,
    time_limit: float | None = None,
) -> None:
    """Compute what is missing, print the tables, draw the figures."""
    console, missing = Console(), sum(len(store.missing()) for store in stores)
    if not missing:
        console.print("all cells are stored, nothing to compute")
        _show(stores, console)
        return
    progress = SweepProgress(console)
    try:
        with progress:
            Sweep(stores, make_engine(engine, workers, address, time_limit), progress, time_limit).run()
    except KeyboardInterrupt:
        where = ", ".join(str(store.folder) for store in stores)
        console.print(f"\ninterrupted; finished cells are in {where}, the same command continues from there", soft_wrap=True)
        _show(stores, console, draw=False)
        sys.exit(130)
    _show(stores, console)
    for what, names in (("beyond the time limit", progress.too_slow), ("failed", progress.failed)):
        for name in names:
            console.print(f"{what}: {name}", soft_wrap=True, markup=False, highlight=False)
    if progress.failed:
        console.print("cells/*.failed.json in the results folder says why; the same command tries them again")
        sys.exit(1)


def _show(stores: list[Store], console: Console, draw: bool = True) -> None:
    """Tables and figures of what is stored."""
    for store in stores:
        if len(store.missing()) < len(store.cells):
            tables(store.folder)
            for path in draw_stored(store.folder) if draw else ():
                console.print(f"figure  {path}", soft_wrap=True)


def _command() -> str:
    return shlex.join(["python", "-m", "experiments", *sys.argv[1:]])


def tables(results: ResultsFolder, markdown: bool = False, splits: tuple[int, ...] = ()) -> None:
    """Print the tables of stored results.

    Args:
        results: folder of a study, such as results/no2.
        markdown: print Markdown, as the pages hold it.
        splits: only these, of a comparison of methods; all if not given.
    """
    print_tables(tables_of(results, splits), Console(), markdown)


def figures(results: ResultsFolder) -> None:
    """Draw the figures of stored results into their folder.

    Args:
        results: folder of a study, such as results/no2.
    """
    for path in draw_stored(results):
        print(path)


def pages(files: Annotated[tuple[Path, ...], tyro.conf.Positional]) -> None:
    """Write the tables of stored results into Markdown pages, between <!-- tables: FOLDER --> and <!-- /tables -->.

    Args:
        files: such as README.md docs/*.md.
    """
    if not files:
        raise ValueError("name at least one page, such as README.md")
    for path, written in zip(files, fill_pages(files), strict=True):
        print(f"{path}: {'written' if written else 'up to date'}")


def report(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    results: Path = Path("results"),
    out: Path = Path("runs/report.html"),
) -> None:
    """Write one HTML page with the settings, tables and figures of stored results; it opens offline.

    Args:
        folders: of studies, such as results/no2; all in --results if none is named.
        results: folder of the studies' folders.
        out: the page to write.
    """
    found = folders or tuple(sorted(path.parent for path in results.glob(f"*/{STUDY_FILE}")))
    if not found:
        raise ValueError(f"no folder in {results} holds results; name the folders of studies, such as results/no2")
    write_report(found, out)
    print(out)


def benchmark(
    parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = ("throughput", "scale", "cuda"),
    out: Path = Path("runs/benchmark"),
    show: bool = False,
    markdown: bool = False,
) -> None:
    """Measure what the inner training costs, store it in place of what was measured before, and show everything stored.

    Every figure compares things that were timed in turn in one run; let the machine be idle otherwise.

    Args:
        parts: what to measure: throughput, scale, cuda.
        out: folder of the results; results/benchmark holds those of the documentation.
        show: measure nothing, show what is stored.
        markdown: print Markdown, as docs/performance.md holds it.
    """
    console = Console()
    if not show:
        store = Store(out, Benchmark(parts=parts).cells(), 'kind = "benchmark"\n', _command())
        store.begin()
        with console.status("") as status:
            for cell in store.cells:
                outcome = perform(cell, lambda done, total, words: status.update(words))
                if outcome.failure is not None:
                    raise ValueError(f"{cell.name} failed: {outcome.failure.message}\n{outcome.failure.traceback}")
                store.save(cell, outcome)
    tables(out, markdown)
    for path in draw_stored(out):
        console.print(f"figure  {path}", soft_wrap=True)


def idea(out: Path = Path("docs/idea.png")) -> None:
    """Learn what to mix on a function of one feature, and draw it beside Original Mixup (Fig. 1): seconds.

    Args:
        out: the picture to write.
    """
    check_picture(out)
    print(draw_idea(out))


def families(out: Path = Path("docs/families.png")) -> None:
    """Draw one generated table of each family, and each kind of noise.

    Args:
        out: file of the figure.
    """
    print(draw_families(out))


def optics(out: Path = Path("docs/thin_film.png")) -> None:
    """Compare the thin-film simulator with what is known of the DACON table: residuals and a picture.

    Args:
        out: the picture to write.
    """
    check_picture(out)
    for name, value in residuals().items():
        print(f"{name}: {value:.4f}")
    print(draw_reference(out))


def main() -> None:
    """Run one verb; a bad value is one line on standard error and exit code 2."""
    verbs = (
        augment,
        reproduce,
        train,
        pretrain,
        sweep,
        compare,
        tables,
        figures,
        pages,
        report,
        benchmark,
        idea,
        families,
        optics,
    )
    by_name = {verb.__name__: verb for verb in verbs}
    try:
        tyro.extras.subcommand_cli_from_dict(by_name, prog="python -m experiments", description=__doc__)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The command line: python -m experiments VERB. Each verb is one function below; its arguments are the flags."""

from __future__ import annotations

import shlex
import sys
from datetime import date
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from experiments.benchmark.learning import VARIANTS, read_learning, run_learning
from experiments.benchmark.plots import draw_benchmark
from experiments.benchmark.run import Part, benchmark_tables, measure, stored_tables
from experiments.figures import draw_idea
from experiments.optics import bundle_indices, draw_reference, residuals_table
from experiments.pages import draw_stored, fill_page, tables_of
from experiments.report import folders_with_results, write_report
from experiments.reproduce import run_study
from experiments.results import ResultStore, cell_folder
from experiments.studies.cells import run_cells
from experiments.studies.kinds import COMPARE, cell_study, keep_settings, read_toml
from experiments.study import Study, read_study
from experiments.tables import to_markdown, to_rich
from mixrl_env.datasets.thin_film import materials

ResultsFolder = Annotated[Path, tyro.conf.Positional]


def reproduce(
    preset: Literal["default", "reinforce", "paper", "smoke"] = "default",
    splits: tuple[int, ...] = (0,),
    out: Path | None = None,
) -> None:
    """Run the NO2 rows of Table 2 and print them beside the paper's.

    Finished methods are stored at once and are not computed again; Ctrl-C loses only the method at work.

    Args:
        preset: default and reinforce take minutes, paper hours (Algorithm 1 as printed), smoke seconds (to see that it runs).
        splits: seeds of the random splits into training, validation and test rows.
        out: folder of the results; runs/no2-PRESET if not given.
    """
    if not splits or min(splits) < 0:
        raise ValueError(f"--splits takes at least one seed of 0 or above, got {splits}")
    _run(Study.of_preset(preset, splits), out or Path("runs") / f"no2-{preset}", Console())


def study(files: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path = Path("runs")) -> None:
    """Run studies from their TOML files, one after the other; each goes into the folder of its name.

    Finished methods are stored at once and are not computed again; Ctrl-C loses only the method at work.

    Args:
        files: such as experiments/studies/transfer.toml.
        out: folder of the studies' folders; results holds those of the documentation.
    """
    console, studies = Console(), []
    for path in files:  # all of them first: a bad file is told before any work starts
        told = read_toml(path)
        studies.append((path, told, read_study(path, told) if told["kind"] == COMPARE else cell_study(path, told)))
    for path, told, one in studies:
        folder = out / path.stem
        if isinstance(one, Study):
            _run(one, folder, console)
            continue
        keep_settings(path, told, folder)
        run_cells(one, folder, console.print)
        tables(folder)
        figures(folder)


def _run(study: Study, folder: Path, console: Console) -> None:
    """Compute what is missing, print the tables, draw the figures."""
    command = shlex.join(["python", "-m", "experiments", *sys.argv[1:]])
    store = ResultStore(folder, study, command)
    try:
        run_study(store, study, console)
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; finished methods are in {store.path}, the same command goes on from there")
        if store.path.exists():
            tables(store.folder)
        sys.exit(130)
    tables(store.folder)
    written = [store.path, *draw_stored(store.folder)]
    for dataset, split in product(study.datasets, study.splits):
        written += sorted(cell_folder(store.folder, dataset, split).rglob("plan.csv"))
    console.print("Written:")
    for path in written:
        console.print(f"  {path}", soft_wrap=True)


def tables(results: ResultsFolder, markdown: bool = False, splits: tuple[int, ...] = ()) -> None:
    """Print the tables of stored results.

    Args:
        results: folder of a study, such as results/no2-default.
        markdown: print Markdown, as the pages hold it.
        splits: only these, of a comparison of methods; all if not given.
    """
    console = Console()
    for title, table in tables_of(results, splits):
        if markdown:
            print(f"{title}\n\n{to_markdown(table)}\n")
        else:
            console.print(to_rich(title, table, console.width))


def figures(results: ResultsFolder) -> None:
    """Draw the figures of stored results into their folder.

    Args:
        results: folder of a study, such as results/no2-default.
    """
    for path in draw_stored(results):
        print(path)


def pages(files: Annotated[tuple[Path, ...], tyro.conf.Positional]) -> None:
    """Write the tables of stored results into Markdown pages, between <!-- tables: FOLDER --> and <!-- /tables -->.

    Args:
        files: such as README.md docs/*.md.
    """
    for path in files:
        print(f"{path}: {'written' if fill_page(path) else 'up to date'}")


def report(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    results: Path = Path("results"),
    out: Path = Path("runs/report.html"),
) -> None:
    """Write one HTML page with the tables, figures, settings and commands of stored results; it opens offline and prints well.

    Args:
        folders: of studies, such as results/no2-default; all that hold results if none is named.
        results: where they are looked for if none is named.
        out: the page to write.
    """
    write_report(folders or folders_with_results(results), out, date.today())
    print(out)


def benchmark(
    parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = ("throughput", "overhead", "scale", "cuda"),
    splits: tuple[int, ...] = (0, 1, 2, 3, 4),
    out: Path = Path("runs/benchmark"),
    show: bool = False,
    markdown: bool = False,
) -> None:
    """Measure what the inner training costs and what each reward buys, store it, and show all that is stored.

    Every figure compares things that were timed in turn in one run; let the machine be idle besides. The part "learning"
    compares REINFORCE and its variants over splits: hours, stored split by split, resumed by the same command.

    Args:
        parts: what to measure: throughput, overhead, scale, cuda, learning.
        splits: of the part "learning".
        out: folder of the results; results/benchmark holds those of the documentation.
        show: measure nothing, show what is stored.
        markdown: print Markdown, as docs/performance.md holds it.
    """
    console = Console()
    command = shlex.join(["python", "-m", "experiments", *sys.argv[1:]])
    with console.status("") as status:
        for part in () if show else parts:
            if part == "learning":
                run_learning(out, list(VARIANTS), splits, console.print)
            else:
                measure(part, out, command, status.update)
    tables = benchmark_tables(out)
    if not tables:
        raise ValueError(f"nothing is stored in {out}; measure first (leave out --show), or name a folder with --out")
    for title, table in tables.values():
        if markdown:
            print(f"{title}\n\n{to_markdown(table)}\n")
        else:
            console.print(to_rich(title, table, console.width), "")
    for path in draw_benchmark(stored_tables(out), read_learning(out), out / "figures"):
        console.print(f"figure  {path}", soft_wrap=True)


def idea(out: Path = Path("docs/idea.png")) -> None:
    """Draw the idea of the paper (Fig. 1) on a one-dimensional function.

    Args:
        out: the picture to write.
    """
    print(draw_idea(out))


def optics(out: Path = Path("docs/thin_film.png"), bundle: bool = False) -> None:
    """Compare the thin-film simulator with what is known of the DACON table: a table of residuals and a picture.

    Args:
        out: the picture to write.
        bundle: first write the chosen refractive indices anew into mixrl_env/datasets/thin_film_indices.csv.
    """
    if bundle:
        print(bundle_indices())
    print(to_markdown(residuals_table()))
    print(draw_reference(materials(), out))


def main() -> None:
    """Run one verb; a bad value is one line on standard error and exit code 2."""
    verbs = {verb.__name__: verb for verb in (reproduce, study, tables, figures, pages, report, benchmark, idea, optics)}
    try:
        tyro.extras.subcommand_cli_from_dict(verbs, prog="python -m experiments", description=__doc__)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

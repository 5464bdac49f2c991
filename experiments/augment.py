"""The verb augment: a table in a file becomes a larger one, if that lowers the error on rows that were held out."""

from __future__ import annotations

import math
import os
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro
from rich.console import Console

from experiments.augment_plot import draw_plan
from experiments.augmented import as_csv, as_parquet, numeric_columns
from experiments.claims import claim_files
from experiments.progress import WorkProgress, say
from experiments.transaction import roll_back, write_all
from mixrl import MixRLSampler
from mixrl.estimators.base import FEWEST_ROWS
from mixrl.estimators.columns import too_many_categories
from mixrl.estimators.search import LEARNED, LEARNED_HALF
from mixrl_env.datasets.own import as_numbers, check_columns
from mixrl_env.datasets.reading import Table, check_parquet_installed, is_parquet, read_file
from mixrl_env.plans import EVERY_PAIR, NO_MIXING

_FEW_ROWS = 20
_MOST_NAMES = 5

_WAYS = {
    EVERY_PAIR: "every row is mixed with every other row",
    "data distance, k alike": "every row is mixed with some of its nearest by features, how many is drawn by lot",
    "label distance, k alike": "every row is mixed with some of its nearest by label, how many is drawn by lot",
    "both distances, k alike": "every row is mixed with some of its nearest by features and by label, how many is drawn by lot",
    LEARNED: "every row is mixed with as many of its nearest, by features and by label, as was learned for it",
    LEARNED_HALF: "as learned, but only the half that is likeliest to help",
}


def augment(
    path: tyro.conf.Positional[Path],
    targets: Annotated[tuple[str, ...], tyro.conf.arg(name="target"), tyro.conf.UseAppendAction] = (),
    out: Path | None = None,
    budget: float | None = 300,
    seed: int = 0,
    one_hot: bool = False,
    overwrite: bool = False,
) -> None:
    """Add mixed rows to a table of your own, if that lowers the error on held-out rows; the answer may be not to.

    Writes three files, or none: the table (its own rows as they were, the mixed ones last), the plan of what was mixed, and a
    picture of it. If it is better not to augment, the table is written as it was. See docs/tutorial.md.

    Args:
        path: CSV or Parquet file; all columns but the targets are features.
        targets: column to predict; once for each of several.
        out: file to write, .csv or .parquet; PATH with -augmented in its name if not given. Beside it come ...-plan.csv and
            ...-plan.png.
        budget: seconds to spend, roughly; None for as long as it needs, which gives the same result every time.
        seed: of everything random.
        one_hot: make a column of 0 and 1 for every value of columns that hold no numbers.
        overwrite: replace files that exist.
    """
    began, console = time.monotonic(), Console()
    if budget is not None and not 0 < budget < math.inf:
        raise ValueError(f"--budget must be a number of seconds above 0, or None, got {budget}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2**32 - 1, got {seed}")
    table = read_file(path)
    features, labels = _checked(table, targets, one_hot)
    files = _files(path, out)
    with claim_files(files[0]):
        roll_back(files)  # of one that was killed
        _check_free(files, overwrite)
        inputs = ", ".join(map(str, features.columns[:_MOST_NAMES])) + (", ..." if features.shape[1] > _MOST_NAMES else "")
        say(console, f"{path}: {len(features)} rows, to predict {' and '.join(targets)} from {inputs}")
        if len(features) < _FEW_ROWS:
            say(console, f"warning: with fewer than {_FEW_ROWS} rows there is hardly anything to learn from")
        try:
            with WorkProgress(console, "learning what to mix") as progress:
                sampler = MixRLSampler(time_budget=budget, categorical="one_hot", random_state=seed, verbose=progress.update)
                numbers = pd.concat(sampler.fit_resample(features, labels), axis=1)
            words = "no row is mixed" if sampler.chosen_[0] == NO_MIXING else _in_words(sampler.chosen_[0])
            plan, picture = _plan_table(sampler, table), BytesIO()
            draw_plan(plan, labels.iloc[:, 0], words).savefig(picture, format="png")
            content = as_parquet(table, numbers) if is_parquet(files[0]) else as_csv(table, numbers)
            write_all(dict(zip(files, (content, plan.to_csv(index=False).encode(), picture.getvalue()), strict=True)))
        except KeyboardInterrupt:
            print("interrupted, nothing was written", file=sys.stderr)
            sys.exit(130)
    for line in _summary(sampler, targets, len(features), len(numbers)):
        say(console, line)
    say(console, f"\n{time.monotonic() - began:.0f} s, {sampler.trainings_} rewards. Written:")
    for file in files:
        say(console, f"  {file}")


# Before the work


def _checked(table: Table, targets: tuple[str, ...], one_hot: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features, numbers but for categories, and labels; all that can be wrong with the table is told here."""
    frame, source = table.frame, table.source
    names = list(frame.columns)
    if not targets:
        raise ValueError(f"name the column to predict with --target; {source} has {', '.join(map(repr, names))}")
    check_columns(names, targets, None, source)
    if len(frame) < FEWEST_ROWS:
        raise ValueError(
            f"{source} has {len(frame)} rows, too few: at least {FEWEST_ROWS} are needed, {_FEW_ROWS} to be of use"
        )
    categories = {name: frame[name] for name in names if name not in targets and numeric_columns(frame, name) != [name]}
    for values in categories.values():
        _check_category(values, table, one_hot)
    codes = {name: pd.Series(pd.factorize(values)[0]).where(values.notna()) for name, values in categories.items()}
    numbers = as_numbers(frame.assign(**codes), source, table.place)
    for target in targets:
        if numbers[target].nunique() == 1:
            raise ValueError(
                f"{source} has {numbers[target][0]:g} in column '{target}' of every row: there is nothing to predict"
            )
    return numbers.assign(**categories).drop(columns=[*targets]), numbers[[*targets]]


def _check_category(values: pd.Series, table: Table, one_hot: bool) -> None:
    first, different = int(values.notna().argmax()), values.nunique()
    said = f"{str(values[first])!r} in {table.place(first)}"
    if too_many_categories(different, len(values)):
        raise ValueError(
            f"{table.source} has no numbers in column '{values.name}' ({said}), and {different} different values in "
            f"{len(values)} rows, which are no categories either: drop the column, or make numbers of it"
        )
    if not one_hot:
        raise ValueError(
            f"{table.source} has no numbers in column '{values.name}' ({said}): encode or drop it, or give --one-hot for a "
            f"column of 0 and 1 for each of its {different} values"
        )


def _files(path: Path, out: Path | None) -> tuple[Path, Path, Path]:
    """Where table, plan and picture go."""
    if out is None:
        out = path.with_name(f"{path.stem}-augmented{'.parquet' if is_parquet(path) else '.csv'}")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"--out must end in .csv or .parquet, got {out}")
    if is_parquet(out):
        check_parquet_installed()
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out.parent} is no folder that files can be written to")
    return out, out.with_name(f"{out.stem}-plan.csv"), out.with_name(f"{out.stem}-plan.png")


def _check_free(files: tuple[Path, ...], overwrite: bool) -> None:
    there = [file for file in files if file.exists()]
    for file in there:
        if not overwrite:
            raise ValueError(
                f"there is already {' and '.join(map(str, there))}: replace with --overwrite, or give another --out"
            )
        if file.is_dir():
            raise ValueError(f"{file} is a folder")


# What comes out


def _plan_table(sampler: MixRLSampler, table: Table) -> pd.DataFrame:
    """The plan with k for mixing with every row too, and with the lines of the file."""
    plan = sampler.plan_.copy()
    plan.loc[plan["space"] == "all", "k"] = len(table.frame) - 1
    if table.lines is not None:
        plan.insert(1, "line", [table.lines[row] for row in plan["row"]])
    return plan


def _in_words(way: str) -> str:
    if way.startswith("k = "):
        return f"every row is mixed with its {way[4:]} nearest by features and its {way[4:]} nearest by label"
    return _WAYS[way]


def _summary(sampler: MixRLSampler, targets: tuple[str, ...], before: int, after: int) -> list[str]:
    """What was chosen, and what it gains; a gain in RMSE is the gain in squared error over the sum of the two."""
    report = sampler.report_.set_index("way")
    others, way = report.drop(index=NO_MIXING), sampler.chosen_[0]
    shown = str(others["rmse"].idxmin()) if way == NO_MIXING else way
    rmse, none = float(report["rmse"][shown]), float(report["rmse"][NO_MIXING])
    gain, error = float(report["gain"][shown]) / (rmse + none), float(report["standard_error"][shown]) / (rmse + none)
    lines = [
        "",
        f"RMSE of {targets[0]} on held-out rows" if len(targets) == 1 else "RMSE on held-out rows, in standard deviations",
        f"  no mixing  {none:.4g}",
        f"  {'the best mixing' if way == NO_MIXING else 'chosen'}  {rmse:.4g}   {shown}",
        f"  gain {gain:+.2g} ± {error:.2g}  ({gain / none:+.1%}; ± is one standard error)",
        "",
    ]
    if way == NO_MIXING:
        return [
            *lines,
            f"Do not augment: none of {len(others)} ways to mix gains more than its standard error.",
            f"The table is written as it was, with {before} rows.",
        ]
    alike = [other for other in sampler.chosen_ if other != way]
    return [
        *lines,
        f"Augment: {_in_words(way)}.",
        *([f"As good, as far as can be told: {'; '.join(alike)}."] if alike else []),
        f"It is the best of {len(others)} ways on these rows, so expect a little less on new ones.",
        f"{before} rows before, {after} after; the mixed ones are the last {after - before}.",
    ]

"""The command `mixrl augment`: adds mixed rows to a table in a file, if that lowers the error on held-out rows."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
import tyro

from mixrl.estimators.columns import FEWEST_ROWS, check_no_dates, holds_categories, too_many_categories
from mixrl.estimators.table_warnings import warnings_of
from mixrl_env.datasets.own import as_numbers, check_columns
from mixrl_env.datasets.reading import Table, check_parquet_installed, is_parquet, read_file

if TYPE_CHECKING:  # slow to import, and a refusal is to be quick
    from mixrl.estimators.sampler import MixRLSampler

IS_MIXED = "is_mixed"
"""The column that `--mark` adds: 1 for mixed rows, 0 for the table's own."""
_MOST_NAMES = 5
_NO_MIXING = "no mixing"


def main() -> None:
    """Run `mixrl`; a bad value is one line on standard error and exit code 2."""
    try:
        tyro.extras.subcommand_cli_from_dict({"augment": augment}, prog="mixrl")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def augment(
    path: tyro.conf.Positional[Path],
    targets: Annotated[tuple[str, ...], tyro.conf.arg(name="target"), tyro.conf.UseAppendAction] = (),
    out: Path | None = None,
    strategy: Literal["search", "pretrained", "none"] = "search",
    budget: float | None = None,
    seed: int = 0,
    drop: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    group: str | None = None,
    categories: Literal["refuse", "within", "one_hot"] = "refuse",
    round_integers: bool = False,
    most: int | None = None,
    mark: bool = False,
    sep: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
    overwrite: bool = False,
) -> None:
    """Add mixed rows to a table of your own, if that lowers the error on held-out rows.

    Writes what was mixed, a picture, and then the table: its own rows unchanged, the mixed rows last. If no mixing is best, the
    table has its own rows alone. See docs/tutorial.md.

    Args:
        path: CSV or Parquet file; all columns but the targets are features.
        targets: column to predict; repeat it for several.
        out: file to write, .csv or .parquet; by default PATH with -augmented in its name. Beside it come ...-parents.csv, the
            two rows behind each mixed row, and ...-picture.png.
        strategy: search tries plans on rows that are held out; pretrained asks a policy that has learned on generated tables,
            in a second or two; none mixes nothing.
        budget: seconds that a search may take, roughly; None takes what it needs and gives the same result every time.
        seed: of everything random.
        drop: column to leave out; repeat it for several.
        group: column that says which rows belong together, such as the patient: they are held out together. No feature.
        categories: of columns that hold no numbers: refuse them; within mixes only rows that agree in all of them; one_hot
            makes one column of 0 and 1 for every value.
        round_integers: round mixed values in columns of whole numbers.
        most: mixed rows, at most.
        mark: add a column is_mixed, 1 for mixed rows.
        sep: between the values of a CSV file; tab for tabs.
        decimal: sign between whole number and fraction in a CSV file.
        encoding: of a CSV file, such as latin-1.
        overwrite: replace existing files.
    """
    if budget is not None and not 0 < budget < math.inf:
        raise ValueError(f"--budget must be a number of seconds above 0, or None, got {budget}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2**32 - 1, got {seed}")
    if most is not None and most < 1:
        raise ValueError(f"--most must be a whole number of at least 1, got {most}")
    sep = "\t" if sep == "tab" else sep
    if len(sep) != 1 or len(decimal) != 1 or sep == decimal:
        raise ValueError(f"--sep and --decimal must be different single characters (tab for tabs), got {sep!r} and {decimal!r}")
    table = read_file(path, sep, decimal, encoding)
    columns = [str(name) for name in table.frame]
    if mark and IS_MIXED in columns:
        raise ValueError(f"{table.source} has a column {IS_MIXED!r} already: rename it, or leave out --mark")
    check_columns(columns, targets or columns[:1], None, table.source)
    for name in (*drop, *([group] if group else [])):
        if name not in table.frame or name in targets:
            raise ValueError(f"{table.source} has no feature {name!r} for --drop or --group; it has {_listed(columns)}")
    groups = table.frame[group] if group else None
    table = table.without([*drop, *([group] if group else [])])
    features, labels = _checked(table, targets, categories)
    files = _files(path, out, overwrite)
    arguments = {
        "strategy": strategy,
        "time_budget": budget,
        "categorical": categories,
        "round_integers": round_integers,
        "max_mixed": most,
        "random_state": seed,
    }
    _augment(table, features, labels, files, arguments, groups, mark, decimal)


def _augment(
    table: Table,
    features: pd.DataFrame,
    labels: pd.DataFrame,
    files: tuple[Path, Path, Path],
    arguments: dict[str, Any],
    groups: pd.Series | None,
    mark: bool,
    decimal: str,
) -> None:
    """Everything after the checks."""
    from rich.console import Console

    from mixrl.estimators.picture import draw
    from mixrl.estimators.sampler import MixRLSampler
    from mixrl.estimators.table_files import as_csv, as_parquet
    from mixrl.files import write_bytes
    from mixrl.terminal import WorkProgress, say

    began, console, targets = time.monotonic(), Console(), [str(name) for name in labels]
    say(console, f"{table.source}: {len(features)} rows, to predict {' and '.join(targets)} from {_listed(list(features))}")
    for warning in warnings_of(table, targets):
        say(console, f"warning: {warning}")
    try:
        with WorkProgress(console, "trying plans") as progress:
            sampler = MixRLSampler(verbose=progress.update, **arguments)
            everything = pd.concat(sampler.fit_resample(features, labels, groups=groups), axis=1)
        count, picture = len(features), BytesIO()
        everything = everything[_in_order(everything, table.frame)]
        numbers = everything.drop(columns=targets).select_dtypes("number").to_numpy(dtype=np.float64)
        draw(sampler, numbers[:count], labels.iloc[:, 0], numbers[count:]).savefig(picture, format="png")
        if mark:
            everything[IS_MIXED] = (np.arange(len(everything)) >= count).astype(int)
        parents = sampler.parents_.to_csv(index=False).encode()
        content = as_parquet(table, everything) if is_parquet(files[0]) else as_csv(table, everything, decimal)
        # The table last: where it is, parents and picture are complete.
        for file, written in zip(files[::-1], (picture.getvalue(), parents, content), strict=True):
            write_bytes(written, file)
    except KeyboardInterrupt:
        print("interrupted, the table was not written", file=sys.stderr)
        sys.exit(130)
    for line in _summary(sampler, targets, count, len(everything)):
        say(console, line)
    say(console, f"\n{time.monotonic() - began:.0f} s. Written:")
    for file in files:
        say(console, f"  {file}")


def _in_order(everything: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """Columns in the order of the table, where one column may have become several, `name=value`."""
    place = {str(name): number for number, name in enumerate(frame)}
    return sorted(map(str, everything), key=lambda name: place.get(name, place.get(name.rpartition("=")[0], len(place))))


# Before the work


def _checked(table: Table, targets: Sequence[str], categories: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features, with numbers or categories, and labels; raises all errors of the table."""
    frame, source = table.frame, table.source
    names = list(frame.columns)
    if not targets:
        raise ValueError(f"name the column to predict with --target; {source} has {', '.join(map(repr, names))}")
    check_columns(names, targets, None, source)
    if len(frame) < FEWEST_ROWS:
        raise ValueError(f"{source} has {len(frame)} rows, too few: at least {FEWEST_ROWS} are needed")
    for name in names:
        check_no_dates(frame[name], source, f", with --drop {name}")
    held = {name: frame[name] for name in names if name not in targets and holds_categories(frame[name])}
    for values in held.values():
        _check_category(values, table, categories)
    codes = {name: pd.Series(pd.factorize(values)[0]).where(values.notna()) for name, values in held.items()}
    numbers = as_numbers(frame.assign(**codes), source, table.place)
    for target in targets:
        if numbers[target].nunique() == 1:
            raise ValueError(
                f"{source} has {numbers[target][0]:g} in column '{target}' of every row: there is nothing to predict"
            )
    return numbers.assign(**held).drop(columns=[*targets]), numbers[[*targets]]


def _check_category(values: pd.Series, table: Table, categories: str) -> None:
    first, different = int(values.notna().argmax()), values.nunique()
    said = f"{str(values[first])!r} in {table.place(first)}"
    if too_many_categories(different, len(values)):
        raise ValueError(
            f"{table.source} has no numbers in column '{values.name}' ({said}), and {different} different values in "
            f"{len(values)} rows, too many for categories: leave it out with --drop {values.name}, or convert it to numbers"
        )
    if categories == "refuse":
        raise ValueError(
            f"{table.source} has no numbers in column '{values.name}' ({said}): leave it out with --drop {values.name}, mix "
            "only rows that agree in it with --categories within, or give --categories one_hot for a column of 0 and 1 for "
            f"each of its {different} values"
        )


def _files(path: Path, out: Path | None, overwrite: bool) -> tuple[Path, Path, Path]:
    """Table, parents and picture; fails early if they cannot be written."""
    if out is None:
        out = path.with_name(f"{path.stem}-augmented{'.parquet' if is_parquet(path) else '.csv'}")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"--out must end in .csv or .parquet, got {out}")
    if is_parquet(out):
        check_parquet_installed()
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out.parent} is not a writable folder")
    files = out, out.with_name(f"{out.stem}-parents.csv"), out.with_name(f"{out.stem}-picture.png")
    existing = [file for file in files if file.exists()]
    if existing and not overwrite:
        raise ValueError(f"{' and '.join(map(str, existing))} exists: replace it with --overwrite, or give another --out")
    if folders := [file for file in existing if file.is_dir()]:
        raise ValueError(f"{folders[0]} is a folder")
    return files


# The result


def _summary(sampler: MixRLSampler, targets: Sequence[str], before: int, after: int) -> list[str]:
    """The chosen plan and its gain."""
    mixing = sampler.chosen_ != _NO_MIXING
    rows = f"{before} rows before, {after} after; the mixed ones are the last {after - before}."
    if not len(sampler.report_):
        if sampler.strategy == "none":
            return ["", rows]
        expected = f" It expects {1 - math.exp(-sampler.expected_gain_):.0%} less error of small networks."
        return ["", f"The policy mixes.{expected}" if mixing else "The policy mixes nothing.", rows]
    report = sampler.report_.set_index("plan")
    shown = sampler.chosen_ if mixing else str(report["rmse"].drop(index=_NO_MIXING).idxmin())
    none = float(report["rmse"][_NO_MIXING])
    lines = [
        "",
        f"RMSE of {targets[0]} on held-out rows" if len(targets) == 1 else "RMSE on held-out rows, in standard deviations",
        f"  no mixing        {none:.4g}",
        f"  the best mixing  {float(report['rmse'][shown]):.4g}   {shown}",
    ]
    if not mixing:
        doubt = f"what {len(report) - 1} plans gain, if anything, is too little to be sure"
        return [*lines, "", f"Do not augment: {doubt}.", f"The table is written as it was, with {before} rows."]
    gain, low, high = sampler.gain_
    expected = f"{gain:.2g} [{low:.2g}, {high:.2g}], {gain / none:.0%}"
    return [
        *lines,
        f"  To be expected on new rows: {expected} less.",
        "",
        f"Augment: {_in_words(shown)}.",
        rows,
    ]


def _in_words(plan: str) -> str:
    space, _, k = plan.partition(", k = ")
    by = {"data": f"its {k} nearest by features", "label": f"its {k} nearest by label"}
    by["both"] = f"{by['data']} and {by['label']}"
    if space in by:
        return f"every row is mixed with {by[space]}"
    return "the policy says which rows are mixed with how many of their nearest, by features and by label"


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:_MOST_NAMES])) + (", ..." if len(names) > _MOST_NAMES else "")

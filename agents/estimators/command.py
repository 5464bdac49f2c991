"""The command `mixrl augment`: adds mixed rows to a table in a file, if that lowers the error on held-out rows."""

from __future__ import annotations

import math
import os
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import tyro
from rich.console import Console

from mixrl.estimators.base import FEWEST_ROWS
from mixrl.estimators.columns import too_many_categories
from mixrl.estimators.sampler import MixRLSampler
from mixrl.estimators.search import LEARNED, LEARNED_HALF
from mixrl.estimators.table_files import as_csv, as_parquet, numeric_columns
from mixrl.files import write_bytes
from mixrl.terminal import WorkProgress, say
from mixrl_env.datasets.own import as_numbers, check_columns
from mixrl_env.datasets.reading import Table, check_parquet_installed, is_parquet, read_file
from mixrl_env.plans import BOTH_ALIKE, EVERY_PAIR, NO_MIXING
from mixrl_env.streams import stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW_ROWS = 20
_MOST_NAMES = 5

_BLUE, _GREY = "#1f6fb4", "#8a8a8a"  # as in the figures of the experiments
_SPACES = {"data": "nearest by features", "label": "nearest by label"}
_SPREAD = 0.3  # of the points of one k, half the height
_WORDS = {
    EVERY_PAIR: "every row is mixed with every other row",
    "data distance, k alike": "every row is mixed with some of its nearest by features; how many is random",
    "label distance, k alike": "every row is mixed with some of its nearest by label; how many is random",
    BOTH_ALIKE: "every row is mixed with some of its nearest by features and by label; how many is random",
    LEARNED: "every row is mixed with a learned number of its nearest, by features and by label",
    LEARNED_HALF: "as learned, but only the half that is likeliest to help",
}


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
    budget: float | None = 300,
    seed: int = 0,
    one_hot: bool = False,
    overwrite: bool = False,
) -> None:
    """Add mixed rows to a table of your own, if that lowers the error on held-out rows.

    Writes the plan of what was mixed, a picture of it, and then the table: its own rows unchanged, the mixed rows last. If no
    mixing is best, the table has its own rows alone. See docs/tutorial.md.

    Args:
        path: CSV or Parquet file; all columns but the targets are features.
        targets: column to predict; repeat it for several.
        out: file to write, .csv or .parquet; by default PATH with -augmented in its name. Beside it come ...-plan.csv and
            ...-plan.png.
        budget: seconds to spend, roughly; None has no limit and gives the same result every time.
        seed: of everything random.
        one_hot: encode each column that holds no numbers as one column of 0 and 1 for every value.
        overwrite: replace existing files.
    """
    began, console = time.monotonic(), Console()
    if budget is not None and not 0 < budget < math.inf:
        raise ValueError(f"--budget must be a number of seconds above 0, or None, got {budget}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2**32 - 1, got {seed}")
    table = read_file(path)
    features, labels = _checked(table, targets, one_hot)
    files = _files(path, out, overwrite)
    inputs = ", ".join(map(str, features.columns[:_MOST_NAMES])) + (", ..." if features.shape[1] > _MOST_NAMES else "")
    say(console, f"{path}: {len(features)} rows, to predict {' and '.join(targets)} from {inputs}")
    if len(features) < _FEW_ROWS:
        say(console, f"warning: fewer than {_FEW_ROWS} rows are hardly enough to learn from")
    try:
        with WorkProgress(console, "learning what to mix") as progress:
            sampler = MixRLSampler(time_budget=budget, categorical="one_hot", random_state=seed, verbose=progress.update)
            numbers = pd.concat(sampler.fit_resample(features, labels), axis=1)
        words = "no row is mixed" if sampler.chosen_[0] == NO_MIXING else _in_words(sampler.chosen_[0])
        plan, picture = _plan_table(sampler, table), BytesIO()
        draw_plan(plan, labels.iloc[:, 0], words).savefig(picture, format="png")
        content = as_parquet(table, numbers) if is_parquet(files[0]) else as_csv(table, numbers)
        # The table last: where it is, plan and picture are complete.
        for file, written in zip(files[::-1], (picture.getvalue(), plan.to_csv(index=False).encode(), content), strict=True):
            write_bytes(written, file)
    except KeyboardInterrupt:
        print("interrupted, the table was not written", file=sys.stderr)
        sys.exit(130)
    for line in _summary(sampler, targets, len(features), len(numbers)):
        say(console, line)
    say(console, f"\n{time.monotonic() - began:.0f} s, {sampler.trainings_} rewards. Written:")
    for file in files:
        say(console, f"  {file}")


# Before the work


def _checked(table: Table, targets: tuple[str, ...], one_hot: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features, with numbers or categories, and labels; raises all errors of the table."""
    frame, source = table.frame, table.source
    names = list(frame.columns)
    if not targets:
        raise ValueError(f"name the column to predict with --target; {source} has {', '.join(map(repr, names))}")
    check_columns(names, targets, None, source)
    if len(frame) < FEWEST_ROWS:
        raise ValueError(f"{source} has {len(frame)} rows, too few: at least {FEWEST_ROWS} are needed")
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
            f"{len(values)} rows, too many for categories: drop the column, or convert it to numbers"
        )
    if not one_hot:
        raise ValueError(
            f"{table.source} has no numbers in column '{values.name}' ({said}): encode or drop it, or give --one-hot for a "
            f"column of 0 and 1 for each of its {different} values"
        )


def _files(path: Path, out: Path | None, overwrite: bool) -> tuple[Path, Path, Path]:
    """Table, plan and picture; fails early if they cannot be written."""
    if out is None:
        out = path.with_name(f"{path.stem}-augmented{'.parquet' if is_parquet(path) else '.csv'}")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"--out must end in .csv or .parquet, got {out}")
    if is_parquet(out):
        check_parquet_installed()
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out.parent} is not a writable folder")
    files = out, out.with_name(f"{out.stem}-plan.csv"), out.with_name(f"{out.stem}-plan.png")
    existing = [file for file in files if file.exists()]
    if existing and not overwrite:
        raise ValueError(f"{' and '.join(map(str, existing))} exists: replace it with --overwrite, or give another --out")
    if folders := [file for file in existing if file.is_dir()]:
        raise ValueError(f"{folders[0]} is a folder")
    return files


# The result


def _plan_table(sampler: MixRLSampler, table: Table) -> pd.DataFrame:
    """The plan, with k also for mixing with every row, and with the lines of a CSV file."""
    plan = sampler.plan_.copy()
    plan.loc[plan["space"] == "all", "k"] = len(table.frame) - 1
    if table.lines is not None:
        plan.insert(1, "line", [table.lines[row] for row in plan["row"]])
    return plan


def _in_words(way: str) -> str:
    if way.startswith("k = "):
        return f"every row is mixed with its {way[4:]} nearest by features and its {way[4:]} nearest by label"
    return _WORDS[way]


def _summary(sampler: MixRLSampler, targets: tuple[str, ...], before: int, after: int) -> list[str]:
    """The chosen plan and its gain; the gain in RMSE is the gain in squared error over the sum of the two RMSE."""
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
            f"Do not augment: none of {len(others)} plans gains more than its standard error.",
            f"The table is written as it was, with {before} rows.",
        ]
    alike = [other for other in sampler.chosen_ if other != way]
    return [
        *lines,
        f"Augment: {_in_words(way)}.",
        *([f"Not distinguishable from it: {'; '.join(alike)}."] if alike else []),
        f"It is the best of {len(others)} plans on these rows, so expect a little less on new ones.",
        f"{before} rows before, {after} after; the mixed ones are the last {after - before}.",
    ]


def draw_plan(plan: pd.DataFrame, labels: pd.Series, words: str) -> Figure:
    """One panel a distance: the label and the chosen k of every row, coloured by its learned probability, if any.

    Args:
        plan: columns row, space, k, probability (NaN unless learned).
        labels: of all rows; the name labels the axis.
        words: the title.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained", dpi=130)
    figure.suptitle(words[0].upper() + words[1:], fontsize=10)
    if not len(plan) or (plan["space"] == "all").any():
        sentence = f"All {len(labels)} rows stand as they were." if not len(plan) else "There is no k to choose."
        axes = figure.subplots()  # a notebook shows no figure without axes
        axes.set_axis_off()
        axes.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=14, color=_GREY)
        return figure
    ks = sorted({0, *plan["k"]})
    shades = matplotlib.colors.Normalize(plan["probability"].min(), plan["probability"].max())
    panels: tuple[Axes, Axes] = figure.subplots(1, 2, sharex=True, sharey=True)
    rng = stream(0, "jitter")
    for axes, (space, title) in zip(panels, _SPACES.items(), strict=True):
        own = plan[plan["space"] == space].set_index("row").reindex(range(len(labels)))
        level = np.searchsorted(ks, own["k"].fillna(0)) + rng.uniform(-_SPREAD, _SPREAD, len(labels))
        mixed, learned = own["k"].notna().to_numpy(), own["probability"].notna().any()
        axes.scatter(labels[~mixed], level[~mixed], s=12, color=_GREY, alpha=0.5, linewidths=0)
        color = {"c": own["probability"][mixed], "cmap": "viridis", "norm": shades} if learned else {"color": _BLUE}
        points = axes.scatter(labels[mixed], level[mixed], s=12, alpha=0.8, linewidths=0, **color)
        for position, k in enumerate(ks):
            share = (own["k"].fillna(0) == k).mean()
            axes.text(
                1.01, position, f"{share:.0%}", transform=axes.get_yaxis_transform(), va="center", color=_GREY, fontsize=8
            )
        axes.set_title(title)
        axes.set_xlabel(str(labels.name))
        for position in range(len(ks) - 1):
            axes.axhline(position + 0.5, color=_GREY, linewidth=0.4, alpha=0.5)
        axes.text(1.01, len(ks) - 0.5, "rows", transform=axes.get_yaxis_transform(), va="center", color=_GREY, fontsize=8)
    panels[0].set_ylabel("mixed with k rows (0: not mixed)")
    panels[0].set_ylim(-0.5, len(ks) - 0.5)
    panels[0].set_yticks(range(len(ks)), map(str, ks))
    if plan["probability"].notna().any():
        figure.colorbar(points, ax=panels, label="learned probability of being mixed")
    return figure

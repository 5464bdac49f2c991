"""Methods against each other: one method on one dataset and split is a cell."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import gymnasium as gym
from pydantic import Field, PrivateAttr, model_validator

from experiments.methods import BASELINES, REFERENCES, Trial, method_of
from experiments.methods.evaluation import final_scores
from experiments.own_table import OwnTable, TableSpec
from experiments.presets import PRESETS, Settings, with_changes
from experiments.runner.cells import Cell, Computed, Report, slug
from experiments.runner.store import Results
from experiments.show.statistics import BASELINE
from experiments.show.tables import Titled
from experiments.studies.comparison_across import across_tables, draw_across, draw_learning
from experiments.studies.comparison_figures import draw_figures
from experiments.studies.comparison_plans import draw_plans
from experiments.studies.comparison_tables import comparison_tables
from experiments.study import Seeds, Study, one_of
from mixrl_env import MixRLEnv, dataset_names

TableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Baseline = Annotated[str, one_of(tuple(REFERENCES), "baseline")]


class Comparison(Study):
    """Settings of a comparison.

    Attributes:
        preset: of `experiments.presets.PRESETS`.
        datasets: names for `mixrl_env.load_dataset`, and of tables; all tables if left out.
        splits: seeds of the random splits into training, validation and test rows. Where a table gives its split, they seed
            everything else that is random.
        baselines: of `experiments.methods.REFERENCES`.
        changes: to the preset, for all methods; the key "settings" of the file.
        variants: further changes, by the name that the tables print; the preset's own MixRL if left out.
        table_specs: tables of the user's own, by name; the key "tables" of the file.
    """

    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"splits", "datasets", "baselines", "variants"})
    kind: Literal["compare"] = "compare"
    preset: Annotated[str, one_of(tuple(PRESETS), "preset")] = "default"
    datasets: tuple[str, ...] = ()
    splits: Seeds = (0,)
    baselines: tuple[Baseline, ...] = tuple(BASELINES)
    changes: dict[str, Any] = Field(default_factory=dict, alias="settings")
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    table_specs: dict[TableName, TableSpec] = Field(default_factory=dict, alias="tables")
    _tables: dict[str, OwnTable] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Comparison:
        for name in self.variants:
            if name in REFERENCES:
                raise ValueError(f"a variant cannot be called {name!r}, which is a baseline")
        for name in self.table_specs:
            if name in dataset_names():
                raise ValueError(f"a table cannot be called {name!r}, which is another dataset")
        known = (*dataset_names(), *self.table_specs)
        for name in self.datasets:
            if name not in known:
                raise ValueError(f"unknown dataset {name!r}; known: {', '.join(map(repr, known))}")
        self.methods()
        return self

    def located(self, folder: Path) -> Comparison:
        """Read the tables of the user's own; see `TableSpec.read`."""
        self._tables.update({name: spec.read(name, folder) for name, spec in self.table_specs.items()})
        return self

    def methods(self) -> dict[str, Settings]:
        """The settings of every method, by the name that the tables print.

        Raises:
            ValueError: for a setting that does not exist, or a bad value.
        """
        base = with_changes(PRESETS[self.preset], self.changes)
        methods = dict.fromkeys(self.baselines, base.of_baseline())
        for name, changes in (self.variants or {base.mixrl_name: {}}).items():
            methods[name] = dataclasses.replace(with_changes(base, changes), mixrl_name=name)
        return methods

    def cells(self) -> list[Cell]:
        """One a dataset, split and method.

        Raises:
            ValueError: if options need more training rows than a table has.
        """
        datasets, methods = self.datasets or tuple(self._tables) or (Settings.dataset,), self.methods()
        cells = []
        for place in product(range(len(datasets)), range(len(self.splits)), range(len(methods))):
            dataset, split, method = datasets[place[0]], self.splits[place[1]], list(methods)[place[2]]
            settings = methods[method].on(dataset, self._tables.get(dataset))
            cells.append(
                Cell(
                    f"{dataset}-split{split}-{slug(method)}",
                    partial(compute_method, method, settings, split),
                    {"dataset": dataset, "method": method, "split_seed": split},
                    {"preset": self.preset, **settings.as_dict()},
                    place,
                )
            )
        return cells

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """Log ratios over many tables; the paper's figures beside ours, paired differences, and whether REINFORCE learned."""
        across = across_tables(results.rows) if _many(results) else []
        return [*across, *comparison_tables(results)]

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """Learning curves, chosen options, methods side by side, and settings that were varied."""
        figures = out / "figures"
        across = [draw_across(results.rows, figures), *draw_learning(results, figures)] if _many(results) else []
        return [*across, *draw_plans(results, figures), *draw_figures(results, figures)]


def _many(results: Results) -> bool:
    """Whether there are several tables, with no mixing to compare with."""
    rows = results.rows
    return rows["dataset"].nunique() > 1 and BASELINE in set(rows["method"])


def compute_method(name: str, settings: Settings, split_seed: int, report: Report) -> Computed:
    """One method on one split: find the training sets, train the final regressors, and score them.

    Args:
        name: of the method, as the tables print it.
        settings: of the method.
        split_seed: of the split.
        report: shows how far it is.
    """
    start = time.monotonic()
    env = gym.make(settings.env_id, **settings.env_settings() | {"data": settings.load(split_seed)})
    assert isinstance(env.unwrapped, MixRLEnv)
    problem, repeats = env.unwrapped.problem, settings.final_trainings
    augmented = method_of(name)(Trial(problem, settings, split_seed, report))
    report(0, repeats, "final trainings")
    scores = final_scores(problem, augmented.sets, split_seed, repeats)
    shared = {
        "num_rows": augmented.num_rows,
        "trainings": augmented.trainings,
        "seconds": round(time.monotonic() - start, 1),
        **dataclasses.asdict(augmented.choice),
    }
    files = {f"{table}.csv": rows.to_csv(index=False).encode() for table, rows in augmented.tables.items()}
    return Computed([dataclasses.asdict(score) | shared for score in scores], {**files, **augmented.files})

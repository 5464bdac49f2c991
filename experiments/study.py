"""Studies: which methods, with which settings, on which datasets and splits. A study is a TOML file, or a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from experiments.methods import BASELINES, REFERENCES
from experiments.own_table import OwnTable, own_tables
from experiments.settings import PRESETS, Settings, with_changes
from experiments.studies.checks import check_names, check_seeds, check_table
from mixrl_env.datasets import dataset_names

_KEYS = ("kind", "preset", "datasets", "splits", "baselines", "settings", "variants", "tables")


@dataclass(frozen=True)
class Study:
    """What to compare.

    Attributes:
        name: of the preset or the file.
        datasets: names for `mixrl_env.load_dataset`, and of tables.
        splits: seeds of the random splits into training, validation and test rows. Where a table gives its split, they seed
            all else that is random.
        methods: settings of every method, by the name that the tables print.
        tables: those of the datasets that are the user's own.
    """

    name: str
    datasets: tuple[str, ...]
    splits: tuple[int, ...]
    methods: dict[str, Settings]
    tables: dict[str, OwnTable] = field(default_factory=dict)

    def cells(self) -> list[tuple[str, str, int]]:
        """Dataset, method and split seed of every result, in the order of the tables."""
        return [(dataset, name, split) for dataset in self.datasets for split in self.splits for name in self.methods]

    @classmethod
    def of_preset(cls, preset: str, splits: tuple[int, ...], dataset: str = "no2", standardize_labels: bool = True) -> Study:
        """The baselines and the MixRL of a preset on one dataset.

        Raises:
            ValueError: for an unknown dataset, listing the known ones.
        """
        settings = replace(PRESETS[preset], standardize_labels=standardize_labels).on(dataset)
        methods = {**dict.fromkeys(BASELINES, settings.of_baseline()), settings.mixrl_name: settings}
        return cls(preset, (dataset,), splits, methods)

    def settings_on(self, dataset: str, method: str) -> Settings:
        """The settings of a method on one of the datasets."""
        return self.methods[method].on(dataset, self.tables.get(dataset))


def read_study(path: Path, told: Mapping[str, Any]) -> Study:
    """A study from a TOML file.

    Keys: preset (of `experiments.settings.PRESETS`), datasets, splits (a list of seeds), baselines (of
    `experiments.methods.REFERENCES`; `BASELINES` if left out), settings (changes to the preset, for all methods), variants
    (name -> further changes; the preset's own MixRL if left out), and tables (name -> path, relative to the file, targets, and
    split or sizes as `mixrl_env.read_table` takes them; datasets are all of them if left out).

    Raises:
        ValueError: for an unknown key, preset, dataset, baseline or setting, a bad value, or a table that is refused.
    """
    try:
        return _parsed(path, told)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _parsed(path: Path, told: Mapping[str, Any]) -> Study:
    preset, datasets, splits = told.get("preset", "default"), told.get("datasets"), told.get("splits", [0])
    baselines = told.get("baselines", list(BASELINES))
    check_names("key", list(told), _KEYS)
    check_names("preset", [preset], list(PRESETS))
    check_names("baseline", baselines, list(REFERENCES))
    check_seeds("splits", splits)
    for name in ("settings", "variants"):
        check_table(name, told.get(name, {}))
    base = with_changes(PRESETS[preset], told.get("settings", {}))
    tables = own_tables(told.get("tables", {}), path.parent)
    datasets = (list(tables) or [base.dataset]) if datasets is None else datasets
    check_names("dataset", datasets, (*dataset_names(), *tables))
    methods = dict.fromkeys(baselines, base.of_baseline())
    for variant, changes in told.get("variants", {base.mixrl_name: {}}).items():
        if variant in REFERENCES:
            raise ValueError(f"a variant cannot be called {variant!r}, which is a baseline")
        check_table(f"the variant {variant!r}", changes)
        methods[variant] = replace(with_changes(base, changes), mixrl_name=variant)
    study = Study(path.stem, tuple(datasets), tuple(splits), methods, tables)
    for dataset, method in product(tables, methods):
        study.settings_on(dataset, method)  # options that a table is too small for are told now
    return study

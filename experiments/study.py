"""Studies: which methods, with which settings, on which datasets and splits. A study is a TOML file, or a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.methods import BASELINES
from experiments.settings import PRESETS, Settings, with_changes
from mixrl_env.datasets import dataset_names

_KEYS = ("kind", "preset", "datasets", "splits", "baselines", "settings", "variants")


@dataclass(frozen=True)
class Study:
    """What to compare.

    Attributes:
        name: of the preset or the file.
        datasets: names for `mixrl_env.load_dataset`.
        splits: seeds of the random splits into training, validation and test rows.
        methods: settings of every method, by the name that the tables print.
    """

    name: str
    datasets: tuple[str, ...]
    splits: tuple[int, ...]
    methods: dict[str, Settings]

    @classmethod
    def of_preset(cls, preset: str, splits: tuple[int, ...]) -> Study:
        """The baselines and the MixRL of a preset."""
        settings = PRESETS[preset]
        methods = {**dict.fromkeys(BASELINES, settings.of_baseline()), settings.mixrl_name: settings}
        return cls(preset, (settings.dataset,), splits, methods)


def read_study(path: Path, told: Mapping[str, Any]) -> Study:
    """A study from a TOML file.

    Keys: preset (of `experiments.settings.PRESETS`), datasets, splits (a list of seeds), baselines (all if left out), settings
    (changes to the preset, for all methods), and variants (name -> further changes; the preset's own MixRL if left out).

    Raises:
        ValueError: for an unknown key, preset, dataset, baseline or setting, or a bad value.
    """
    checks = (
        ("key", told, _KEYS),
        ("preset", [told.get("preset", "default")], PRESETS),
        ("dataset", told.get("datasets", []), dataset_names()),
        ("baseline", told.get("baselines", []), BASELINES),
    )
    for what, given, known in checks:
        for one in given:
            if one not in known:
                raise ValueError(f"{path}: unknown {what} {one!r}; known: {', '.join(known)}")
    splits = told.get("splits", [0])
    if not splits or not all(isinstance(split, int) and split >= 0 for split in splits):
        raise ValueError(f"{path}: splits must be a list of seeds of 0 or above, got {splits}")
    try:
        base = with_changes(PRESETS[told.get("preset", "default")], told.get("settings", {}))
        methods = dict.fromkeys(told.get("baselines", BASELINES), base.of_baseline())
        for name, changes in told.get("variants", {base.mixrl_name: {}}).items():
            methods[name] = replace(with_changes(base, changes), mixrl_name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Study(path.stem, tuple(told.get("datasets", [base.dataset])), tuple(splits), methods)

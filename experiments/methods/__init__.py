"""One file per method of Table 2, and one for each of its peers; all are called alike."""

from collections.abc import Callable

from experiments.methods import (
    ada,
    ada_mixup,
    c_mixup,
    global_knn,
    known_corner,
    local_mixup,
    mixrl,
    mixrl_ada_mixup,
    no_augmentation,
    oracle,
    original_mixup,
    plan_search,
)
from experiments.methods.base import Augmented, Choice, Trial

BASELINES: dict[str, Callable[[Trial], Augmented]] = {
    "No Augmentation": no_augmentation.augment,
    "Original Mixup": original_mixup.augment,
    "Global kNN": global_knn.augment,
}
"""What every study compares with unless it names its baselines."""

PEERS: dict[str, Callable[[Trial], Augmented]] = {
    "Original Mixup (Beta)": original_mixup.augment_beta,
    "AdaMixUp": ada_mixup.augment,
    "C-Mixup": c_mixup.augment,
    "Local Mixup": local_mixup.augment,
    "Anchor Data Augmentation": ada.augment,
}
"""Further baselines, for the studies that name them."""

REFERENCES = {
    **BASELINES,
    **PEERS,
    "Best single option": plan_search.augment_single,
    "Best single option, weighted": plan_search.augment_single_weighted,
    "Rule without learning": plan_search.augment_by_rule,
    "Plan that knows the corner": known_corner.augment,
    "Oracle by kind of row": oracle.augment,
}
"""Every method but MixRL; the last two are yardsticks that know the truth of a table."""


def method_of(name: str) -> Callable[[Trial], Augmented]:
    """The method by the name that the tables print; every other name is a MixRL with settings of its own."""
    return REFERENCES.get(name, mixrl_ada_mixup.augment if name.endswith(" + AdaMixUp") else mixrl.augment)


__all__ = ["BASELINES", "PEERS", "REFERENCES", "Augmented", "Choice", "Trial", "method_of"]

"""One file per method of Table 2; all are called alike."""

from collections.abc import Callable

from experiments.methods import global_knn, mixrl, no_augmentation, original_mixup
from experiments.methods.base import Augmented, Cell

BASELINES: dict[str, Callable[[Cell], Augmented]] = {
    "No Augmentation": no_augmentation.augment,
    "Original Mixup": original_mixup.augment,
    "Global kNN": global_knn.augment,
}


def method_of(name: str) -> Callable[[Cell], Augmented]:
    """The method by the name that the tables print; every other name is a MixRL with settings of its own."""
    return BASELINES.get(name, mixrl.augment)


__all__ = ["BASELINES", "Augmented", "Cell", "method_of"]

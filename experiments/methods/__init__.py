"""One file per method of Table 2; all are called alike."""

from collections.abc import Callable

from experiments.methods import global_knn, mixrl, no_augmentation, original_mixup
from experiments.methods.base import Augmented, Cell
from experiments.settings import Settings


def methods_of(settings: Settings) -> dict[str, Callable[[Cell], Augmented]]:
    """The methods to compare, by the names that the tables print."""
    return {
        "No Augmentation": no_augmentation.augment,
        "Original Mixup": original_mixup.augment,
        "Global kNN": global_knn.augment,
        settings.mixrl_name: mixrl.augment,
    }


__all__ = ["Augmented", "Cell", "methods_of"]

"""Published numbers: the paper's (Tables 2 to 6), and what others report on NO2; our tables print them beside ours."""

from __future__ import annotations

from typing import NamedTuple

from experiments.show.statistics import BASELINE


class Published(NamedTuple):
    """Mean and standard deviation over 5 trainings on one split, and, in Table 2, runtime in minutes."""

    rmse: float
    rmse_sd: float
    r2: float
    r2_sd: float
    minutes: float | None = None


PUBLISHED: dict[str, dict[str, Published]] = {  # dataset -> method, as our tables name it
    "no2": {
        "No Augmentation": Published(0.5165, 0.0008, 0.4970, 0.0011, 0.02),
        "Original Mixup": Published(0.5320, 0.0035, 0.4766, 0.0035, 0.05),
        "AdaMixUp": Published(0.5266, 0.0031, 0.4849, 0.0034, 5),
        "Global kNN": Published(0.5188, 0.0014, 0.4947, 0.0025, 6),
        "MixRL": Published(0.5012, 0.0006, 0.5268, 0.0007, 185),
        "MixRL + AdaMixUp": Published(0.5014, 0.0007, 0.5256, 0.0012, 285),
        # Table 3, besides the default, which is MixRL
        "k in {1..4}": Published(0.5082, 0.0007, 0.5161, 0.0010),
        "k in {1..32}": Published(0.5014, 0.0032, 0.5253, 0.0049),
        "k in {1, 2, 4, 8, 16}": Published(0.5048, 0.0029, 0.5244, 0.0016),
        # Table 4
        "W/O Label & Data Dist. Limits": Published(0.5221, 0.0039, 0.4931, 0.0047),
        "W/O Label Dist. Limits": Published(0.5117, 0.0014, 0.5067, 0.0023),
        "W/O Data Dist. Limits": Published(0.5163, 0.0013, 0.5066, 0.0015),
    },
    "product": {
        "No Augmentation": Published(1.4562, 0.0219, 0.6856, 0.0074, 0.5),
        "Original Mixup": Published(1.1686, 0.0079, 0.7797, 0.0027, 1.5),
        "AdaMixUp": Published(1.1824, 0.0044, 0.7762, 0.0018, 5),
        "Global kNN": Published(1.1678, 0.0073, 0.7815, 0.0018, 120),
        "MixRL": Published(1.1489, 0.0082, 0.7898, 0.0023, 830),
        "MixRL + AdaMixUp": Published(1.3194, 0.0073, 0.7275, 0.0023, 900),
        # Table 3, besides the default, which is MixRL
        "k in {10..90}": Published(1.2195, 0.0101, 0.7670, 0.0024),
        "k in {10..180}": Published(1.2115, 0.0090, 0.7699, 0.0029),
        "k in {1, 2, 4, ..., 256}": Published(1.1523, 0.0071, 0.7878, 0.0017),
        # Table 4; without both limits it took longer than a day: TLE
        "W/O Label Dist. Limits": Published(1.1617, 0.0037, 0.7813, 0.0008),
        "W/O Data Dist. Limits": Published(1.1793, 0.0091, 0.7765, 0.0036),
    },
    "synthetic": {
        "No Augmentation": Published(15.5463, 0.1873, 0.7153, 0.0071, 0.1),
        "Original Mixup": Published(15.0700, 0.0624, 0.7315, 0.0026, 1),
        "AdaMixUp": Published(14.8497, 0.0840, 0.7373, 0.0030, 5),
        "Global kNN": Published(13.7732, 0.0989, 0.7735, 0.0020, 50),
        "MixRL": Published(13.2519, 0.1211, 0.7898, 0.0034, 780),
        "MixRL + AdaMixUp": Published(13.1288, 0.0584, 0.7930, 0.0020, 1240),
        # Table 5, besides the default
        "k in {1..8}": Published(13.6199, 0.0412, 0.7766, 0.0009),
        "k in {1..16}": Published(13.3081, 0.1116, 0.7867, 0.0035),
        "k in {1, 2, 4, 8, 16, 32}": Published(13.4783, 0.0981, 0.7825, 0.0033),
        # Table 6; without both limits it took longer than a day: TLE
        "W/O Label Dist. Limits": Published(13.5346, 0.0287, 0.7807, 0.0013),
        "W/O Data Dist. Limits": Published(13.7705, 0.0951, 0.7725, 0.0031),
    },
}
for _dataset in PUBLISHED.values():
    _dataset["MixRL (Algorithm 1)"] = _dataset["MixRL"]  # the paper's MixRL is Algorithm 1


class Reported(NamedTuple):
    """One published test RMSE, in label units.

    Attributes:
        source: figures of one source share a split, and can be compared with its `BASELINE`.
        method: its name; a method that we have is named as in our tables.
        rmse: as printed.
    """

    source: str
    method: str
    rmse: float


_TABLE_2 = (BASELINE, "Original Mixup", "AdaMixUp", "Global kNN", "MixRL")
_ON_THE_SPLIT_OF_C_MIXUP = {
    BASELINE: 0.537,
    "Original Mixup": 0.528,
    "MixRL": 0.517,
    "ADA": 0.515,
    "FOMA": 0.512,
    "C-Mixup": 0.509,
    "CEMS": 0.507,
}
"""C-Mixup (Yao et al., 2022) and its successors load the same files; each method has its own rate, batch size and epochs."""

REPORTED: tuple[Reported, ...] = (
    *(Reported("MixRL, Table 2", method, PUBLISHED["no2"][method].rmse) for method in _TABLE_2),
    *(Reported("C-Mixup and later", method, rmse) for method, rmse in _ON_THE_SPLIT_OF_C_MIXUP.items()),
)

"""What others report for the cells of Tables 1 and 2, each number with how it was selected.

Only numbers that were read where they were published; none from memory. Errors in percent.
"""

from __future__ import annotations

from typing import NamedTuple

from experiments.paper.numbers import DATASETS, LABELS, Printed
from experiments.paper.text_cells import BEST_OF_20


class Other(NamedTuple):
    """A number of somebody else's."""

    who: str
    number: Printed | str  # in words where no digits were read
    rule: str  # how the number was selected from the run

    def __str__(self) -> str:
        return f"{self.number} ({self.who}; {self.rule})"


# google-research/uda at 960684e (2020-02), plain UDA: 64 + 448 a step, 500,000 steps, confidence
# 0.8, temperature 0.4. A later recipe than the paper's.
_UDA_RULE = "last checkpoint, tested once; recipe of 2020"
_UDA_README = {
    "cifar10": "5.43±.96 4.80±.09 4.75±.10 4.73±.14 4.32±.08",
    "svhn": "2.72±.40 2.27±.09 2.23±.07 2.20±.06 2.28±.10",
}
# The same, at d4ec238 (2019-11): the recipe that the paper's UDA rows follow.
_UDA_README_2019 = {("cifar10", 4000): "5.29±0.25", ("svhn", 1000): "2.55±0.09"}

# The same of texts, in accuracies: about 68, about 90, 95.3 to 95.9 %.
_UDA_README_TEXTS = {
    ("supervised", 128): ("about 32", f"BERT-base; {BEST_OF_20}"),
    ("uda", 128): ("about 10", f"BERT-base, one GPU of 11 GB; {BEST_OF_20}"),
    ("uda", 512): ("4.1 to 4.7", f"BERT-large tuned on the reviews, TPU; {BEST_OF_20}"),
}

COLUMNS = (("cifar10", 250), ("cifar10", 4000), ("svhn", 250), ("svhn", 1000), ("imdb", 20))
_USB = "3 seeds, best iteration on the test set"
_USB_TEXTS = "3 seeds, BERT-base, 512 tokens, best iteration on 2,000 further labels"
_TORCHSSL = "seeds 0-2 ± standard error, best iteration on the test set"
_UNSTATED, _ONE = "rule not stated", "1 seed, rule not stated"
# (who, algorithm of ours that it is an instance of or "", rule, numbers in order of COLUMNS)
_PEERS = (
    ("USB UDA", "uda", _USB, "5.12±0.15 4.32±0.07 2.03±0.03 1.96±0.01 49.97"),
    ("USB FixMatch", "fixmatch", _USB, "4.97±0.05 4.29±0.10 1.99±0.05 2.00±0.04 7.72±0.33"),
    ("USB FlexMatch", "", _USB, "5.00±0.05 4.28±0.05 5.02±1.20 5.43±0.46 7.82±0.77"),
    ("USB Dash", "", _USB, "5.13±0.26 4.35±0.09 1.97±0.01 2.03±0.03 8.34±0.86"),
    ("USB AdaMatch", "", _USB, "5.01±0.11 4.29±0.06 2.14±0.10 2.04±0.02 8.09±0.99"),
    ("USB CRMatch", "", _USB, "4.67±0.02 3.81±0.16 1.88±0.04 1.91±0.02 8.96±0.88"),
    ("USB CoMatch", "", _USB, "5.33±0.12 4.29±0.04 2.21±0.20 1.96±0.07 7.44±0.30"),
    ("USB SimMatch", "", _USB, "4.99±0.12 4.51±0.08 2.26±0.11 2.08±0.06 7.93±0.55"),
    ("USB FreeMatch", "", _USB, "4.85±0.10 4.14±0.19 4.09±0.66 4.31±0.00 8.94±0.21"),
    ("USB SoftMatch", "", _USB, "4.84±0.10 4.27±0.12 2.15±0.05 2.08±0.04 7.76±0.58"),
    ("USB ReMixMatch", "remixmatch", _USB, "9.21 4.88 6.38 5.34 50.00"),
    ("USB MixMatch", "mixmatch", _USB, "37.28 7.38 3.71 3.12 26.12"),
    ("USB VAT", "vat", _USB, "42.58 10.97 4.59 4.09 25.93"),
    ("USB MeanTeacher", "mean_teacher", _USB, "56.06 15.47 25.10 12.29 20.06"),
    ("USB PseudoLabel", "pseudo_label", _USB, "48.28 14.90 16.60 9.33 45.45"),
    ("TorchSSL FixMatch", "fixmatch", _TORCHSSL, "4.86±0.05 4.21±0.08 2.02±0.02 1.96±0.03 -"),
    ("TorchSSL FlexMatch", "", _TORCHSSL, "4.98 4.19 6.59 6.72 -"),
    ("TorchSSL UDA", "uda", _TORCHSSL, "5.16 4.29 1.92 1.89 -"),
    ("Meta Pseudo Labels", "", _UNSTATED, "- 3.89±0.07 - 1.99±0.07 -"),
    ("Self Meta Pseudo Labels", "", _UNSTATED, "- 4.09 - - -"),
    ("LAMDA-SSL ReMixMatch", "remixmatch", _UNSTATED, "- 3.76 - - -"),
    ("LAMDA-SSL FixMatch", "fixmatch", _UNSTATED, "- 4.66 - - -"),
    ("kekmodel FixMatch", "fixmatch", _ONE, "4.69 4.23 - - -"),
    ("shjo-april FixMatch", "fixmatch", _ONE, "4.86 4.38 - - -"),
)  # fmt: skip


def _number(text: str) -> Printed:
    return Printed(*map(float, text.split("±")))


def _rule(who, rule, dataset):
    if dataset == "imdb":
        return _USB_TEXTS
    usb_svhn = who.startswith("USB") and dataset == "svhn"
    return rule + ("; trained on SVHN's extra set too" if usb_svhn else "")


def readme(algorithm: str, dataset: str, labels: int) -> list[Other]:
    """Return what upstream's README says of a column; [] where it prints none.

    That of FixMatch prints no accuracies.
    """
    if algorithm != "uda" or dataset not in DATASETS:
        return []
    text = _UDA_README[dataset].split()[LABELS.index(labels)]
    found = [Other("UDA's README", _number(text), _UDA_RULE)]
    if old := _UDA_README_2019.get((dataset, labels)):
        found.append(Other("UDA's README of 2019", _number(old), "last checkpoint, tested once"))
    return found


def text_readme(algorithm: str, max_len: int) -> list[Other]:
    """Return what UDA's README says of texts of a length; [] where it says nothing."""
    found = _UDA_README_TEXTS.get((algorithm, max_len))
    return [Other("UDA's README", *found)] if found else []


def peers(dataset: str, labels: int, algorithm: str | None = None) -> list[Other]:
    """Return the peers' numbers of a column, best first.

    Args:
        dataset, labels: the column.
        algorithm: only those of this base algorithm; None for all methods.
    """
    if (dataset, labels) not in COLUMNS:
        return []
    place = COLUMNS.index((dataset, labels))
    found = [
        Other(who, _number(numbers.split()[place]), _rule(who, rule, dataset))
        for who, kind, rule, numbers in _PEERS
        if algorithm in (None, kind) and numbers.split()[place] != "-"
    ]
    return sorted(found, key=lambda other: other.number.mean)

"""Every number that the paper prints, as it prints it: Tables 1 to 3, Fig. 3, Sec. 4.4."""

from __future__ import annotations

from typing import NamedTuple


class Printed(NamedTuple):
    """A number of the paper in percent."""

    mean: float
    std: float | None = None
    digits: int = 2

    def __str__(self) -> str:
        numbers = (self.mean,) if self.std is None else (self.mean, self.std)
        return " ± ".join(f"{number:.{self.digits}f}" for number in numbers)


LABELS = (250, 500, 1000, 2000, 4000)
DATASETS = {"cifar10": "CIFAR-10", "svhn": "SVHN"}  # name in a script's name: name in the paper

# Table 1, "test error rate (%)", row: one text for each data set, in order of LABELS.
_TABLE_1 = {
    "Pseudo-Label": (
        "49.98±1.17 40.55±1.70 30.91±1.73 21.96±0.42 16.21±0.11",
        "21.16±0.88 14.35±0.37 10.19±0.41 7.54±0.27 5.71±0.07",
    ),
    "VAT": (
        "36.03±2.82 26.11±1.52 18.64±0.40 14.40±0.15 11.05±0.31",
        "8.41±1.01 7.44±0.79 5.98±0.21 4.85±0.23 4.20±0.15",
    ),
    "Mean-Teacher": (
        "47.32±4.71 42.01±5.86 17.32±4.00 12.17±0.22 10.36±0.25",
        "6.45±2.43 3.82±0.17 3.75±0.10 3.51±0.09 3.39±0.11",
    ),
    "MixMatch": (
        "11.08±0.87 9.65±0.94 7.75±0.32 7.03±0.15 6.24±0.06",
        "3.78±0.26 3.64±0.46 3.27±0.31 3.04±0.13 2.89±0.06",
    ),
    "UDA": (
        "8.76±0.90 6.68±0.24 5.87±0.13 5.51±0.21 5.29±0.25",
        "2.76±0.17 2.70±0.09 2.55±0.09 2.57±0.09 2.47±0.15",
    ),
    "Re-MixMatch": ("6.27±0.34 - 5.73±0.16 - 5.14±0.04", "3.10±0.50 - 2.83±0.30 - 2.42±0.09"),
    "FixMatch (CTA)": ("5.07±0.33 - - - 4.31±0.15", "2.64±0.64 - - - 2.36±0.19"),
    "FixMatch* (CTA)": ("5.23±0.28 - 4.82±0.09 - 4.48±0.15", "2.77±0.73 - 2.41±0.14 - 2.17±0.08"),
    "Ours (UDA)": (
        "5.53±0.17 5.38±0.23 5.17±0.16 5.14±0.17 4.75±0.28",
        "2.45±0.08 2.39±0.04 2.33±0.06 2.32±0.06 2.35±0.05",
    ),
    "Ours (FixMatch, CTA)": (
        "5.05±0.12 - 4.68±0.14 - 4.35±0.06",
        "2.63±0.23 - 2.34±0.15 - 2.15±0.03",
    ),
}


def table_1() -> dict[tuple[str, str, int], Printed]:
    """Return (row, data set, labels) -> number, for the 82 that are printed."""
    return {
        (row, dataset, labels): Printed(*map(float, text.split("±")))
        for row, texts in _TABLE_1.items()
        for dataset, line in zip(DATASETS, texts, strict=True)
        for labels, text in zip(LABELS, line.split(), strict=True)
        if text != "-"
    }


# Table 2: (row, longest text in tokens) -> test error on IMDb with 20 labels.
TABLE_2 = {
    ("Supervised", 128): Printed(39.40),
    ("UDA", 128): Printed(8.98, 0.26),
    ("Ours", 128): Printed(8.51, 0.14),
    ("UDA", 512): Printed(4.2, digits=1),
}
# Its rows with all 25,000 labels, which the paper takes from others: (who, longest text).
CITED = {
    ("Dai and Le", "no truncation"): Printed(7.24),
    ("Miyato et al.", "400 tokens"): Printed(5.91),
    ("BERT", "512 tokens"): Printed(4.51),
    ("Sachan et al.", "no truncation"): Printed(4.32),
}
# Table 3: (N, eta) -> validation error, CIFAR-10 with 4,000 labels, UDA.
TABLE_3 = {
    (30, 0.01): Printed(5.13),
    (300, 0.01): Printed(4.59),
    (100, 0.01): Printed(3.42),
    (100, 0.1): Printed(6.16),
    (100, 0.001): Printed(4.10),
}
# Sec. 4.3, of Fig. 3: how Eq. 6's inverse is approximated -> test error.
FIG_3 = {"exact": Printed(4.43), "identity": Printed(4.51), "neumann": Printed(4.85)}
# Sec. 4.4: what is timed -> seconds on a 16 GB GPU.
SECONDS = {
    "per-example gradients, serial": 18.17,
    "per-example gradients, ours": 0.94,
    "exact inverse, last layer": 0.455,
    "identity": 0.399,
}
NEUMANN_OVER_EXACT = 4.6

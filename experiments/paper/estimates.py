"""How long a cell takes on one GPU: an estimate, for nobody here has measured it."""

from __future__ import annotations

from collections.abc import Mapping

# A user of another FixMatch with WRN-28-2 reports about 4 days on one RTX 2080 Ti
# (valencebond/FixMatch_pytorch, issue 2): 2^20 steps of 64 + 2 x 448 images, forward and backward.
SECONDS_PER_IMAGE = 4 * 24 * 3600 / (2**20 * 960)
BASIS = (
    "an estimate, not measured: steps x images of a step, at the rate of a FixMatch run that its "
    "user reports to take 4 days on one RTX 2080 Ti; without the Lambda-steps"
)

BATCH = 64
STEPS = {"uda": 400_000}
RATIO = {"uda": 5, "fixmatch": 7}  # unlabeled examples for one labeled; the other rows have 1
# Passes forward and backward for one unlabeled example; a pass forward alone is a third of one.
PASSES = {
    "pseudo_label": 1, "vat": 3, "mean_teacher": 1 + 1 / 3, "mixmatch": 2 + 2 / 3,
    "remixmatch": 4 + 1 / 3, "uda": 2, "fixmatch": 2,
}  # fmt: skip


def hours(options: Mapping[str, object]) -> float:
    """Return the estimated GPU hours of one seed of a cell.

    Args:
        options: the cell's options; `algorithm` is one of `PASSES`.
    """
    algorithm = options["algorithm"]
    images = BATCH * (1 + RATIO.get(algorithm, 1) * PASSES[algorithm])
    return STEPS.get(algorithm, 2**20) * images * SECONDS_PER_IMAGE / 3600

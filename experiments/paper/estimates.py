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
    return steps_of(options) * images_of_a_step(options) * SECONDS_PER_IMAGE / 3600


def steps_of(options: Mapping[str, object]) -> int:
    """Return the theta-steps of one seed of a cell on images."""
    return STEPS.get(options["algorithm"], 2**20)


def images_of_a_step(options: Mapping[str, object]) -> float:
    """Return how many images a theta-step passes forward and backward, for `hours`' options."""
    algorithm = options["algorithm"]
    return BATCH * (1 + RATIO.get(algorithm, 1) * PASSES[algorithm])


# NVIDIA's DeepLearningExamples (BERT for TensorFlow 2, fine-tuning on SQuAD, 384 tokens) reports
# 11.11 sequences a second with BERT-large in float32 on one V100 of 32 GB.
TEXT_BASIS = (
    "an estimate, not measured: tokens of a step, at the rate that NVIDIA reports for fine-tuning "
    "BERT-large in float32 on one V100 of 32 GB; with the evaluations, without the Lambda-steps"
)
TEXTS = {  # algorithm -> steps, labeled batch, unlabeled texts for a labeled one, passes of each
    "supervised": (3000, 32, 0, 0),
    "uda": (10_000, 8, 4, 2),
}
BERTS = {"bert-base-uncased": (12, 768), "bert-large-uncased": (24, 1024)}  # layers, width
EVALUATIONS, TEST_TEXTS = 20, 25_000
BACKWARD = 2  # passes forward that a pass backward costs


def products(layers: int, width: int, tokens: int) -> float:
    """Return the multiply-adds of one text's pass forward: kernels, and tokens that attend."""
    return tokens * layers * (12 * width**2 + 2 * tokens * width)


PRODUCTS_PER_SECOND = 11.11 * (1 + BACKWARD) * products(*BERTS["bert-large-uncased"], 384)


def text_hours(options: Mapping[str, object]) -> float:
    """Return the estimated GPU hours of one seed of a cell on texts.

    Args:
        options: the cell's options; `algorithm` is one of `TEXTS`, `bert` one of `BERTS`.
    """
    return text_products(options) / PRODUCTS_PER_SECOND / 3600


def text_products(options: Mapping[str, object]) -> float:
    """Return the multiply-adds of one seed of a cell on texts, for `text_hours`' options."""
    steps, batch, ratio, passes = TEXTS[options["algorithm"]]
    batch = options.get("labeled_batch", batch)
    rows = batch * (1 + options.get("unlabeled_ratio", ratio) * passes)
    forward = products(*BERTS[options["bert"]], options["max_len"])
    return (steps * rows * (1 + BACKWARD) + EVALUATIONS * TEST_TEXTS) * forward

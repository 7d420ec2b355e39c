"""Sizes, seeds and counts are whole numbers wherever they enter."""

import math

import numpy as np
import pytest
from raw_sets import make_raw

from ssl_weighting.checkpointing import Checkpoints
from ssl_weighting.data.contamination import contaminate
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.numbers import check_whole
from ssl_weighting.data.pipeline import BatchSource
from ssl_weighting.data.splits import make_splits
from ssl_weighting.data.synthetic import SyntheticConfig
from ssl_weighting.theta.ctaugment_rates import CtaRates

SPLITS = {"num_labeled": 4, "val_size": 4, "num_unlabeled": 20, "seed": 0, "val_seed": 0}
BATCHES = {"labeled_batch": 2, "unlabeled_batch": 2, "seed": 0, "stream": 0}
TOYS = {"num_labeled": 4, "val_size": 2, "num_unlabeled": 8, "num_test": 4, "seed": 0}


def split(**given):
    return make_splits(make_raw([40, 40]), **SPLITS | given)


USES = [
    *((split, name) for name in SPLITS),
    *(
        (lambda **g: BatchSource(split(), augmentation=Augmentation.none(), **BATCHES | g), name)
        for name in BATCHES
    ),
    *((lambda **g: SyntheticConfig("moons", **TOYS | g), name) for name in TOYS),
    (lambda **g: Checkpoints("none", {}, **g), "keep"),
    (CtaRates, "publish_every"),
]


@pytest.mark.parametrize("value", [math.nan, math.inf, 4.5, -1, True, "4"])
@pytest.mark.parametrize(("use", "name"), USES)
def test_a_number_that_is_not_whole_is_refused_by_name(use, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}="):
        use(**{name: value})


@pytest.mark.parametrize("rate", [math.nan, math.inf, -0.1, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["corrupt", "imbalanced"])
def test_a_rate_of_contamination_is_a_share(kind, rate):
    with pytest.raises(ValueError, match=r"`rate` must be in \(0, 1\). Received: rate="):
        contaminate(split(), kind, rate, 0)


def test_the_whole_numbers_of_numpy_are_some():
    check_whole("n", np.int64(3), 3, 3)
    with pytest.raises(ValueError, match=r"`n` must be from 4 to 5. Received: n=3"):
        check_whole("n", np.int32(3), 4, 5)
    with pytest.raises(
        ValueError, match=r"`n` must be a whole number, at least 0. Received: n=3.0"
    ):
        check_whole("n", 3.0, 0)

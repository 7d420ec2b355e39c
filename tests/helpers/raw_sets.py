"""Made-up sets of images that carry their own numbers."""

import numpy as np

from ssl_weighting.data.examples import Examples, RawDataset

SVHN = [13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659, 4948]


def make_examples(labels, start=0):
    """Images whose pixels spell their number, so that content names the example."""
    numbers = np.arange(start, start + len(labels))
    pixels = (numbers[:, None] // 256 ** np.arange(4)) % 256
    return Examples(
        pixels.astype(np.uint8).reshape(-1, 2, 2, 1), np.asarray(labels, np.int32).reshape(-1)
    )


def numbers_of(examples):
    pixels = examples.inputs.reshape(len(examples), 4).astype(np.int64)
    return (pixels * 256 ** np.arange(4)).sum(1)


def make_raw(per_class=(40, 40, 40), **parts):
    labels = np.tile(np.arange(len(per_class)), max(per_class))
    labels = labels[[list(labels[:k]).count(c) < per_class[c] for k, c in enumerate(labels)]]
    names = tuple("abcdefgh"[: len(per_class)])
    test = make_examples(range(len(per_class)), start=100_000)
    return RawDataset("toy", make_examples(labels), test, names, "memory", **parts)

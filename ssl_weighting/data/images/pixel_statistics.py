"""Mean and deviation of pixels per channel, for nets that see standardized images (UDA)."""

from __future__ import annotations

import numpy as np
from ssl_weighting_upstream import uda_randaugment

from ssl_weighting.data.example_table import ExampleTable

PUBLISHED = {
    "cifar10": uda_randaugment.CIFAR10,
    "svhn_cropped": uda_randaugment.SVHN,
    "svhn_cropped_extra": uda_randaugment.SVHN,
}
_ROWS = 1000  # images at a time


def pixel_statistics(name: str, images: np.ndarray | ExampleTable) -> uda_randaugment.Statistics:
    """Return (mean, std) of x / 255 per channel.

    Args:
        name: of the data set; those in `PUBLISHED` have fixed numbers for colour images.
        images: [n, H, W, C] uint8, n > 0, of the training set; counted exactly for other names.

    Returns:
        C means and C deviations; deviations are at least one level, 1/255.

    Raises:
        ValueError: if `images` are no bytes.
    """
    if name in PUBLISHED and images.shape[-1] == 3:
        return PUBLISHED[name]
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(
            "`images` must be uint8 [n, H, W, C] with n > 0. "
            f"Received: {images.dtype} {list(images.shape)}."
        )
    counts = np.zeros([images.shape[-1], 256], np.int64)
    for start in range(0, len(images), _ROWS):
        channels = np.moveaxis(images[start : start + _ROWS], -1, 0)
        counts += [np.bincount(channel.ravel(), minlength=256) for channel in channels]
    levels, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
    return uda_randaugment.Statistics(tuple(mean), tuple(np.maximum(std, 1 / 255)))

"""Mean and deviation of pixels per channel, for nets that see standardized images (UDA)."""

from __future__ import annotations

import numpy as np

# UDA's constants, of x / 255 over the training images, per channel.
PUBLISHED = {
    "cifar10": (
        (0.49139968, 0.48215841, 0.44653091),
        (0.24703223, 0.24348513, 0.26158784),
    ),
    "svhn_cropped": (
        (0.4376821, 0.4437697, 0.47280442),
        (0.19803012, 0.20101562, 0.19703614),
    ),
}
PUBLISHED["svhn_cropped_extra"] = PUBLISHED["svhn_cropped"]


def pixel_statistics(name: str, images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns (mean, std) of x / 255 per channel.

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
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in np.moveaxis(images, -1, 0):
        share = np.bincount(channel.ravel(), minlength=256) / channel.size
        mean = float(share @ levels)
        means.append(mean)
        deviations.append(max(float(np.sqrt(share @ (levels - mean) ** 2)), 1 / 255))
    return tuple(means), tuple(deviations)

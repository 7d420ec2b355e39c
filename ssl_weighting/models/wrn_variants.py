"""In what the three WRN-28-2 nets behind Tables 1 and 3 differ; `wide_resnet` builds them all."""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One upstream project's reading of the Wide-ResNet.

    Attributes:
        slope: of the leaky ReLU; 0 is the plain one.
        batch_norm_decay: of the moving statistics.
        batch_norm_epsilon: added to the variance.
        conv_bias: whether convolutions have a bias (zero at first).
        activate_first_shortcut: whether the net's first block hands its activated input to its
            shortcut too; every other shortcut takes the raw input.
        shortcut: where the channels change, "convolve" (1x1, strided) or "pad" (mean over the
            stride's window, then zero channels on both sides: no parameters).
        long_skips: whether, by "pad", the group before is added to each group's output and the stem
            to the last one's.
        uniform_head: whether the head's kernel starts uniform in +-1 / sqrt(C); else Glorot normal.
    """

    slope: float
    batch_norm_decay: float
    batch_norm_epsilon: float
    conv_bias: bool
    activate_first_shortcut: bool
    shortcut: str
    long_skips: bool
    uniform_head: bool


# Trainable parameters of WRN-28-2 on 32x32x3 with ten classes: 1,469,642 / 1,467,610 / 1,456,858.
VARIANTS = {
    "fixmatch": Variant(0.1, 0.999, 1e-3, True, True, "convolve", False, False),
    "uda": Variant(0.0, 0.9, 1e-5, False, False, "convolve", False, True),
    "uda_2019": Variant(0.0, 0.9, 1e-5, False, True, "pad", True, True),
}

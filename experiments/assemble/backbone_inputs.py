"""New inputs of a run with --backbone -> the features that its head takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.assemble.backbones import image_backbone, text_backbone
from experiments.assemble.features import ImageEncoder
from experiments.assemble.text_data import encoder_for
from experiments.options.config import config_from_json
from experiments.options.extraction import extraction_of


class ImageFeatures(NamedTuple):
    """The frozen net of a run on images.

    Attributes:
        side: to which files are resized when they are read, as in training; images of other
            sources keep their size, the net resizes them.
        channels: of the net's inputs; grey and colour images are turned into what it takes.
        encode: images [n, H, W, C] uint8 -> features [n, d] float32 of the clean view.
    """

    side: int
    channels: int
    encode: Callable[[np.ndarray], np.ndarray]


def image_features(configuration: Mapping[str, Any]) -> ImageFeatures:
    """Return the frozen net of a run on images.

    Args:
        configuration: what the run's config.json holds.

    Raises:
        FileNotFoundError: its weights are not there.
        ValueError: they are others than those that the run was trained on.
    """
    config, inputs = config_from_json(configuration["config"]), configuration["inputs"]
    backbone = image_backbone(config.backbone, int(inputs["image_size"]), None)
    _check_same(backbone.recipe, inputs)
    encoder = ImageEncoder(backbone, 0, config.flip, 0)

    def encode(images):
        return encoder(images, np.arange(len(images)), 0)

    return ImageFeatures(backbone.side, backbone.channels, encode)


def text_features(configuration: Mapping[str, Any]) -> Callable[[Sequence[str]], np.ndarray]:
    """Return what turns texts into features [n, d] float32, as the run's frozen net did.

    Args:
        configuration: what the run's config.json holds.

    Raises:
        FileNotFoundError: its weights are not there.
        ValueError: they are others than those that the run was trained on.
    """
    config = config_from_json(configuration["config"])
    backbone = text_backbone(config.backbone)
    _check_same(backbone.recipe, configuration["inputs"])
    encoder = encoder_for(extraction_of(config).config)
    return lambda texts: backbone(encoder(texts))


def _check_same(recipe, inputs):
    if recipe != inputs["backbone"]:
        raise ValueError(
            "The backbone must have the weights that the run was trained on. Received: "
            f"{recipe} in place of {inputs['backbone']}. Put those there again, or train anew"
        )

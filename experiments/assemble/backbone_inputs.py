"""New inputs of a run with --backbone -> the features that its head takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.assemble.backbones import TextBackbone, image_backbone, text_backbone
from experiments.assemble.features import ImageEncoder
from experiments.assemble.text_data import encoder_for
from experiments.options.config import config_from_json
from experiments.options.extraction import extraction_of
from ssl_weighting.data.texts.tokens import TextEncoder


class ImageFeatures(NamedTuple):
    """The frozen net of a run on images.

    Attributes:
        side: to which files are resized when they are read, as in training; images of other
            sources keep their size, the net resizes them.
        channels: of the net's inputs; grey and colour images are turned into what it takes.
        encode: images [n, H, W, C] uint8 -> features [n, d] float32 of the clean view.
        net: as of `ImageBackbone`, [n, side, side, channels] float32 in [-1, 1] -> features.
    """

    side: int
    channels: int
    encode: Callable[[np.ndarray], np.ndarray]
    net: Callable


class TextFeatures(NamedTuple):
    """The frozen net of a run on texts.

    Attributes:
        encode: n texts -> tokens [n, L] int32.
        net: tokens -> features [n, d] float32; keeps the hidden states of all n in memory.
    """

    encode: TextEncoder
    net: TextBackbone


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

    return ImageFeatures(backbone.side, backbone.channels, encode, backbone.net)


def text_features(configuration: Mapping[str, Any]) -> TextFeatures:
    """Return the frozen net of a run on texts.

    Args:
        configuration: what the run's config.json holds.

    Raises:
        FileNotFoundError: its weights are not there.
        ValueError: they are others than those that the run was trained on.
    """
    config = config_from_json(configuration["config"])
    backbone = text_backbone(config.backbone)
    _check_same(backbone.recipe, configuration["inputs"])
    return TextFeatures(encoder_for(extraction_of(config).config), backbone)


def _check_same(recipe, inputs):
    if recipe != inputs["backbone"]:
        raise ValueError(
            "The backbone must have the weights that the run was trained on. Received: "
            f"{recipe} in place of {inputs['backbone']}. Put those there again, or train anew"
        )

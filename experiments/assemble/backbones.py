"""The frozen nets that make features of images and texts."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.assemble.text_model import LowerLayers
from experiments.options.backbone import APPLICATIONS, EFFICIENTNET_LITE0, SAVED
from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.models import efficientnet_lite0
from ssl_weighting.models.bert_weights import bert_folder, read_shape, weights_digest

_SMALL, _LARGE = 96, 224  # sides: of images no larger than the first, of others (ImageNet's)


class ImageBackbone(NamedTuple):
    """A net of images.

    Attributes:
        net: [n, side, side, channels] float32 in [-1, 1] -> [n, width] float32.
        side, channels: of its inputs.
        width: of its features.
        recipe: all that they depend on, for people and for digests.
    """

    net: Callable[[tf.Tensor], tf.Tensor]
    side: int
    channels: int
    width: int
    recipe: str


class TextBackbone(NamedTuple):
    """A BERT whose features are the mean over the tokens of its last layer.

    Attributes:
        folder: of the checkpoint.
        lower: [n, L] int32 tokens -> hidden states [n, L, width], zero where padded.
        width: of its features.
        recipe: all that they depend on, for people and for digests.
    """

    folder: Path
    lower: Callable[[np.ndarray], np.ndarray]
    width: int
    recipe: str

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Return the features [n, width] float32 of tokens [n, L] int32, 0 where padded."""
        counts = (tokens != 0).sum(axis=1, keepdims=True)
        return self.lower(tokens).sum(axis=1) / np.maximum(counts, 1).astype(np.float32)


def text_backbone(name: str) -> TextBackbone:
    """Return the BERT of a name, as --bert takes it.

    Raises:
        OSError, ValueError: as `bert_folder`, `read_shape` and `read_tensors`.
    """
    folder = bert_folder(name)
    shape = read_shape(folder)
    lower = LowerLayers(folder, shape, shape.num_layers, weights_digest(folder))
    return TextBackbone(folder, lower, shape.width, f"mean over tokens, {lower.recipe}")


def image_backbone(name: str, side: int, size: int | None) -> ImageBackbone:
    """Return the net of a name.

    Args:
        name: efficientnet_lite0, keras_applications:NAME or saved:FILE.keras.
        side: to which images are resized; 0 for the net's own or, where it takes any, 96 for images
            that are no larger and 224 for others.
        size: of the stored images; None: they have different ones.

    Raises:
        FileNotFoundError: its weights are not there.
        ValueError: there is no such net, it takes no images of that side, or its file is damaged.
    """
    kind, _, rest = name.partition(":")
    if kind == SAVED:
        return _saved(Path(rest), side)
    side = side or (_SMALL if size is not None and size <= _SMALL else _LARGE)
    if side < 32:
        raise ValueError(f"--image_size must be at least 32 for this net. Received: {side}")
    if name == EFFICIENTNET_LITE0:
        model, preprocess = efficientnet_lite0.pretrained(side), lambda pixels: pixels
    else:
        model, preprocess = application(rest, side)
    return ImageBackbone(
        lambda views: model(preprocess((views + 1) * 127.5), training=False),
        side,
        3,
        model.output_shape[-1],
        f"{name}, {side}x{side}: {_digest(model)}",
    )


def application(name: str, side: int, weights: str | None = "imagenet") -> tuple:
    """Return a model of `keras.applications` without its classifier, and its preprocessing.

    Args:
        name: of its function there, such as MobileNetV2.
        side: of its inputs.
        weights: as Keras takes them.

    Raises:
        FileNotFoundError: the weights are neither in Keras' cache nor to be fetched.
        ValueError: there is no such function, or it takes no such images.
    """
    modules = [m for m in vars(keras.applications).values() if hasattr(m, "preprocess_input")]
    makers = {n: m for m in modules for n, made in vars(m).items() if _is_maker(n, made)}
    if name not in makers:
        raise ValueError(
            f"--backbone={APPLICATIONS}:NAME must have one of these names: "
            f"{', '.join(sorted(makers))}. Received: {name!r}"
        )
    options = {"include_top": False, "pooling": "avg", "input_shape": (side, side, 3)}
    try:
        model = getattr(makers[name], name)(weights=weights, **options)
    except ValueError as error:
        raise ValueError(f"--backbone={APPLICATIONS}:{name} must fit. {error}") from error
    except Exception as error:  # Keras raises a plain one for a failed download
        raise FileNotFoundError(
            f"The weights of --backbone={APPLICATIONS}:{name} must be in Keras' cache or to be "
            f"fetched. Received: {' '.join(str(error).split())[:200]}. Copy them there, or use "
            f"{EFFICIENTNET_LITE0}, whose weights a package holds"
        ) from error
    return model, makers[name].preprocess_input


def _is_maker(name, made):
    return name[0].isupper() and callable(made)


def _saved(path, side):
    """Return a user's own model, which takes images as the training programs show them."""
    try:
        with zipfile.ZipFile(path) as archive:  # Keras does not compare checksums
            if damaged := archive.testzip():
                raise ValueError(f"its part {damaged} is damaged")
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        shape = model.input_shape
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"--backbone={SAVED}:{path} must be a saved model: {reason}") from error
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(
            f"--backbone={SAVED}:{path} must take images [n, H, W, C], grey or colour. Received: "
            f"inputs {shape}"
        )
    own = shape[1] or side or _LARGE
    if shape[2] not in (None, own) or side not in (0, own):
        raise ValueError(
            "--image_size must be 0 or the side of the square images that the model takes. "
            f"Received: {side} for inputs {shape}"
        )
    inputs = keras.Input([own, own, shape[3]])
    output = model(inputs)
    output = output.get("features") if isinstance(output, dict) else output
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 2:
        raise ValueError(
            f"--backbone={SAVED}:{path} must give one vector an image, alone or as its output "
            f'"features". Received: {output}'
        )
    net = keras.Model(inputs, output)
    return ImageBackbone(
        lambda views: net(views, training=False),
        own,
        shape[3],
        output.shape[-1],
        f"{SAVED}:{path.name}, {own}x{own}: {hashlib.sha256(path.read_bytes()).hexdigest()}",
    )


def _digest(model):
    """Return the SHA-256 of a net's weights in their order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(variable))
        digest.update(f"{value.dtype} {value.shape} ".encode() + value.tobytes())
    return digest.hexdigest()

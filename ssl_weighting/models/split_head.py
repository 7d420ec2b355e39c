"""The contract of a model here: features phi, then a Dense layer that is named and last.

Between that layer's outputs f and the logits may stand a fixed matrix, z = f A: the
re-parametrisation of App. D for two classes, whose two-logit head has a singular Hessian.
"""

from __future__ import annotations

import keras
import numpy as np

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
HEAD, LOGIT_MAP = "head", "logit_map"

# App. D's theta' = theta_1 - theta_2, f = z_1 - z_2. "half" is the same loss as two logits have;
# with the paper's (f, -f) the probability of the first class is sigma(2 f), not sigma(f).
LOGIT_MAPS = {"none": None, "half": [[0.5, -0.5]], "paper": [[1.0, -1.0]]}


def split_head(
    inputs,
    features,
    num_classes: int,
    kernel_initializer,
    name: str,
    num_angles: int = 0,
    *,
    reparam: str = "none",
    dtype: str | None = None,
) -> keras.Model:
    """Return a model inputs -> {"features": [N, d], "logits": [N, C]}.

    Its last layer with trainable variables is the Dense `HEAD`.

    Both outputs are float32 where the layers before them compute in half precision.

    Args:
        inputs, features: symbolic Keras tensors.
        num_classes: C, at least 2.
        kernel_initializer: of the head; its bias starts at zero.
        name: model name.
        num_angles: A > 0 adds "angle_logits" [N, A], by a head of their own (ReMixMatch).
        reparam: a name in `LOGIT_MAPS`.
        dtype: of the head; None: Keras' policy.

    Raises:
        ValueError: fewer than two classes, an unknown `reparam`, or one that is for two classes.
    """
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: num_classes={num_classes}")
    if keras.backend.standardize_dtype(features.dtype) in ("float16", "bfloat16"):
        features = keras.layers.Identity(dtype="float32", name="wide_features")(features)
    matrix = _matrix(reparam, num_classes)
    units = num_classes if matrix is None else len(matrix)
    options = {"kernel_initializer": kernel_initializer, "dtype": dtype}
    logits = keras.layers.Dense(units, name=HEAD, **options)(features)
    if matrix is not None:
        constant = keras.initializers.Constant(matrix)
        options = {"use_bias": False, "trainable": False, "kernel_initializer": constant}
        logits = keras.layers.Dense(num_classes, name=LOGIT_MAP, dtype=dtype, **options)(logits)
    outputs = {"features": features, "logits": logits}
    if num_angles:  # sorts before the head, which has to be the last layer
        tell = keras.layers.Dense(
            num_angles, kernel_initializer=kernel_initializer.clone(), name="angle_head"
        )
        outputs = {"angle_logits": tell(features), **outputs}
    return keras.Model(inputs, outputs, name=name)


def mean_model(members: list[keras.Model]) -> keras.Model:
    """Return one model whose probabilities are the mean of the members'; a single one as it is.

    "logits" are log mean_k p_k [N, C], "features" the members' side by side.
    """
    if len(members) == 1:
        return members[0]
    like = members[0].inputs[0]
    inputs = keras.Input(like.shape[1:], dtype=like.dtype)
    found = [_renamed(model, f"model_{k}")(inputs) for k, model in enumerate(members, 1)]
    mean = keras.layers.Average()([keras.layers.Softmax()(one["logits"]) for one in found])
    features = keras.layers.Concatenate()([one["features"] for one in found])
    return keras.Model(inputs, {"features": features, "logits": keras.ops.log(mean)})


def _renamed(model, name):
    """Return the same net of the same variables under another name, which must be its own."""
    return keras.Model(model.inputs, model.output, name=name)


def logit_map(model) -> np.ndarray | None:
    """Return A [o, C] float64 where the logits are f A with f the outputs of the head, or None."""
    layer = logit_map_layer(model)
    return None if layer is None else np.array(layer.kernel.value, np.float64)


def logit_map_layer(model) -> keras.layers.Dense | None:
    """Return the fixed layer that multiplies by A, or None.

    Raises:
        ValueError: a layer has its name and does something else.
    """
    layer = next((part for part in getattr(model, "layers", []) if part.name == LOGIT_MAP), None)
    fixed = type(layer) is keras.layers.Dense and not (layer.use_bias or layer.trainable)
    if layer is not None and not (fixed and layer.activation is keras.activations.linear):
        raise ValueError(
            f'A layer called "{LOGIT_MAP}" must be a Dense layer without bias and activation that '
            f"is not trainable: a fixed matrix. Received: {layer}. Give it another name"
        )
    return layer


def _matrix(reparam, num_classes):
    if reparam not in LOGIT_MAPS:
        known = ", ".join(LOGIT_MAPS)
        raise ValueError(f"`reparam` must be one of {known}. Received: reparam={reparam!r}")
    matrix = LOGIT_MAPS[reparam]
    if matrix is not None and num_classes != len(matrix[0]):
        raise ValueError(
            f"`reparam` must be none for {num_classes} classes: it is for two. "
            f"Received: reparam={reparam!r}"
        )
    return matrix

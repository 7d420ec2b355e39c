"""The problems on which Eq. 6 is checked: real digits, small float64 nets, strong ridges.

Those of this file share the data, scikit-learn's 8x8 digits of five classes: a few labeled ones,
unlabeled ones with a weak view (the image) and a strong one (moved by up to a pixel, with noise),
and V. `features` has another one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.models import split_head, wide_resnet
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

CLASSES = 5
SIDE = 8
NOISE = 0.5  # standard deviation, of images with mean 0 and variance 1
KINK = 4.0  # sharpness of the rounded corner of `soft_leaky_relu`


class Data(NamedTuple):
    """One seed's examples and weights, all float64."""

    labeled: LabeledBatch  # [B, ...]
    unlabeled: UnlabeledBatch  # [U, ...]
    validation: LabeledBatch  # [V, ...]
    example_weights: tf.Tensor  # [U]


class Problem(NamedTuple):
    """A net and the objective it is trained on.

    The objective is mean l_S + (1/U) sum_u lambda_u l_U(u) + ridge/2 ||theta - anchor||^2, theta
    being all parameters and l_U the cross-entropy of the strong view towards
    softmax(z_weak / temperature), at temperature 0 towards the likeliest class.
    """

    name: str
    build: Callable[[int], keras.Model]  # seed -> net with fresh values
    data: Callable[..., Data]  # (seed, |U|) -> what it is trained on
    ridge: float
    anchored: bool  # whether the ridge pulls to the initial values; otherwise to zero
    temperature: float
    num_unlabeled: int  # |U| by default
    delta: float  # the first change of lambda_u in retraining
    least: float | None  # rank correlation that the exact solve must reach; None: not promised
    text: str  # what it is, for the page


def digits(
    shape: tuple[int, ...], seed: int, num_ids: int, labeled: int = 40, validation: int = 100
) -> Data:
    """Return the `Data` of a seed: which digits, how they are augmented, lambda in [0.5, 1.5].

    Args:
        shape: of one input.
        seed: of all that is drawn.
        num_ids: U; labeled: B; validation: |V|. All are different images.

    Raises:
        ValueError: more examples than there are.
    """
    images, classes = _digits()
    total = labeled + num_ids + validation
    if not 0 < num_ids <= len(classes) - labeled - validation:
        raise ValueError(
            f"`num_ids` must be in 1..{len(classes) - labeled - validation}, as many as there are "
            f"digits. Received: num_ids={num_ids}"
        )
    rng = np.random.default_rng([seed, 1])
    chosen = rng.permutation(len(classes))[:total]
    images, classes = images[chosen], classes[chosen]
    l, u, v = np.split(np.arange(total), [labeled, labeled + num_ids])  # noqa: E741

    def inputs(pixels):
        return tf.constant(pixels.reshape(-1, *shape))

    def batch(rows):
        return LabeledBatch(inputs(images[rows]), tf.constant(classes[rows], tf.int32))

    unlabeled = UnlabeledBatch(
        tf.range(num_ids, dtype=tf.int64), inputs(images[u]), inputs(_strong(images[u], rng))
    )
    return Data(batch(l), unlabeled, batch(v), tf.constant(rng.uniform(0.5, 1.5, num_ids)))


def _digits():
    from sklearn import datasets

    found = datasets.load_digits()
    chosen = found.target < CLASSES
    images = found.images[chosen]
    return (images - images.mean()) / images.std(), found.target[chosen]


def _strong(images, rng):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    corners = rng.integers(0, 3, size=[len(images), 2])
    moved = [p[y : y + SIDE, x : x + SIDE] for p, (y, x) in zip(padded, corners, strict=True)]
    return np.stack(moved) + NOISE * rng.normal(size=images.shape)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Build Keras layers in float64 within the block."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # the first layer of a process froze the old one
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def logistic(seed: int) -> keras.Model:
    """Return multinomial logistic regression: with a ridge, strictly convex."""
    with float64():
        inputs = keras.Input([SIDE * SIDE])
        return split_head(
            inputs, inputs, CLASSES, keras.initializers.GlorotNormal(seed), "logistic"
        )


def tanh_mlp(seed: int) -> keras.Model:
    """Return a perceptron 64-10-10-C with tanh: at ReLU's kinks no gradient gets below 1e-8."""
    with float64():
        inputs = x = keras.Input([SIDE * SIDE])
        for k in range(2):
            init = keras.initializers.GlorotNormal(seed=10 * seed + k)
            x = keras.layers.Dense(10, "tanh", kernel_initializer=init, name=f"hidden_{k}")(x)
        return split_head(inputs, x, CLASSES, keras.initializers.GlorotNormal(seed + 7), "tanh_mlp")


def soft_leaky_relu(x):
    """Return 0.1 x + 0.9 softplus(k x) / k, leaky ReLU with its corner rounded."""
    return 0.1 * x + 0.9 * keras.ops.softplus(KINK * x) / KINK


def kinked_wide_resnet(seed: int) -> keras.Model:
    """Return WRN-10-1 with two channels in its stem, as `models.wide_resnet` builds it."""
    with float64():
        return wide_resnet(
            (SIDE, SIDE, 1), CLASSES,
            depth=10, width=1, base_filters=2, batch_norm_decay=0.5, seed=seed,
        )  # fmt: skip


def smooth_wide_resnet(seed: int) -> keras.Model:
    """Return the same net with `soft_leaky_relu`."""

    def clone(layer):
        if isinstance(layer, keras.layers.LeakyReLU):
            return keras.layers.Activation(soft_leaky_relu, name=layer.name)
        return type(layer).from_config(layer.get_config())

    kinked = kinked_wide_resnet(seed)
    with float64():
        smooth = keras.models.clone_model(kinked, clone_function=clone)
    smooth.set_weights(kinked.get_weights())
    return smooth


_FLAT = functools.partial(digits, (SIDE * SIDE,))
_IMAGE = functools.partial(digits, (SIDE, SIDE, 1))
PROBLEMS = {
    "logistic": Problem(
        "logistic", logistic, _FLAT, 1e-2, False, 0.5, 200, 0.1, 0.99,
        "Multinomial logistic regression on 64 pixels: strictly convex with its ridge.",
    ),
    "mlp": Problem(
        "mlp", tanh_mlp, _FLAT, 1e-2, False, 0.5, 200, 0.1, 0.8,
        "A perceptron with two hidden layers of 10 tanh units, smooth so that it can be trained to "
        "a gradient below 1e-8.",
    ),
    "wide_resnet": Problem(
        "wide_resnet", smooth_wide_resnet, _IMAGE, 1e-2, True, 0.5, 100, 0.00625, None,
        "WRN-10-1 with 2, 2, 4 and 8 channels and BatchNorm statistics frozen after a warm-up. "
        "Leaky ReLU has its corner rounded (0.1 x + 0.9 softplus(4 x) / 4), and the ridge pulls to "
        "the initial values: pulled to zero, whole branches die, and what is left has minima that "
        "are not isolated (channels between two linear layers can be turned into each other).",
    ),
}  # fmt: skip

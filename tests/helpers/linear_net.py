"""A fixed linear net on 4x4 images, batches for it, and each algorithm on them."""

import functools

import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch

B, U, C, SIDE = 4, 8, 3, 4
D = SIDE * SIDE
rng = np.random.default_rng(5)
W = rng.normal(size=(D, C))
ANGLE = rng.normal(size=(D, 4))


def images(n):
    return tf.constant(rng.normal(size=(n, SIDE, SIDE, 1)).astype("f"))


LABELED = LabeledBatch(images(B), tf.constant([0, 1, 2, 1]))
UNLABELED = UnlabeledBatch(tf.constant([5, 0, 3, 1, 2, 4, 7, 6], tf.int64), images(U), images(U))
STEP = tf.constant(3, tf.int64)


class Net:
    """Remembers how it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs, *, makes_rows=True, moves_statistics=True):
        self.calls.append((inputs.shape[0], makes_rows, moves_statistics))
        flat = tf.reshape(inputs, [-1, D])
        maps = {"logits": W, "angle_logits": ANGLE}
        outputs = {k: tf.matmul(flat, tf.constant(v, flat.dtype)) for k, v in maps.items()}
        return {"features": flat, **outputs}


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logits(inputs, weights=W):
    return np.asarray(inputs, np.float64).reshape(-1, D) @ weights


def cross_entropy(q, z):
    return -(q * np.log(softmax(z))).sum(-1)


def entropy(z):
    return cross_entropy(softmax(z), z)


MAKERS = {
    "vat": functools.partial(make_algorithm, "vat", seed=1, vat_epsilon=0.5),
    "mean_teacher": functools.partial(make_algorithm, "mean_teacher", teacher=Net()),
    "mixmatch": functools.partial(make_algorithm, "mixmatch", seed=1, ramp_steps=0),
    "remixmatch": functools.partial(
        make_algorithm, "remixmatch", num_classes=C, seed=1, ramp_steps=0
    ),
    "uda": functools.partial(make_algorithm, "uda", entropy_coefficient=0.1, threshold=0.4),
}


def rows_of(name, **settings):
    net = Net()
    return MAKERS[name](**settings)(net, LABELED, UNLABELED, STEP), net

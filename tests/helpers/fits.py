"""Points in three classes and a small net, for tests of `WeightedSSLModel`."""

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting import WeightedSSLModel

BATCH, STEPS = 5, 5  # labeled examples a theta-step, theta-steps an epoch


def points(count, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return (2 * np.eye(4)[y] + rng.normal(size=(count, 4))).astype("f"), y


D, V, (U, _) = points(9, 1), points(12, 2), points(30, 3)


def noisy(x, seed):
    return x + 0.3 * tf.random.stateless_normal(tf.shape(x), seed)


def net(inside=tuple, **last):
    keras.utils.set_random_seed(3)
    layers = [keras.Input([4]), keras.layers.Dense(16, "relu"), *inside()]
    return keras.Sequential([*layers, keras.layers.Dense(3, **last)])


def norm_and_dropout():
    return keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dropout(0.2)


def weighted(model=None, algorithm="fixmatch", *, compiled=True, options=None, **settings):
    """Return a `WeightedSSLModel`, compiled with `options` unless told otherwise."""
    plain = {"unlabeled": U, "validation": V, "strong": noisy, "inner_steps": 4, "lambda_lr": 0.1}
    plain |= {"unlabeled_ratio": 2, "ema_decay": 0.9}
    if algorithm in ("fixmatch", "uda"):
        plain["threshold"] = 0.5
    made = WeightedSSLModel(model or net(), algorithm, **plain | settings)
    if compiled:
        made.compile(keras.optimizers.Adam(0.01), **options or {})
    return made


def fit(model, x=D[0], y=D[1], epochs=3, **options):
    plain = {"batch_size": BATCH, "steps_per_epoch": STEPS, "verbose": 0}
    return model.fit(x, y, epochs=epochs, **plain | options)


def saved(model):
    """Return what the model itself puts into a .weights.h5 file."""
    found = {}
    model.save_own_variables(found)
    return found


def state(model):
    """Return all that a run is made of: the file's own arrays, the net's, its optimizer's."""
    groups = {"model": model.model.variables, "optimizer": model.optimizer.variables}
    named = {f"{name}_{k}": v for name, group in groups.items() for k, v in enumerate(group)}
    return saved(model) | {name: v.numpy() for name, v in named.items()}


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)

"""AdamW in BERT's form: one step by hand, many against numpy, the warm-up and decay by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tiny import make_trainer

from ssl_weighting.models.split_head import split_head
from ssl_weighting.theta.bert_adamw import BertAdamW
from ssl_weighting.theta.schedules import WarmupLinear


def test_one_step_by_hand():
    kernel = keras.Variable([[2.0, -1.0]], name="kernel")
    bias = keras.Variable([1.0], name="bias")
    optimizer = BertAdamW(0.1, global_clipnorm=None)
    optimizer.apply([tf.constant([[0.5, 0.0]]), tf.constant([-4.0])], [kernel, bias])
    # m = 0.1 g, v = 0.001 g^2, hence m / sqrt(v) = sign(g) sqrt(10) = 3.16228 without correction.
    # kernel: 2 - 0.1 (0.05 / (0.0158114 + 1e-6) + 0.01 * 2) and -1 - 0.1 (0 - 0.01).
    np.testing.assert_allclose(kernel.numpy(), [[1.6817922, -0.999]], rtol=1e-6)
    # bias: 1 + 0.1 * 0.4 / (0.1264911 + 1e-6), no decay.
    np.testing.assert_allclose(bias.numpy(), [1.3162253], rtol=1e-6)


def test_gradients_are_clipped_together():
    pair = [keras.Variable([0.0, 0.0], name="kernel"), keras.Variable([0.0], name="bias")]
    optimizer = BertAdamW(1.0, weight_decay=0.0, beta_1=0.5)
    optimizer.apply([tf.constant([3.0, 4.0]), tf.constant([12.0])], pair)  # their norm is 13
    for slot, expected in zip(optimizer.m, ([1.5 / 13, 2 / 13], [6 / 13]), strict=True):
        np.testing.assert_allclose(slot.numpy(), expected, rtol=1e-6)
    optimizer = BertAdamW(1.0, weight_decay=0.0, beta_1=0.5)
    optimizer.apply([tf.constant([0.3, 0.4]), tf.constant([0.0])], pair)  # below 1: as it is
    np.testing.assert_allclose(optimizer.m[0].numpy(), [0.15, 0.2], rtol=1e-6)


def test_thirty_steps_of_a_layer_norm_and_a_dense_layer_against_numpy(rng):
    inputs = keras.Input([5])
    x = keras.layers.LayerNormalization(name="norm")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(x))
    variables = model.trainable_variables
    for v in variables:
        v.assign(rng.normal(size=v.shape))
    schedule = WarmupLinear(0.02, 40, 10)
    optimizer = BertAdamW(schedule)
    theta = [v.numpy().astype(float) for v in variables]
    m = [np.zeros_like(t) for t in theta]
    v2 = [np.zeros_like(t) for t in theta]
    decay = [0.01 if v.path == "head/kernel" else 0.0 for v in variables]
    assert sum(map(bool, decay)) == 1 and len(decay) == 4
    for step in range(30):
        g = [rng.normal(size=t.shape) * 3.0 ** rng.integers(-4, 2) for t in theta]
        optimizer.apply([tf.constant(part, tf.float32) for part in g], variables)
        eta = 0.02 * (step / 10 if step < 10 else 1 - step / 40)
        norm = np.sqrt(sum((part**2).sum() for part in g))
        g = [part / max(norm, 1.0) for part in g]
        for k, part in enumerate(g):
            m[k] = 0.9 * m[k] + 0.1 * part
            v2[k] = 0.999 * v2[k] + 0.001 * part**2
            theta[k] -= eta * (m[k] / (np.sqrt(v2[k]) + 1e-6) + decay[k] * theta[k])
    for variable, expected in zip(variables, theta, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=2e-5)


def test_settings_survive_and_bad_ones_are_refused():
    again = BertAdamW.from_config(BertAdamW(0.2, beta_1=0.5, epsilon=0.1).get_config())
    assert (again.beta_1, again.epsilon, again.global_clipnorm) == (0.5, 0.1, 1.0)
    assert again.weight_decay == 0.01 and float(again.learning_rate) == pytest.approx(0.2)
    with pytest.raises(ValueError, match=r"`beta_2` must be in \[0, 1\). Received: beta_2=1.0"):
        BertAdamW(0.1, beta_2=1.0)


def test_clipping_counts_all_that_a_word_got_in_a_step():
    inputs = keras.Input([2])
    x = layers.Embedding(2, 4)(ops.cast(inputs > 0, "int32"))
    model = split_head(
        inputs, layers.Flatten()(x), 2, keras.initializers.GlorotUniform(seed=1), "words"
    )
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.01)
    trainer = make_trainer("fixed", model=model, optimizer=optimizer)
    before = [np.array(v) for v in model.trainable_variables]
    trainer.train(1)
    moved = [np.array(v) - b for v, b in zip(model.trainable_variables, before, strict=True)]
    length = np.sqrt(sum((m.astype(float) ** 2).sum() for m in moved))
    np.testing.assert_allclose(length, 0.1 * 0.01, rtol=1e-4)

"""The evaluator against plain calls of the model."""

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.data.example_table import ArrayTable
from ssl_weighting.data.examples import Examples
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.evaluation import Evaluator, log_softmax
from ssl_weighting.models import wide_resnet
from ssl_weighting.theta.ema import ExponentialMovingAverage


@pytest.fixture(scope="module")
def evaluated():
    """A small net with moved BatchNorm statistics and parameters far from their averages."""
    model = wide_resnet((8, 8, 1), 3, depth=10, width=1, base_filters=2, batch_norm_decay=0.5)
    ema = ExponentialMovingAverage(model.trainable_variables, 0.5)
    model(tf.random.stateless_normal([20, 8, 8, 1], [5, 6]), training=True)
    rng = np.random.default_rng(2)
    for param in model.trainable_variables:
        param.assign(param.numpy() + rng.normal(0, 0.3, param.shape))
    images = rng.integers(0, 256, (23, 8, 8, 1)).astype(np.uint8)
    labels = rng.integers(0, 3, 23).astype(np.int32)
    return model, ema, Examples(images, labels)


def with_parameters(model, values, images):
    """Return the logits of a plain call with other parameters, then put the model back."""
    old = [p.numpy() for p in model.trainable_variables]
    for param, value in zip(model.trainable_variables, values, strict=True):
        param.assign(value)
    logits = model(clean_view(images), training=False)["logits"].numpy()
    for param, value in zip(model.trainable_variables, old, strict=True):
        param.assign(value)
    return logits


@pytest.mark.parametrize(("batch_size", "jit"), [(23, True), (10, True), (500, True), (10, False)])
def test_evaluator_equals_a_plain_call_and_drops_nothing(evaluated, batch_size, jit):
    model, ema, examples = evaluated
    evaluator = Evaluator(model, ema, clean_view, batch_size, jit=jit)
    before = [v.numpy() for v in [*model.variables, *ema.shadow]]
    raw = model(clean_view(examples.inputs), training=False)["logits"].numpy()
    averaged = with_parameters(model, [s.numpy() for s in ema.shadow], examples.inputs)
    assert np.abs(raw - averaged).max() > 0.1
    found = evaluator.logits(examples.inputs, use_ema=False)
    assert found.shape == (23, 3)
    np.testing.assert_allclose(found, raw, atol=1e-5)
    np.testing.assert_allclose(evaluator.logits(examples.inputs), averaged, atol=1e-5)
    ready = clean_view(examples.inputs).numpy()
    np.testing.assert_array_equal(
        evaluator.logits(ready, preprocessed=True), evaluator.logits(examples.inputs)
    )
    for use_ema, logits in ((True, averaged), (False, raw)):
        assert_error_and_loss(evaluator, examples, logits.astype(float), use_ema)
    after = [v.numpy() for v in [*model.variables, *ema.shadow]]
    assert all((a == b).all() for a, b in zip(before, after, strict=True)), "it only looks"


def assert_error_and_loss(evaluator, examples, logits, use_ema):
    """Against error and mean cross-entropy written out in float64."""
    wrong = sum(z.argmax() != y for z, y in zip(logits, examples.labels, strict=True))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.mean([np.log(row[y]) for row, y in zip(p, examples.labels, strict=True)])
    error, found = evaluator.error_and_loss(examples, use_ema=use_ema)
    assert error == pytest.approx(100 * wrong / 23)
    assert found == pytest.approx(loss, rel=1e-5)


def test_a_table_is_evaluated_as_the_array_that_it_is_of(evaluated):
    model, ema, examples = evaluated
    evaluator = Evaluator(model, ema, clean_view, 10, jit=False)
    table = Examples(ArrayTable(examples.inputs), examples.labels)
    np.testing.assert_array_equal(evaluator.logits(table.inputs), evaluator.logits(examples.inputs))
    assert evaluator.error_and_loss(table) == evaluator.error_and_loss(examples)


def test_log_softmax_does_not_overflow():
    z = np.array([[1000.0, 0.0], [-1000.0, -1000.0]])
    np.testing.assert_allclose(log_softmax(z), [[0, -1000], [-np.log(2), -np.log(2)]])

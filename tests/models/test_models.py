"""The nets and what trains, averages and evaluates them, against hand-written forms."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.models import HEAD, mlp, split_head, wide_resnet
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.schedules import FixMatchCosine


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


@pytest.fixture(scope="module")
def wrn():
    return wide_resnet((32, 32, 3), 10, seed=1)


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def maker(model, tensor):
    """Return the layer that makes a tensor."""
    return next(layer for layer in model.layers if layer.output is tensor)


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.output.items()}


def test_wrn_28_2_has_the_paper_s_size(wrn):
    assert count(wrn.trainable_variables) == 1_469_642
    assert count(wrn.non_trainable_variables) == 3_616
    convolutions = of_kind(wrn, keras.layers.Conv2D)
    assert len(convolutions) == 28 and len(of_kind(wrn, keras.layers.BatchNormalization)) == 25
    assert count([c.kernel for c in convolutions]) == 1_462_704
    assert count([c.bias for c in convolutions]) == 2_032


def test_features_are_128_and_the_head_is_last(wrn):
    head = wrn.get_layer(HEAD)
    assert HEAD == "head" and head is wrn.layers[-1]
    assert head.kernel.shape == (128, 10) and head.bias.shape == (10,)
    assert shapes(wrn) == {"features": (None, 128), "logits": (None, 10)}
    images = tf.random.stateless_uniform([3, 32, 32, 3], [1, 2], -1, 1)
    out = wrn(images, training=False)
    by_hand = out["features"].numpy() @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(out["logits"], by_hand, atol=1e-5)


def test_shapes_halve_where_groups_begin(wrn):
    sums = of_kind(wrn, keras.layers.Add)
    found = [layer.output.shape[1:] for layer in sums]
    assert found == [(32, 32, 32)] * 4 + [(16, 16, 64)] * 4 + [(8, 8, 128)] * 4


def test_only_the_first_block_shares_its_activation_with_the_shortcut(wrn):
    """1x1 shortcuts: the net's first takes the activated input, the others the raw sum."""
    shortcuts = [c for c in of_kind(wrn, keras.layers.Conv2D) if c.kernel_size == (1, 1)]
    assert [(c.filters, c.strides[0]) for c in shortcuts] == [(32, 1), (64, 2), (128, 2)]
    kinds = [type(maker(wrn, c.input)) for c in shortcuts]
    assert kinds == [keras.layers.LeakyReLU, keras.layers.Add, keras.layers.Add]
    branch = next(c for c in of_kind(wrn, keras.layers.Conv2D)[1:] if c.kernel_size == (3, 3))
    assert branch.input is shortcuts[0].input
    # Elsewhere the shortcut is the sum before, untouched: the input of the block's BatchNorm.
    sums = of_kind(wrn, keras.layers.Add)
    for k in (1, 2, 3, 5, 6, 7, 9, 10, 11):
        assert sums[k].input[0] is sums[k - 1].output


def test_layers_are_fixmatch_s(wrn):
    slopes = {layer.negative_slope for layer in of_kind(wrn, keras.layers.LeakyReLU)}
    assert slopes == {0.1}
    norms = of_kind(wrn, keras.layers.BatchNormalization)
    assert {(n.momentum, n.epsilon, n.center, n.scale) for n in norms} == {
        (0.999, 1e-3, True, True)
    }
    convolutions = of_kind(wrn, keras.layers.Conv2D)
    assert all(c.use_bias and c.padding == "same" for c in convolutions)
    last = of_kind(wrn, keras.layers.LeakyReLU)[-1]
    assert wrn.get_layer("features").input is last.output


def test_initial_values_follow_the_fan_out(wrn):
    for layer in of_kind(wrn, keras.layers.Conv2D):
        kernel, (size, _) = layer.kernel.numpy(), layer.kernel_size
        expected = np.sqrt(2 / (size**2 * layer.filters))
        tolerance = 4 / np.sqrt(2 * kernel.size)  # 4 standard errors
        assert abs(kernel.std() / expected - 1) < tolerance
        assert abs(kernel.mean()) < 4 * expected / np.sqrt(kernel.size)
        assert (layer.bias.numpy() == 0).all()
        if kernel.size > 50_000:
            assert np.abs(kernel).max() > 3.5 * expected, "not truncated"
    head = wrn.get_layer(HEAD)
    deviation = np.sqrt(2 / (128 + 10))
    assert abs(head.kernel.numpy().std() / deviation - 1) < 4 / np.sqrt(2 * 1280)
    assert np.abs(head.kernel.numpy()).max() <= 2 * deviation / 0.8796 + 1e-6
    assert (head.bias.numpy() == 0).all()


def test_initial_values_follow_the_seed():
    def build(seed):
        return wide_resnet((8, 8, 1), 3, depth=10, width=1, base_filters=2, seed=seed).get_weights()

    a, b, c = build(1), build(1), build(2)
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert all((x != y).any() for x, y in zip(a, c, strict=True) if x.ndim > 1)
    kernels = [x for x in a if x.ndim == 4 and x.shape == (3, 3, 8, 8)]
    assert len(kernels) == 1 and len({x.tobytes() for x in a if x.ndim > 1}) == sum(
        x.ndim > 1 for x in a
    )


def test_batch_statistics_move_by_the_decay():
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=2, batch_norm_decay=0.75)
    first = of_kind(model, keras.layers.BatchNormalization)[0]
    images = tf.random.stateless_normal([4, 8, 8, 1], [3, 4], stddev=10)
    stem = of_kind(model, keras.layers.Conv2D)[0](images).numpy()
    model(images, training=True)
    np.testing.assert_allclose(first.moving_mean, 0.25 * stem.mean((0, 1, 2)), atol=1e-5)
    variance = stem.var((0, 1, 2))  # the biased one, as the DEVIATION beside the layer says
    np.testing.assert_allclose(first.moving_variance, 0.75 + 0.25 * variance, rtol=1e-4)


@pytest.mark.parametrize(
    "depth, width, filters, blocks", [(10, 1, 16, 1), (16, 4, 8, 2), (22, 1, 4, 3)]
)
def test_other_sizes(depth, width, filters, blocks):
    model = wide_resnet((14, 14, 1), 5, depth=depth, width=width, base_filters=filters)
    assert len(of_kind(model, keras.layers.Add)) == 3 * blocks
    assert shapes(model)["features"] == (None, 4 * width * filters)
    three = [c for c in of_kind(model, keras.layers.Conv2D) if c.kernel_size == (3, 3)]
    assert len(three) == depth - 3


def test_width_one_keeps_the_identity_in_the_first_block():
    """16 channels in, 16 out: no 1x1 convolution, but the activated input all the same."""
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1)
    ones = [c for c in of_kind(model, keras.layers.Conv2D) if c.kernel_size == (1, 1)]
    assert [c.filters for c in ones] == [32, 64]
    shortcut = of_kind(model, keras.layers.Add)[0].input[0]
    assert isinstance(maker(model, shortcut), keras.layers.LeakyReLU)


@pytest.mark.parametrize("depth", [4, 9, 27, 30, 0, -2])
def test_a_depth_that_is_not_6n_plus_4_is_refused(depth):
    with pytest.raises(ValueError, match=rf"`depth` must be 6n \+ 4 .*Received: {depth}"):
        wide_resnet((32, 32, 3), 10, depth=depth)


@pytest.mark.parametrize("classes", [1, 0])
def test_one_class_is_refused(classes):
    with pytest.raises(ValueError, match=rf"`num_classes` must be at least 2. .*={classes}"):
        mlp(2, classes)


def test_the_toy_net():
    model = mlp(2, 2, seed=3)
    assert count(model.trainable_variables) == 10_602
    assert shapes(model) == {"features": (None, 100), "logits": (None, 2)}
    points = np.random.default_rng(0).normal(size=(7, 2)).astype("f4")
    *hidden, kernel, bias = model.get_weights()
    phi = points
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        phi = np.maximum(phi @ w + b, 0)
    out = model(points)
    np.testing.assert_allclose(out["features"], phi, atol=1e-5)
    np.testing.assert_allclose(out["logits"], phi @ kernel + bias, atol=1e-5)


def test_split_head_names_the_last_layer():
    inputs = keras.Input([4])
    model = split_head(inputs, inputs, 3, "zeros", "bare")
    assert model.get_layer(HEAD).kernel.shape == (4, 3)
    np.testing.assert_array_equal(model(np.ones((2, 4), "f4"))["features"], np.ones((2, 4)))


# Nesterov SGD, the schedule, EMA.


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_nesterov_is_tf1_s_form_with_a_changing_learning_rate(momentum):
    """a <- mu a + g; theta <- theta - eta (g + mu a), in float64 by hand."""
    rng = np.random.default_rng(0)
    schedule = FixMatchCosine(0.3, 20)
    optimizer = NesterovSGD(schedule, momentum)
    variables = [keras.Variable(rng.normal(size=s).astype("f4")) for s in ((3, 2), (4,))]
    theta = [v.numpy().astype(float) for v in variables]
    a = [np.zeros_like(t) for t in theta]
    for step in range(30):
        gradients = [rng.normal(size=t.shape) for t in theta]
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients], variables)
        eta = 0.3 * np.cos(7 * np.pi / 16 * min(step / 20, 1))
        for k, g in enumerate(gradients):
            a[k] = momentum * a[k] + g
            theta[k] -= eta * (g + momentum * a[k])
    for variable, expected in zip(variables, theta, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=2e-6)


def test_nesterov_equals_keras_sgd_only_while_the_rate_stands():
    """Why there is an optimizer of our own."""

    def final(optimizer, rates):
        variable = keras.Variable([1.0, -2.0])
        for rate in rates:
            optimizer.learning_rate = rate
            optimizer.apply([2 * variable.value + 1], [variable])
        return variable.numpy()

    def both(rates):
        sgd = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
        return final(NesterovSGD(0.1), rates), final(sgd, rates)

    np.testing.assert_allclose(*both([0.1] * 6), rtol=1e-5)
    ours, keras_own = both([0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert np.abs(ours - keras_own).max() > 1e-3


def test_nesterov_keeps_its_settings():
    again = NesterovSGD.from_config(NesterovSGD(0.2, momentum=0.5).get_config())
    assert float(again.learning_rate) == pytest.approx(0.2) and again.momentum == 0.5


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_nesterov_refuses_a_momentum_out_of_range(momentum):
    with pytest.raises(ValueError, match=rf"`momentum` must be in \[0, 1\). .*={momentum}"):
        NesterovSGD(0.1, momentum=momentum)


def test_cosine_starts_at_the_peak_and_ends_at_0_19509():
    schedule = FixMatchCosine(0.03, 1000)
    assert float(schedule(0)) == pytest.approx(0.03, rel=1e-6)
    assert float(schedule(1000)) / 0.03 == pytest.approx(0.19509, abs=5e-6)
    assert float(schedule(500)) == pytest.approx(0.03 * np.cos(7 * np.pi / 32), rel=1e-6)
    assert float(schedule(5000)) == float(schedule(1000)), "it stays there"
    again = FixMatchCosine.from_config(schedule.get_config())
    assert float(again(tf.constant(77, tf.int64))) == float(schedule(77))


@pytest.mark.parametrize("steps", [0, -3])
def test_cosine_refuses_no_steps(steps):
    with pytest.raises(ValueError, match=rf"`num_steps` must be >= 1 and .*={steps}"):
        FixMatchCosine(0.03, steps)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
def test_ema_by_hand(decay):
    rng = np.random.default_rng(1)
    param = keras.Variable(rng.normal(size=5).astype("f4"))
    ema = ExponentialMovingAverage([param], decay)
    expected = param.numpy().astype(float)
    np.testing.assert_array_equal(ema.shadow[0].numpy(), param.numpy())  # starts at theta
    for _ in range(40):
        param.assign(rng.normal(size=5) * 10.0 ** rng.integers(-3, 4))
        ema.update()
        expected = decay * expected + (1 - decay) * param.numpy().astype(float)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ema.shadow[0].numpy(), expected, rtol=1e-5, atol=1e-5 * scale)
    if decay == 0:
        np.testing.assert_array_equal(ema.shadow[0].numpy(), param.numpy())


def test_ema_is_a_copy():
    param = keras.Variable([1.0])
    ema = ExponentialMovingAverage([param], 0.5)
    param.assign([3.0])
    assert ema.shadow[0].numpy() == 1 and not ema.shadow[0].trainable


@pytest.mark.parametrize("decay", [1.0, -0.5])
def test_ema_refuses_a_decay_out_of_range(decay):
    with pytest.raises(
        ValueError, match=rf"`decay` must be in \[0, 1\). .*={re.escape(str(decay))}"
    ):
        ExponentialMovingAverage([], decay)

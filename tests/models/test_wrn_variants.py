"""The three Wide-ResNets: sizes, layers, and a forward written again layer by layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.data.images.pixel_statistics import PUBLISHED, pixel_statistics
from ssl_weighting.models import HEAD, wide_resnet
from ssl_weighting.models.network import Network
from ssl_weighting.models.wrn_variants import VARIANTS
from ssl_weighting.per_example_gradients import ENGINES, per_example_dot_products

MEAN, STD = (0.4, 0.5), (0.2, 0.3)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def tiny(variant, dtype="float64", side=8, depth=16):
    """A net with two channels in its stem, all numbers random, statistics too."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        options = {"depth": depth, "width": 2, "base_filters": 2, "standardize": (MEAN, STD)}
        model = wide_resnet((side, side, 2), 3, wrn_variant=variant, **options)
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(0)
    for v in model.weights:
        value = rng.normal(0, 0.3, v.shape)
        v.assign(np.exp(value) if v.name in ("gamma", "moving_variance") else value)
    return model


@pytest.mark.parametrize(
    ("variant", "total", "biases", "convolutions"),
    [
        ("fixmatch", 1_469_642, 2_032, 28),
        ("uda", 1_467_610, 0, 28),
        ("uda_2019", 1_456_858, 0, 25),
    ],
)
def test_wrn_28_2_has_the_exact_size(variant, total, biases, convolutions):
    model = wide_resnet((32, 32, 3), 10, wrn_variant=variant)
    assert count(model.trainable_variables) == total
    assert count(model.non_trainable_variables) == 3_616
    found = of_kind(model, layers.Conv2D)
    assert len(found) == convolutions
    assert count([c.bias for c in found if c.use_bias]) == biases
    norms, form = of_kind(model, layers.BatchNormalization), VARIANTS[variant]
    assert len(norms) == 25
    assert {(n.momentum, n.epsilon) for n in norms} == {
        (form.batch_norm_decay, form.batch_norm_epsilon)
    }
    assert model.layers[-1].name == HEAD and model.get_layer(HEAD).kernel.shape == (128, 10)
    assert {c.name for c in found} >= {"stem", "group_3_block_4_conv_2"}


def test_the_variants_constants_are_upstream_s():
    fixmatch, uda, old = (VARIANTS[k] for k in ("fixmatch", "uda", "uda_2019"))
    assert fixmatch[:4] == (0.1, 0.999, 1e-3, True)
    assert uda[:4] == old[:4] == (0.0, 0.9, 1e-5, False)
    assert [v.activate_first_shortcut for v in (fixmatch, uda, old)] == [True, False, True]


def pad(x, filters, stride):
    """Means over windows, then as many zero channels before as after."""
    n, side, _, channels = x.shape
    x = tf.reshape(x, [n, side // stride, stride, side // stride, stride, channels])
    x = tf.reduce_mean(x, [2, 4])
    zeros = tf.zeros([*x.shape[:3], (filters - channels) // 2], x.dtype)
    return tf.concat([zeros, x, zeros], -1)


def written_again(model, images, variant):
    """The topology of the facts, in plain operations on the model's numbers, for WRN-16."""
    w = {f"{v.path.split('/')[-2]}/{v.name}": v.value for v in model.weights}

    def conv(x, name, stride=1):
        y = tf.nn.conv2d(x, w[f"{name}/kernel"], stride, "SAME")
        return y + w.get(f"{name}/bias", 0.0)

    def activate(x, name):
        gamma, beta, mean, variance = (
            w[f"{name}/{k}"] for k in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        epsilon = 1e-3 if variant == "fixmatch" else 1e-5
        x = (x - mean) / tf.sqrt(variance + epsilon) * gamma + beta
        return tf.maximum(x, 0.1 * x if variant == "fixmatch" else 0.0)

    x = (images * 0.5 + 0.5 - MEAN) / STD
    x = stem = before = conv(x, "stem")
    for group, filters in enumerate((4, 8, 16), start=1):
        for block in (1, 2):
            name, stride = f"group_{group}_block_{block}", 2 if group > 1 and block == 1 else 1
            inner = activate(x, f"{name}_norm_1")
            shared = group == block == 1 and variant != "uda"
            side = inner if shared else x
            if block == 1:
                side = (
                    pad(side, filters, stride)
                    if variant == "uda_2019"
                    else conv(side, f"{name}_shortcut", stride)
                )
            inner = activate(conv(inner, f"{name}_conv_1", stride), f"{name}_norm_2")
            x = side + conv(inner, f"{name}_conv_2")
        if variant == "uda_2019":
            x = before = x + pad(before, filters, 2 if group > 1 else 1)
    if variant == "uda_2019":
        x = x + pad(stem, 16, 4)
    phi = tf.reduce_mean(activate(x, "last_norm"), [1, 2])
    return phi @ w["head/kernel"] + w["head/bias"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_forward_is_the_one_of_the_facts(variant):
    model = tiny(variant)
    images = tf.constant(np.random.default_rng(1).uniform(-1, 1, [3, 8, 8, 2]))
    found = model(images, training=False)["logits"]
    # TensorFlow keeps the slope of the leaky ReLU in float32.
    np.testing.assert_allclose(found, written_again(model, images, variant), rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_engine_gives_the_products_of_a_loop_of_one(variant):
    network = Network(tiny(variant, side=4, depth=10), "all", batch_norm="moving")
    rng = np.random.default_rng(2)
    inputs, delta = rng.uniform(-1, 1, [3, 4, 4, 2]), tf.constant(rng.normal(size=[3, 3]))
    vector = [tf.constant(rng.normal(size=s)) for s in network.shapes]
    expected = per_example_dot_products(network, inputs, delta, vector, engine="serial")
    for engine in set(ENGINES) - {"serial", "vectorized_map"}:
        found = per_example_dot_products(network, inputs, delta, vector, engine=engine)
        np.testing.assert_allclose(found, expected, rtol=1e-8, err_msg=engine)
    chosen = Network(network.model, "group_3|head").variables
    assert {v.path.split("/")[-2].split("_block")[0] for v in chosen} == {"group_3", "head"}


@pytest.mark.parametrize("variant", ["uda", "uda_2019"])
def test_uda_s_head_starts_uniform_in_one_over_root_c(variant):
    kernel = wide_resnet((8, 8, 3), 10, wrn_variant=variant, seed=4).get_layer(HEAD).kernel.numpy()
    bound = 1 / np.sqrt(10)
    assert np.abs(kernel).max() <= bound and np.abs(kernel).max() > 0.98 * bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.06)


@pytest.mark.parametrize("side", [14, 7])
def test_sides_that_the_strides_do_not_divide_are_possible(side):
    model = wide_resnet(
        (side, side, 1), 3, wrn_variant="uda_2019", depth=10, width=1, base_filters=3
    )
    assert model(np.zeros([1, side, side, 1], "f"))["features"].shape == (1, 12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_standardizes_by_itself(tmp_path, variant):
    model = tiny(variant, dtype="float32", depth=10)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    images = np.random.default_rng(0).uniform(-1, 1, [2, 8, 8, 2]).astype("f")
    np.testing.assert_array_equal(again(images)["logits"], model(images)["logits"])


def test_the_first_layer_equals_scaling_the_bytes():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1) * np.ones([3], np.uint8)
    mean, std = PUBLISHED["cifar10"]
    model = wide_resnet((16, 16, 3), 2, depth=10, width=1, standardize=(mean, std))
    found = model.get_layer("standardize")(clean_view(images))
    np.testing.assert_allclose(found, (images / 255 - mean) / std, atol=2e-6)
    assert isinstance(model.layers[1], layers.Rescaling)
    assert "standardize" not in [
        layer.name for layer in wide_resnet((16, 16, 3), 2, depth=10).layers
    ]


def test_statistics_are_published_or_counted():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, [50, 4, 5, 2]).astype(np.uint8)
    images[..., 1] = 51
    mean, std = pixel_statistics("mine", images)
    np.testing.assert_allclose(mean, [(images[..., 0] / 255).mean(), 0.2], rtol=1e-12)
    np.testing.assert_allclose(std, [(images[..., 0] / 255).std(), 1 / 255], rtol=1e-12)
    assert pixel_statistics("cifar10", images) == (mean, std)  # two channels: not upstream's
    images = np.repeat(images[..., :1], 3, axis=-1)
    assert pixel_statistics("svhn_cropped_extra", images) == (
        (0.4376821, 0.4437697, 0.47280442),
        (0.19803012, 0.20101562, 0.19703614),
    )
    assert pixel_statistics("cifar10", images)[1] == (0.24703223, 0.24348513, 0.26158784)
    with pytest.raises(ValueError, match=r"`images` must be uint8 .* Received: float64 \[2, 3\]"):
        pixel_statistics("mine", np.zeros([2, 3]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"one of fixmatch, uda, uda_2019. Received: 'torch'"):
        wide_resnet((8, 8, 3), 2, wrn_variant="torch")
    for bad in (((0.5,), (0.2,)), ((0.5,) * 3, (0.2, 0.0, 0.1))):
        with pytest.raises(ValueError, match=r"`standardize` must hold 3 means .*Received: mean="):
            wide_resnet((8, 8, 3), 2, depth=10, standardize=bad)

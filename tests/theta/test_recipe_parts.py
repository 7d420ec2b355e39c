"""Weight decay's and the average's scope, interleaved views, UDA's masks: by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_net import LABELED, STEP, UNLABELED, B, Net, U, logits, softmax
from ssl_weighting_upstream.fixmatch_interleave import interleave_order
from ssl_weighting_upstream.uda_tsa import tsa_threshold
from tiny import make_trainer

from ssl_weighting import objective
from ssl_weighting.algorithms import UDA, FixMatch
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.models import mlp, wide_resnet
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.theta.ema import ExponentialMovingAverage, batch_norm_statistics
from ssl_weighting.theta.weight_decay import is_decayed

# ---------------------------------------------------------------- weight decay


@pytest.mark.parametrize(("scope", "norms"), [("kernels", False), ("all", True)])
def test_weight_decay_covers_its_scope(scope, norms):
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=2)
    decayed = {v.name for v in model.trainable_variables if is_decayed(v, scope)}
    assert decayed == ({"kernel", "bias", "gamma", "beta"} if norms else {"kernel"})
    with pytest.raises(ValueError, match=r"one of kernels, all. Received: 'biases'"):
        is_decayed(model.trainable_variables[0], "biases")


def test_the_training_loss_decays_what_the_scope_names():
    losses, models = {}, {}
    for scope, decay in (("kernels", 0.0), ("kernels", 0.5), ("all", 0.5)):
        model = mlp(2, 2, width=8, seed=0)
        for v in model.trainable_variables:
            v.assign(v + 0.1)
        values = {v.path: v.numpy().astype(float) for v in model.trainable_variables}
        settings = BilevelSettings(4, weight_decay=decay, weight_decay_scope=scope)
        losses[scope, decay] = make_trainer(model=model, settings=settings).train(1)["loss"]
        models[scope, decay] = values
    values = models["all", 0.5]
    kernels = sum((v**2).sum() for k, v in values.items() if "kernel" in k)
    biases = sum((v**2).sum() for k, v in values.items() if "bias" in k)
    base = losses["kernels", 0.0]
    np.testing.assert_allclose(losses["kernels", 0.5] - base, 0.25 * kernels, rtol=1e-5)
    np.testing.assert_allclose(losses["all", 0.5] - base, 0.25 * (kernels + biases), rtol=1e-5)
    with pytest.raises(ValueError, match=r"`weight_decay_scope` must be one of .*'most'"):
        BilevelSettings(weight_decay_scope="most")


@pytest.mark.parametrize("scope", ["kernels", "all"])
def test_the_ridge_of_h_is_the_curvature_of_weight_decay(scope):
    model = mlp(2, 3, width=4, seed=0)
    for made in (
        LastLayer(model, l2=0.3, l2_scope=scope),
        LastLayer(model, l2=0.3, l2_scope=scope, include_bias=False),
        Subnetwork(model, "all", l2=0.3, l2_scope=scope),
    ):
        values = [tf.convert_to_tensor(v.value) for v in made.variables]
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(values)
            with tf.GradientTape() as inner:
                inner.watch(values)
                decayed = [
                    x for x, v in zip(values, made.variables, strict=True) if is_decayed(v, scope)
                ]
                penalty = 0.3 * objective.l2_penalty(decayed)
            slopes = inner.gradient(penalty, values, unconnected_gradients="zero")
        # The penalty is separable: its Hessian is this diagonal.
        diagonal = [
            outer.gradient(slope, x, unconnected_gradients="zero")
            for slope, x in zip(slopes, values, strict=True)
        ]
        expected = tf.concat([tf.reshape(d, [-1]) for d in diagonal], 0)
        np.testing.assert_allclose(made.ridge(), expected, rtol=1e-6)


# ---------------------------------------------------------------- the average


def test_an_average_of_all_holds_the_statistics_and_evaluation_uses_them():
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=2, batch_norm_decay=0.5)
    statistics = batch_norm_statistics(model)
    assert len(statistics) == 2 * 7
    ema = ExponentialMovingAverage(model.trainable_variables, 0.75, statistics)
    live = ExponentialMovingAverage(model.trainable_variables, 0.75)
    before = [v.numpy() for v in ema.averaged]
    rng = np.random.default_rng(0)
    for v in ema.averaged:
        v.assign(v + rng.uniform(0, 1, v.shape))
    ema.update()
    live.update()
    for old, new, average in zip(before, ema.averaged, ema.variables, strict=True):
        np.testing.assert_allclose(average, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-6)
    images = rng.integers(0, 256, [6, 8, 8, 1]).astype(np.uint8)
    raw = [v.numpy() for v in model.variables]
    found = Evaluator(model, ema, clean_view, 6).logits(images)
    with_live_statistics = Evaluator(model, live, clean_view, 6).logits(images)
    for v, new in zip(model.variables, raw, strict=True):
        np.testing.assert_array_equal(v, new, err_msg="evaluation restores what it replaced")
    for params, expected in ((ema.params, with_live_statistics), (ema.averaged, found)):
        for v, average in zip(params, ema.variables, strict=False):
            v.assign(average.value)
        by_hand = model(clean_view(images), training=False)["logits"]
        np.testing.assert_allclose(expected, by_hand, rtol=1e-4, atol=1e-5)
    assert np.abs(found - with_live_statistics).max() > 1e-3


def test_decay_zero_is_the_raw_model():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    ema = ExponentialMovingAverage(variables[:1], 0.0, variables[1:])
    for v in variables:
        v.assign(v * 1.1)
    ema.update()
    for v, average in zip(variables, ema.in_place_of(variables), strict=True):
        assert average is not v
        np.testing.assert_array_equal(v.numpy(), average.numpy())


# ---------------------------------------------------------------- interleaving


def test_turns_are_a_transposition_and_come_back():
    order = interleave_order(960, 15)
    i, j = np.divmod(np.arange(960), 15)
    assert (order[j * 64 + i] == np.arange(960)).all(), "j N/n + i takes i n + j"
    assert (order[np.argsort(order)] == np.arange(960)).all()
    kinds = np.digitize(order, [64, 512])
    halves = [np.bincount(half).tolist() for half in np.split(kinds, 2)]
    assert halves == [[36, 236, 208], [28, 212, 240]], "measured on the reference"
    with pytest.raises(ValueError, match=r"multiple of `groups`. Received: size=960, groups=7"):
        interleave_order(960, 7)


class Remembering(Net):
    def __call__(self, inputs, **options):
        self.inputs = inputs
        return super().__call__(inputs, **options)


@pytest.mark.parametrize(
    "make", [FixMatch, lambda **k: UDA(**k, entropy_coefficient=0.1)], ids=["fixmatch", "uda"]
)
def test_interleaved_views_give_the_same_rows_from_other_places(make):
    plain, mixed = Remembering(), Remembering()
    expected = make(threshold=0.5)(plain, LABELED, UNLABELED, STEP)
    rows = make(threshold=0.5, interleave=True)(mixed, LABELED, UNLABELED, STEP)
    for name in ("loss", "coefficient", "mask", "ids", "features", "logits", "confidence"):
        np.testing.assert_allclose(getattr(rows, name), getattr(expected, name), rtol=1e-5)
    order = interleave_order(B + 2 * U, (B + 2 * U) // B)
    np.testing.assert_array_equal(mixed.inputs, plain.inputs.numpy()[order])
    there, here = rows.positions.numpy(), expected.positions.numpy()
    assert ((there < 0) == (here < 0)).all() and (there != here).mean() > 0.5
    has = here >= 0
    np.testing.assert_array_equal(mixed.inputs.numpy()[there[has]], plain.inputs.numpy()[here[has]])


@pytest.mark.parametrize("make", [FixMatch, UDA])
def test_weak_views_by_themselves_give_the_same_rows_and_no_backward_pass(make):
    rows_of = {}
    for separate in (False, True):
        net, weak = Net(), tf.identity(UNLABELED.weak)
        with tf.GradientTape() as tape:
            tape.watch(weak)
            batch = UNLABELED._replace(weak=weak)
            rows = make(threshold=0.5, separate_weak=separate)(net, LABELED, batch, STEP)
            total = tf.reduce_sum(rows.loss * rows.mask)
        rows_of[separate] = rows, net.calls, tape.gradient(total, weak)
    (joint, _, passed), (apart, calls, not_passed) = rows_of[False], rows_of[True]
    for name in ("loss", "coefficient", "mask", "ids", "features", "logits", "confidence"):
        np.testing.assert_allclose(getattr(apart, name), getattr(joint, name), rtol=1e-5)
    assert calls == [(U, False, True), (B + U, True, True)] and apart.positions is None
    assert not passed.numpy().any() and not_passed is None


def test_weak_views_that_learn_or_are_dealt_out_pass_with_the_others():
    with pytest.raises(ValueError, match=r"`separate_weak` must be False.*entropy_coeff.*=0.1"):
        UDA(separate_weak=True, entropy_coefficient=0.1)
    with pytest.raises(ValueError, match="must not both be given"):
        FixMatch(separate_weak=True, interleave=True)(Net(), LABELED, UNLABELED, STEP)


def test_batches_that_cannot_be_dealt_out_are_refused():
    three = type(LABELED)(LABELED.inputs[:3], LABELED.label[:3])
    with pytest.raises(ValueError, match=r"B dividing 2 U. Received: B=3, B \+ 2 U=19"):
        FixMatch(interleave=True)(Net(), three, UNLABELED, STEP)


# ---------------------------------------------------------------- UDA


def test_uda_must_exceed_the_threshold_where_fixmatch_may_equal_it():
    confidence = tf.reduce_max(tf.nn.softmax(Net()(UNLABELED.weak)["logits"]), 1).numpy()
    threshold = float(np.sort(confidence)[3])
    masks = [
        make(threshold=threshold)(Net(), LABELED, UNLABELED, STEP).mask[B:].numpy()
        for make in (UDA, lambda **k: UDA(strict=False, **k), FixMatch)
    ]
    assert [int(mask.sum()) for mask in masks] == [U - 4, U - 3, U - 3]
    np.testing.assert_array_equal(masks[0], confidence > np.float32(threshold))


def test_the_mask_looks_at_p_before_the_temperature():
    p = softmax(logits(UNLABELED.weak)).max(1)
    sharp = softmax(logits(UNLABELED.weak) / 0.4).max(1)
    threshold = (p.min() + sharp.min()) / 2
    assert (sharp > threshold).sum() > (p > threshold).sum()
    algorithm = UDA(threshold=threshold, temperature=0.4)
    mask = algorithm(Net(), LABELED, UNLABELED, STEP).mask[B:].numpy()
    np.testing.assert_array_equal(mask, p > threshold)


def test_annealing_s_coefficient_is_capped_and_log_goes_on_rising():
    at = {
        name: float(tsa_threshold(name, tf.constant(200), 100, 10))
        for name in ("linear", "exp", "log")
    }
    assert at["linear"] == at["exp"] == 1
    np.testing.assert_allclose(at["log"], 0.1 + 0.9 * (1 - np.exp(-10)), rtol=1e-6)

"""VAT, Mean-Teacher, MixMatch, ReMixMatch and UDA's further terms against hand-worked numbers.

The net is a fixed linear map of 4x4 images, so that each formula can be written again in numpy.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from linear_net import (
    ANGLE,
    LABELED,
    MAKERS,
    STEP,
    UNLABELED,
    B,
    C,
    D,
    Net,
    U,
    W,
    cross_entropy,
    entropy,
    images,
    logits,
    rows_of,
    softmax,
)
from ssl_weighting_upstream.fixmatch_interleave import group_order
from ssl_weighting_upstream.uda_tsa import tsa_mask, tsa_threshold

from ssl_weighting import losses, objective
from ssl_weighting.algorithms import ALGORITHMS, UDA, VAT, PseudoLabel, make_algorithm
from ssl_weighting.algorithms.mixup import grouped_forward, mixup
from ssl_weighting.algorithms.remixmatch import BUFFER, turn_quarters

LABELED_LOSS = cross_entropy(np.eye(C)[LABELED.label], logits(LABELED.inputs))
P_WEAK = softmax(logits(UNLABELED.weak))
P_STRONG = softmax(logits(UNLABELED.strong))


def close(ours, expected, rtol=1e-4):
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=1e-6)


def test_mean_teacher_pulls_one_weak_view_towards_the_teacher_s_other():
    rows, net = rows_of("mean_teacher", wu=50.0, ramp_steps=6)
    close(rows.loss, np.r_[LABELED_LOSS, ((P_STRONG - P_WEAK) ** 2).mean(1)])
    close(rows.coefficient, np.r_[np.full(B, 1 / B), np.full(U, 50 * 0.5 / U)])
    assert net.calls == [(B + U, True, True)]
    assert rows.ids[B:, 0].numpy().tolist() == UNLABELED.ids.numpy().tolist()


def test_vat_s_rows_are_labels_divergence_and_entropy():
    rows, net = rows_of("vat", vat_epsilon=1.5, xi=1e-2)
    assert net.calls[-1] == (B + 2 * U, True, True)
    assert all(call == (U, False, False) for call in net.calls[:-1]) and len(net.calls) == 3
    moved = rows.logits[B : B + U].numpy().astype(np.float64)
    p = softmax(moved)
    divergence = (p * (np.log(p) - np.log(P_WEAK))).sum(1)
    close(rows.loss, np.r_[LABELED_LOSS, divergence, entropy(logits(UNLABELED.weak))], 1e-3)
    close(rows.coefficient[B:], np.r_[np.full(U, 0.3 / U), np.full(U, 0.06 / U)])
    ids = UNLABELED.ids.numpy().tolist()
    assert rows.ids[B:, 0].numpy().tolist() == ids * 2, "lambda multiplies both terms"
    shift = rows.features[B : B + U] - tf.reshape(UNLABELED.weak, [U, D])
    np.testing.assert_allclose(np.linalg.norm(shift, axis=1), 1.5, rtol=1e-4)


def test_vat_s_direction_is_the_gradient_of_the_divergence():
    vat, u = VAT(xi=1e-4, seed=3), tf.cast(UNLABELED.weak, tf.float64)
    z = tf.constant(logits(u))
    found = vat.direction(Net(), u, z, STEP).numpy().reshape(U, D)
    key = tf.constant([3, 3], tf.int64)
    d = (
        tf.random.stateless_normal(u.shape, key, dtype=tf.float64, alg="philox")
        .numpy()
        .reshape(U, D)
    )
    d /= np.abs(d).max(1, keepdims=True)
    d = 1e-4 * d / np.sqrt(1e-6 + (d**2).sum(1, keepdims=True))
    gradient = (softmax(logits(u) + d @ W) - softmax(logits(u))) @ W.T
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    np.testing.assert_allclose(found, gradient, atol=1e-5)

    # It raises the divergence more than other directions of the same length do on average.
    def divergence(r):
        p, moved = softmax(logits(u)), softmax(logits(u) + r @ W)
        return (p * (np.log(p) - np.log(moved))).sum(1)

    other = np.random.default_rng(0).normal(size=(50, U, D))
    other *= 0.01 / np.linalg.norm(other, axis=2, keepdims=True)
    assert (divergence(0.01 * found) > 1.5 * np.mean([divergence(r) for r in other], axis=0)).all()


def test_uda_s_entropy_term_learns_and_is_weighted_too():
    rows, net = rows_of("uda")
    assert net.calls == [(B + 2 * U, True, True)]
    kl = (P_WEAK * (np.log(P_WEAK) - np.log(P_STRONG))).sum(1)
    close(rows.loss, np.r_[LABELED_LOSS, kl, entropy(logits(UNLABELED.weak))], 1e-3)
    close(rows.coefficient[B + U :], 0.1 / U)
    assert rows.mask[B:].numpy().tolist() == [*(P_WEAK.max(1) > 0.4), *([1.0] * U)]
    assert rows.positions[:, 0].numpy().tolist() == [
        *range(B), *range(B + U, B + 2 * U), *range(B, B + U)
    ]  # fmt: skip


def test_annealing_takes_sure_labels_out_of_the_mean():
    def threshold(schedule, step):
        return float(tsa_threshold(schedule, tf.constant(step), 100, 10))

    for schedule, start, half, end in (
        ("linear", 0.1, 0.55, 1.0),
        ("log", 0.1, 0.1 + 0.9 * (1 - np.exp(-2.5)), 0.1 + 0.9 * (1 - np.exp(-5))),
        ("exp", 0.1 + 0.9 * np.exp(-5), 0.1 + 0.9 * np.exp(-2.5), 1.0),
    ):
        found = [threshold(schedule, step) for step in (0, 50, 100)]
        np.testing.assert_allclose(found, [start, half, end], rtol=1e-6)
    assert tsa_mask(tf.constant([0.2, 0.5, 0.7]), 0.5).numpy().tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match=r"one of linear, log, exp. Received: schedule='cubic'"):
        threshold("cubic", 1)
    algorithm = UDA(tsa="linear", num_steps=6)  # at step 3: 1/3 + 2/3 * 1/2
    rows = algorithm(Net(), LABELED, UNLABELED, STEP)
    right = softmax(logits(LABELED.inputs))[np.arange(B), LABELED.label]
    kept = right <= 2 / 3
    assert 0 < kept.sum() < B
    assert rows.mask[:B].numpy().tolist() == kept.astype(float).tolist()
    close(rows.coefficient[:B], 1 / kept.sum())


def test_mixup_mixes_with_a_permutation_and_stays_nearer_to_the_first():
    n = 4000
    inputs = tf.reshape(tf.range(n, dtype=tf.float32), [n, 1])
    found = mixup(inputs, tf.one_hot(tf.range(n) % C, C), 0.5, 1, STEP)
    share, partner = found.share.numpy(), found.partner.numpy()
    assert sorted(partner) == list(range(n)) and (share >= 0.5).all() and (share <= 1).all()
    expected = share * np.arange(n) + (1 - share) * partner
    np.testing.assert_allclose(found.inputs[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.targets.numpy().sum(1), 1, rtol=1e-5)
    # max(m, 1 - m) of the arcsine law: mean 1/2 + 1/pi.
    np.testing.assert_allclose(share.mean(), 0.5 + 1 / np.pi, atol=0.01)
    again = mixup(inputs, tf.one_hot(tf.range(n) % C, C), 0.5, 1, STEP + 1)
    assert (again.partner.numpy() != partner).mean() > 0.99


def test_groups_swap_as_upstream_and_come_back():
    order = group_order(64, 3)
    np.testing.assert_array_equal(order[order], np.arange(192))
    first = order[:64]
    assert (first[:21] == np.arange(21)).all()
    assert (first[21:42] == 64 + np.arange(21, 42)).all()
    assert (first[42:] == 128 + np.arange(42, 64)).all(), "21, 21, 22"
    net = Net()
    x = images(12)
    outputs, places = grouped_forward(net, x, 4, tracked=1)
    assert net.calls == [(4, True, False), (4, True, True), (4, True, False)]
    np.testing.assert_array_equal(outputs["features"], tf.reshape(x, [12, D]))
    np.testing.assert_array_equal(places, group_order(4, 3))
    with pytest.raises(ValueError, match=r"`unlabeled_ratio` must be whole. Received: 10 rows"):
        grouped_forward(net, images(10), 4, tracked=0)


def mixed_expected(q, beta):
    """What MixUp makes of x, weak, strong with targets y, q, q; inputs from the library's draws."""
    inputs = tf.concat([LABELED.inputs, UNLABELED.weak, UNLABELED.strong], 0)
    targets = np.concatenate([np.eye(C)[LABELED.label], q, q])
    found = mixup(inputs, tf.constant(targets, tf.float32), beta, 1, STEP)
    partner, share = found.partner.numpy(), found.share.numpy()[:, None]
    flat = inputs.numpy().reshape(-1, D)
    mixed = share * flat + (1 - share) * flat[partner]
    return mixed, share * targets + (1 - share) * targets[partner], partner, share[:, 0]


def test_mixmatch_rows():
    rows, net = rows_of("mixmatch")
    mean = (P_WEAK + P_STRONG) / 2
    q = mean**2 / (mean**2).sum(1, keepdims=True)
    x, y, partner, share = mixed_expected(q, 0.5)
    z = logits(x)
    expected = np.r_[cross_entropy(y, z)[:B], ((softmax(z) - y) ** 2).mean(1)[B:]]
    close(rows.loss, expected, 1e-3)
    close(rows.coefficient, np.r_[np.full(B, 1 / B), np.full(2 * U, 100 / (2 * U))])
    ids = np.r_[np.full(B, -1), UNLABELED.ids, UNLABELED.ids]
    np.testing.assert_array_equal(rows.ids, np.stack([ids, ids[partner]], 1))
    close(rows.share, np.stack([share, 1 - share], 1))
    sure = np.r_[np.ones(B), mean.max(1), mean.max(1)]
    close(rows.confidence, np.stack([sure, sure[partner]], 1))
    assert net.calls[:2] == [(U, False, False)] * 2
    assert net.calls[2:] == [(B, True, True)] + [(B, True, False)] * 4
    np.testing.assert_array_equal(rows.positions[:, 0], group_order(B, 5))


def test_remixmatch_rows_and_memory():
    algorithm, net = MAKERS["remixmatch"](), Net()
    algorithm.p_data.assign([0.5, 0.3, 0.2])
    algorithm.guesses.assign(np.tile([0.2, 0.2, 0.6], [BUFFER, 1]))
    rows = algorithm(net, LABELED, UNLABELED, STEP)
    q = P_WEAK * (1e-6 + np.array([0.5, 0.3, 0.2])) / (1e-6 + np.array([0.2, 0.2, 0.6]))
    q = (q / q.sum(1, keepdims=True)) ** 2
    q /= q.sum(1, keepdims=True)
    x, y, _, _ = mixed_expected(q, 0.75)
    turned = turn_quarters(UNLABELED.strong)
    angle = cross_entropy(np.eye(4)[np.repeat(range(4), U // 4)], logits(turned, ANGLE))
    strong = cross_entropy(q, logits(UNLABELED.strong))
    close(rows.loss, np.r_[cross_entropy(y, logits(x)), strong, angle], 1e-3)
    parts = ((B, 1 / B), (2 * U, 1.5 / (2 * U)), (U, 0.5 / U), (U, 0.5 / U))
    close(rows.coefficient, np.concatenate([np.full(n, value) for n, value in parts]))
    assert net.calls[0] == (U, False, False)
    assert [call[2] for call in net.calls[1:]] == [False] * 4 + [True] + [False] * 2
    algorithm.remember(rows.memory)
    frequencies = np.bincount(LABELED.label, minlength=C) / B
    close(algorithm.p_data.value, 0.999 * np.array([0.5, 0.3, 0.2]) + 0.001 * frequencies)
    close(algorithm.guesses.value[0], P_WEAK.mean(0))
    close(algorithm.guesses.value[1], [0.2, 0.2, 0.6])
    assert int(algorithm.place.value) == 1
    for _ in range(BUFFER):
        algorithm.remember(rows.memory)
    assert int(algorithm.place.value) == 1
    # The angle says nothing about the class logits.
    gradient = losses.logit_gradient(rows.loss_of_logits, rows.logits)
    assert (gradient[-U:].numpy() == 0).all() and (gradient[:-U].numpy() != 0).any()


def test_quarters_are_turned_as_numpy_turns_them():
    x = images(8)
    expected = [
        np.rot90(x[2 * k : 2 * k + 2], turns, (1, 2)) for k, turns in enumerate((0, 2, 1, 3))
    ]
    np.testing.assert_array_equal(turn_quarters(x), np.concatenate(expected))
    with pytest.raises(ValueError, match=r"multiple of 4. Received: shape \(6, 4, 4, 1\)"):
        turn_quarters(images(6))
    with pytest.raises(ValueError, match=r"square images"):
        turn_quarters(tf.zeros([8, 4, 5, 1]))


def test_the_release_s_broadcast_mask_is_a_product_of_means():
    whole, broadcast = (
        PseudoLabel(threshold=0.7, broadcast_mask=on)(Net(), LABELED, UNLABELED, STEP)
        for on in (False, True)
    )
    mask, loss = (
        (P_WEAK.max(1) > 0.7).astype(float),
        cross_entropy(np.eye(C)[P_WEAK.argmax(1)], np.log(P_WEAK)),
    )
    unlabeled = [
        float(tf.reduce_sum((rows.coefficient * rows.mask * rows.loss)[B:]))
        for rows in (whole, broadcast)
    ]
    np.testing.assert_allclose(unlabeled, [(mask * loss).mean(), mask.mean() * loss.mean()], 1e-5)
    assert abs(unlabeled[0] - unlabeled[1]) > 1e-3


@pytest.mark.parametrize("name", list(MAKERS))
def test_targets_carry_no_gradient_into_the_rows_of_others(name):
    rows, _ = rows_of(name)
    table = tf.ones([B * 20, 2])[: rows.loss.shape[0]]
    base = objective.weighted_objective(rows, None)
    weighted = objective.weighted_objective(rows, objective.row_weights(rows, table))
    np.testing.assert_allclose(base, weighted, rtol=1e-6)
    again = rows.loss_of_logits(rows.logits)
    np.testing.assert_array_equal(again, rows.loss)


def test_every_algorithm_is_made_with_what_it_takes():
    for name in ALGORITHMS:
        settings = {"teacher": Net(), "num_classes": C, "seed": 4}
        made = make_algorithm(name, **settings)
        assert type(made) is ALGORITHMS[name]
        assert getattr(made, "seed", 4) == 4


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "supervised"])
def test_without_wu_takes_out_wu_and_its_ramp_and_nothing_else(name):
    """At step 3 of 6 a wu of 2 is 1; entropy, KL and rotations keep their own coefficients."""
    make = MAKERS.get(name, functools.partial(make_algorithm, name))
    one, seven = (make(wu=wu, ramp_steps=6)(Net(), LABELED, UNLABELED, STEP) for wu in (2.0, 7.0))
    close(one.without_wu, one.coefficient)
    close(seven.without_wu, one.coefficient)
    assert (seven.coefficient > 3 * one.coefficient).numpy().any()
    start = make(wu=7.0, ramp_steps=6)(Net(), LABELED, UNLABELED, 0 * STEP)
    assert start.without_wu[B] == seven.without_wu[B] > start.coefficient[B] == 0

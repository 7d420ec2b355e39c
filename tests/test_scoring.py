"""Scores of examples that no run has seen: equal to training's, to hand formulas, to retraining."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from scipy.special import log_softmax, softmax

from ssl_weighting import scoring
from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStep, LambdaStepSettings, make_parameters
from ssl_weighting.models import wide_resnet
from ssl_weighting.scoring import Scorer, final_direction, keys_of, views_of
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.weight_store import WeightStore

ANY = SolveOptions(damping=0.1, iterations=50)


def scored_as_in_training(algorithm, **switches):
    """Return (scores, training's own gradient) of the batch of the next Lambda-step."""
    settings = LambdaStepSettings(solve=ANY, infl_bn="moving", **switches)
    trainer = tiny.run(tiny.make_trainer(algorithm=algorithm, lambda_settings=settings), 9)
    measured = trainer.measure()
    batch = trainer.lambda_source.at(trainer.lambda_steps)
    v = trainer.validation_at(0)
    halves = [tf.nest.map_structure(lambda x, s=s: x[s], v) for s in (slice(7), slice(7, None))]
    direction = final_direction(trainer._lambda_step, batch, halves, trainer.step)
    assert direction.finite
    np.testing.assert_allclose(direction.vector, measured.val_direction, rtol=1e-4, atol=1e-5)
    made = trainer.parameters, trainer.algorithm, direction.vector, trainer.step
    scorer = Scorer(*made, batch=16, infl_mask_grad=settings.infl_mask_grad)
    _, unlabeled = batch
    return scorer.scores(unlabeled.weak, unlabeled.strong), unlabeled.ids.numpy(), measured


@pytest.mark.parametrize(
    ("algorithm", "switches"),
    [
        ("fixmatch", {}),
        ("fixmatch", {"compiled": True}),
        ("uda", {"inverse_hessian": "conjugate_gradient"}),
        ("pseudo_label", {"infl_mask_grad": False, "theta_hat": "kernel"}),
        pytest.param("uda", {"influence_params": "all"}, marks=pytest.mark.slow),
    ],
)
def test_scores_are_the_lambda_gradient_of_training(algorithm, switches, monkeypatch):
    switches = dict(switches)
    if switches.pop("compiled", False):
        monkeypatch.setattr(scoring, "EAGER", 0)  # as of a large batch
    scored, ids, measured = scored_as_in_training(algorithm, **switches)
    assert list(measured.ids.numpy()) == list(ids)
    expected = measured.lam_gradient.numpy()
    np.testing.assert_allclose(
        scored.influence, expected, rtol=0, atol=2e-6 * np.abs(expected).max()
    )
    assert np.ptp(expected) > 0


class Linear:
    """A head on points without a hidden layer, beside the same in float64."""

    def __init__(self, kernel, bias):
        x = keras.Input([2])
        self.model = keras.Model(x, keras.layers.Dense(3, name="head")(x))
        self.model.set_weights([kernel, bias])
        self.theta = np.concatenate([kernel, bias[None]]).astype(np.float64)

    def logits(self, x, theta=None):
        return with_one(x) @ (self.theta if theta is None else theta)


def with_one(x):
    return np.concatenate([np.asarray(x, np.float64), np.ones([len(x), 1])], axis=1)


def points(seed, count):
    return np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)


D, Y = points(1, 9), np.arange(9, dtype=np.int32) % 3
U, V, PILE = points(2, 14), points(3, 11), points(4, 24)
LABELS_OF_V = np.arange(11, dtype=np.int32) % 3
WU, L2 = 1.7, 0.05


def settings_of(damping, **switches):
    return LambdaStepSettings(
        solve=SolveOptions(damping=damping), infl_bn="moving", hess_l2_coeff=L2, **switches
    )


def scored(net, algorithm, settings, pile, strong):
    parameters = make_parameters(net.model, settings, L2, "all")
    store = WeightStore(len(U), "fixed")
    step = LambdaStep(net.model, algorithm, store, settings, L2, parameters=parameters)
    ids = tf.range(len(U), dtype=tf.int64)
    batch = LabeledBatch(tf.constant(D), tf.constant(Y)), UnlabeledBatch(ids, U, U * 0.9)
    v = [LabeledBatch(tf.constant(V), tf.constant(LABELS_OF_V))]
    direction = final_direction(step, batch, v, 0)
    return direction, Scorer(parameters, algorithm, direction.vector, 0, batch=4).scores(
        pile, strong
    )


def hard(logits):
    return np.eye(3)[logits.argmax(axis=1)]


def gradient_of_v(net, theta=None):
    p = softmax(net.logits(V, theta), axis=1) - np.eye(3)[LABELS_OF_V]
    return (with_one(V).T @ p / len(V)).ravel()


def test_scores_are_the_hand_formula():
    rng = np.random.default_rng(0)
    kernel, bias = (rng.normal(size=s).astype(np.float32) for s in ([2, 3], [3]))
    net = Linear(kernel, bias)
    algorithm = make_algorithm("fixmatch", threshold=0.6, wu=WU)
    strong = PILE + np.float32(0.3)
    sure = softmax(net.logits(U), axis=1).max(axis=1) >= 0.6
    assert 0 < sure.sum() < len(U)
    direction, found = scored(net, algorithm, settings_of(0.1), PILE, strong)
    # The mask is in H as well: leave masked rows out of it.
    h = np.zeros([9, 9])
    for x, keep, factor in (
        (D, np.ones(len(D)), 1 / len(D)),
        (U * np.float32(0.9), sure, WU / len(U)),
    ):
        for phi, p, k in zip(with_one(x), softmax(net.logits(x), axis=1), keep, strict=True):
            h += k * factor * np.kron(np.outer(phi, phi), np.diag(p) - np.outer(p, p))
    v = np.linalg.solve(h + (L2 + 0.1) * np.eye(9), gradient_of_v(net))
    assert direction.vector.dtype == np.float64
    np.testing.assert_allclose(direction.vector, v, rtol=2e-5)
    weak, z = net.logits(PILE), net.logits(strong)
    confidence = softmax(weak, axis=1).max(axis=1)
    delta = softmax(z, axis=1) - hard(weak)
    dots = np.einsum("ni,nc,ic->n", with_one(strong), delta, v.reshape(3, 3))
    expected = -WU * (confidence >= 0.6) * dots
    np.testing.assert_allclose(found.influence, expected, rtol=2e-5, atol=1e-7)
    assert (expected == 0).any() and (expected != 0).sum() > 1
    assert list(found.pseudo_label) == list(weak.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, confidence, rtol=1e-6)
    loss = -(hard(weak) * log_softmax(z, axis=1)).sum(axis=1)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5, atol=1e-6)


def retrained(net, targets, extra=None, lam=0.0):
    """Return the minimiser of the objective, with a further example under weight `lam`, [3, 3]."""
    theta, strong = net.theta.copy(), U * np.float32(0.9)
    terms = [(D, np.eye(3)[Y], 1 / len(D)), (strong, targets, WU / len(U))]
    if extra is not None:
        terms.append((*extra, lam * WU / len(U)))
    for _ in range(60):
        g, h = L2 * theta.ravel(), L2 * np.eye(9)
        for x, t, factor in terms:
            p, phi = softmax(net.logits(x, theta), axis=1), with_one(x)
            g = g + factor * (phi.T @ (p - t)).ravel()
            for row, q in zip(phi, p, strict=True):
                h = h + factor * np.kron(np.outer(row, row), np.diag(q) - np.outer(q, q))
        theta = theta - np.linalg.solve(h, g).reshape(3, 3)
    return theta


def loss_of_v(net, theta):
    return -log_softmax(net.logits(V, theta), axis=1)[np.arange(len(V)), LABELS_OF_V].mean()


def test_scores_tell_what_retraining_with_the_example_does():
    net = Linear(points(5, 3).T[:, :3], np.zeros(3, np.float32))
    for _ in range(20):  # pseudo-labels that the minimiser itself gives
        best = retrained(net, hard(net.logits(U)))
        net = Linear(best[:2].astype(np.float32), best[2].astype(np.float32))
    targets = hard(net.logits(U))
    np.testing.assert_allclose(retrained(net, targets), net.theta, atol=1e-6)
    algorithm = make_algorithm("fixmatch", threshold=0.0, wu=WU)
    _, found = scored(net, algorithm, settings_of(0.0), PILE, PILE)
    h = 1e-3
    for k in range(3):
        extra = PILE[k : k + 1], hard(net.logits(PILE[k : k + 1]))
        up, down = (loss_of_v(net, retrained(net, targets, extra, lam)) for lam in (h, -h))
        slope = len(U) * (up - down) / (2 * h)  # reported without 1/U
        assert found.influence[k] == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("params", ["last_layer", "head"])
def test_a_score_depends_on_neither_its_batch_nor_its_place(params):
    keras.utils.set_random_seed(0)
    net = wide_resnet((8, 8, 3), 4, depth=10, width=1, base_filters=8, seed=0)
    for variable in net.non_trainable_variables:  # moving statistics of some training
        variable.assign(variable.value + 0.1)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (21, 8, 8, 3), np.uint8)
    names = [f"sub/{k}.png" for k in range(21)]
    parameters = make_parameters(
        net, LambdaStepSettings(infl_bn="moving", influence_params=params), 0.0
    )
    views = views_of(Augmentation.fixmatch(flip=True), 3)
    v = rng.normal(size=parameters.size).astype(parameters.dtype)
    algorithm = make_algorithm("fixmatch", threshold=0.0, interleave=True)
    scorer = Scorer(parameters, algorithm, v, 5, batch=16)
    order = rng.permutation(21)

    def of(rows):
        chosen = images[rows], keys_of([names[k] for k in rows])
        full = [np.concatenate([x, x[:1].repeat(-len(x) % 16, axis=0)]) for x in chosen]
        parts = [views(*(x[k : k + 16] for x in full)) for k in range(0, len(full[0]), 16)]
        weak, strong = (np.concatenate(x)[: len(rows)] for x in zip(*parts, strict=True))
        return scorer.scores(weak, strong)

    whole = of(np.arange(21))
    for rows in (order, [4], [20], np.arange(20, -1, -1), [3, 3, 17]):
        for values, expected in zip(of(rows), whole, strict=True):
            np.testing.assert_array_equal(values, expected[np.asarray(rows)])
    assert len(np.unique(whole.influence)) == 21  # every picture has draws of its own
    assert whole.influence.dtype == np.float32 and whole.pseudo_label.dtype == np.int64


def test_keys_are_those_of_names():
    # python -c "import hashlib; print(int(hashlib.sha256(b'a').hexdigest()[:16], 16) >> 1)"
    assert keys_of(["a", "b", "a"]).tolist() == [
        0xCA978112CA1BBDCA >> 1, 0x3E23E8160039594A >> 1, 0xCA978112CA1BBDCA >> 1,
    ]  # fmt: skip


def test_what_ties_examples_together_is_refused():
    net = wide_resnet((8, 8, 3), 4, depth=10, width=1, base_filters=8, seed=0)
    moving = make_parameters(net, LambdaStepSettings(infl_bn="moving"), 0.0)
    v = np.ones(moving.size)
    fixmatch = make_algorithm("fixmatch")
    with pytest.raises(ValueError, match=r"batch_norm='moving'.*Received: batch_norm='batch'"):
        Scorer(make_parameters(net, LambdaStepSettings(), 0.0), fixmatch, v, 0)
    with pytest.raises(ValueError, match=rf"must be {moving.size} finite numbers.*float64.3"):
        Scorer(moving, fixmatch, np.ones(3), 0)
    with pytest.raises(ValueError, match="finite numbers"):
        Scorer(moving, fixmatch, v * np.nan, 0)
    with pytest.raises(ValueError, match=r"one of pseudo_label, uda, fixmatch.*Supervised"):
        Scorer(moving, make_algorithm("supervised"), v, 0)
    with pytest.raises(ValueError, match="must mask each row by itself"):
        Scorer(moving, make_algorithm("pseudo_label", broadcast_mask=True), v, 0)
    with pytest.raises(ValueError, match="`batch`"):
        Scorer(moving, fixmatch, v, 0, batch=0)

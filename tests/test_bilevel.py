"""Alg. 1: order of steps, the base algorithm at lambda = 1, Eq. 6 end to end, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from tiny import NUM_UNLABELED, TinySource, damped, make_trainer, run
from trainer_states import shared

from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.algorithms.rows import softmax_rows
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.models import mlp, wide_resnet
from ssl_weighting.theta.step import NonFiniteError

fresh = shared(make_trainer)


def params(trainer):
    return [np.array(p.value) for p in trainer.params]


@pytest.mark.parametrize("algorithm", ["uda", "fixmatch", "pseudo_label"])
def test_lambda_fixed_at_one_is_the_base_algorithm_bit_for_bit(algorithm):
    trainer = run(make_trainer("fixed", algorithm), 12)
    # The base algorithm written without any weight: mean losses, Keras' own training step.
    model = mlp(2, 2, width=8, seed=0)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    base, source = make_algorithm(algorithm, threshold=0.0), TinySource()

    @tf.function
    def step(labeled, unlabeled, k):
        with tf.GradientTape() as tape:
            rows = base(lambda x: model(x, training=True), labeled, unlabeled, k)
            loss = tf.reduce_sum(rows.coefficient * rows.mask * rows.loss)
        values = [p.value for p in model.trainable_variables]
        optimizer.apply(tape.gradient(loss, values), model.trainable_variables)

    for k in range(12):
        step(*source.at(k), tf.constant(k, tf.int64))
    for ours, theirs in zip(params(trainer), model.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_learned_weights_before_the_first_update_do_not_change_training():
    fixed, learned = run(fresh("fixed"), 4), run(fresh(), 4)
    for a, b in zip(params(fixed), params(learned), strict=True):
        np.testing.assert_array_equal(a, b)
    run(fixed, 12), run(learned, 12)
    assert any((a != b).any() for a, b in zip(params(fixed), params(learned), strict=True))


def test_zero_weights_leave_the_supervised_gradient():
    zero, supervised = run(make_trainer("zero"), 8), run(make_trainer("fixed", "supervised"), 8)
    for a, b in zip(params(zero), params(supervised), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    "settings, due",
    [
        (BilevelSettings(inner_steps=3), [3, 6, 9]),
        (BilevelSettings(inner_steps=3, lambda_at_start=True), [0, 3, 6, 9]),
        (BilevelSettings(inner_steps=4, lambda_warmup_steps=2), [6, 10]),
        (BilevelSettings(inner_steps=4, lambda_warmup_steps=2, lambda_at_start=True), [2, 6, 10]),
    ],
)
def test_lambda_steps_fall_due_after_every_n_theta_steps(settings, due):
    assert [k for k in range(12) if settings.lambda_due(k)] == due


def test_lambda_pass_changes_nothing_but_the_weights_of_its_batch():
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=8, batch_norm_decay=0.9)

    class Images(TinySource):
        def __init__(self):
            super().__init__()
            rng = np.random.default_rng(3)
            self.x = rng.normal(size=(len(self.x), 8, 8, 1)).astype("f")

    trainer = make_trainer(model=model, algorithm="fixmatch")
    trainer.theta.source = trainer.lambda_source = Images()
    trainer.validation_at = Images().validation_at
    trainer.train(4)
    before = [np.array(v.value) for v in [*model.variables, *trainer.optimizer.variables]]
    report = trainer.lambda_step()
    after = [np.array(v.value) for v in [*model.variables, *trainer.optimizer.variables]]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    lam = trainer.store.table().numpy()
    moved = np.flatnonzero(lam != 1)
    assert set(moved) <= set(range(20)) and len(moved) > 10
    assert report["finite"] and not report["skipped"] and report["residual"] < 1e-10


@pytest.mark.parametrize("batch_norm", ["batch", "moving"])
def test_batch_norm_mode_of_the_lambda_pass(batch_norm):
    model = wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=2)
    images = tf.random.stateless_normal([6, 8, 8, 1], [1, 2])
    trainer = make_trainer(model=model, lambda_settings=LambdaStepSettings(infl_bn=batch_norm))
    ours = trainer.parameters.forward(images)["logits"].numpy()
    statistics = [np.array(v.value) for v in model.non_trainable_variables]
    expected = model(images, training=batch_norm == "batch")["logits"].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    if batch_norm == "batch":  # only the second call moved them
        moved = [np.array(v.value) for v in model.non_trainable_variables]
        assert any((a != b).any() for a, b in zip(statistics, moved, strict=True))


def linear_model():
    inputs = keras.Input([2])
    features = keras.layers.Identity(name="features")(inputs)
    logits = keras.layers.Dense(2, name="head")(features)
    return keras.Model(inputs, {"features": features, "logits": logits})


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class ConvexHead:
    """A linear model on one batch with frozen soft targets, re-solved in numpy for any weights."""

    ridge, wu = 0.2, 0.8

    def __init__(self):
        source = TinySource(batch=10)
        self.labeled, self.unlabeled = source.at(0)
        self.validation = source.validation_at(0)
        rng = np.random.default_rng(5)
        self.lam = rng.uniform(0.3, 1.7, NUM_UNLABELED).astype("f")
        self.mask = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1.0])
        self.targets = rng.dirichlet(np.ones(2), 10).astype("f")

    def algorithm(self, forward, labeled, unlabeled, step):
        return softmax_rows(
            labeled,
            forward(tf.concat([labeled.inputs, unlabeled.strong], 0)),
            targets=tf.constant(self.targets),
            ids=unlabeled.ids,
            mask=tf.constant(self.mask, tf.float32),
            confidence=tf.ones(10),
            wu=self.wu,
        )

    def solve(self, lam):
        phi = np.concatenate([self.labeled.inputs, self.unlabeled.strong]).astype(float)
        phi = np.c_[phi, np.ones(22)]
        q = np.concatenate([np.eye(2)[self.labeled.label], self.targets])
        factor = np.r_[np.full(12, 1 / 12), self.wu / 10 * self.mask * lam[self.unlabeled.ids]]
        theta = np.zeros((3, 2))
        for _ in range(60):
            p = softmax(phi @ theta)
            g = phi.T @ (factor[:, None] * (p - q)) + self.ridge * theta
            s = np.einsum("rc,cd->rcd", p, np.eye(2)) - p[:, :, None] * p[:, None]
            h = np.einsum("r,ri,rj,rcd->icjd", factor, phi, phi, s).reshape(6, 6)
            theta = theta - np.linalg.solve(h + self.ridge * np.eye(6), g.ravel()).reshape(3, 2)
        assert np.abs(g).max() < 1e-12
        return theta

    def validation_loss(self, lam):
        p = softmax(np.c_[self.validation.inputs, np.ones(20)].astype(float) @ self.solve(lam))
        return -np.log(p[np.arange(20), self.validation.label]).mean()

    def central_difference(self, u, step=1e-4):
        up, down = self.lam.astype(float), self.lam.astype(float)
        up[u] += step
        down[u] -= step
        return (self.validation_loss(up) - self.validation_loss(down)) / (2 * step)


@pytest.mark.parametrize("infl_mask_grad", [True, False])
def test_measured_influence_equals_retraining_the_head(infl_mask_grad):
    """The whole Lambda-pass on a convex problem, float32 model, against re-solved optima."""
    problem, model = ConvexHead(), linear_model()
    optimum, head = problem.solve(problem.lam), model.get_layer("head")
    head.kernel.assign(optimum[:2]), head.bias.assign(optimum[2])
    settings = damped(problem.ridge, infl_mask_grad=infl_mask_grad)
    trainer = make_trainer(model=model, lambda_settings=settings)
    trainer._lambda_step.algorithm = problem.algorithm
    trainer.store.lam.assign(problem.lam)
    measured = trainer._lambda_step.measure(
        problem.labeled, problem.unlabeled, problem.validation, 0
    )
    assert measured.ids.numpy().tolist() == list(range(10))
    # Reported per d l_U with wu in it; the objective has another 1/U.
    ours = measured.lam_gradient.numpy() / 10
    if not infl_mask_grad:
        assert ours[3] != 0
        ours = ours * problem.mask
    numeric = np.array([problem.central_difference(u) for u in range(10)])
    error = np.linalg.norm(ours - numeric) / np.linalg.norm(numeric)
    assert error < 1e-4, error


def test_hess_wu_chooses_the_unlabeled_coefficient_of_the_hessian():
    """hess_wu=False gives the unlabeled mean the coefficient 1 inside H."""
    results = {}
    for wu in (1.0, 0.5):
        for hess_wu in (True, False):
            trainer = make_trainer(lambda_settings=LambdaStepSettings(hess_wu=hess_wu))
            trainer._lambda_step.algorithm = make_algorithm("uda", wu=wu)
            labeled, unlabeled = TinySource().at(0)
            m = trainer._lambda_step._measure_fn(
                labeled, unlabeled, TinySource().validation_at(0), tf.constant(0, tf.int64), None
            )
            results[wu, hess_wu] = m["val_direction"].numpy()
    np.testing.assert_allclose(results[1.0, True], results[0.5, False], rtol=1e-6)
    np.testing.assert_array_equal(results[1.0, True], results[1.0, False])
    assert np.abs(results[0.5, True] - results[1.0, True]).max() > 1e-6


def test_fresh_and_reused_batches(monkeypatch):
    for option, first in ((False, 4 * 20), (True, 7)):
        trainer, settings = fresh(), BilevelSettings(inner_steps=4, infl_fresh_batch=option)
        monkeypatch.setattr(trainer, "settings", settings)
        trainer.train(4)
        trainer.lambda_step()
        moved = np.flatnonzero(trainer.store.table().numpy() != 1)
        assert set(moved) <= {(first + k) % NUM_UNLABELED for k in range(20)}
        assert len(moved) > 10


def test_stale_weights_reach_theta_one_step_later(monkeypatch):
    base = dict(inner_steps=4, infl_fresh_batch=False)
    stale = make_trainer(settings=BilevelSettings(stale_w=True, **base))
    new, fixed = fresh(), fresh("fixed")
    monkeypatch.setattr(new, "settings", BilevelSettings(**base))
    for trainer in (stale, new, fixed):
        trainer.train(4)
    stale.lambda_step()  # takes theta-step 4 itself, with the old weights
    assert stale.step == 5
    new.lambda_step(), new.train(1), fixed.train(1)
    for a, b in zip(params(stale), params(fixed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != c).any() for a, c in zip(params(stale), params(new), strict=True))
    np.testing.assert_array_equal(stale.store.table(), new.store.table())


def test_compiled_and_plain_steps_agree():
    a, b = run(make_trainer(jit=True), 12), run(fresh(), 12)
    for x, y in zip(params(a), params(b), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)
    np.testing.assert_allclose(a.store.table(), b.store.table(), atol=1e-2)


def test_a_loss_that_is_not_finite_stops_with_its_step_and_leaves_lambda(monkeypatch):
    trainer = make_trainer()
    source = TinySource()

    def poisoned(step):
        labeled, unlabeled = source.at(step)
        bad = tf.where(tf.cast(step, tf.int64) == 6, float("inf"), 1.0)
        return labeled._replace(inputs=labeled.inputs * bad), unlabeled

    trainer.theta.source.dataset = lambda step: tf.data.Dataset.counter(step).map(poisoned)
    trainer.train(4)
    trainer.lambda_step()
    before = trainer.store.table().numpy()
    with pytest.raises(NonFiniteError, match="not finite at step 6"):
        trainer.train(4)
    np.testing.assert_array_equal(trainer.store.table(), before)


@pytest.mark.parametrize("where", ["validation", "unlabeled"])
def test_an_influence_that_is_not_finite_stops_and_leaves_lambda(monkeypatch, where):
    trainer = fresh()
    trainer.train(4)
    if where == "validation":
        v = trainer.validation_at(0)
        monkeypatch.setattr(trainer, "validation_at", lambda k: v._replace(inputs=v[0] * np.inf))
    else:
        labeled, unlabeled = trainer.source.at(0)
        spoiled = labeled, unlabeled._replace(strong=unlabeled.strong * np.inf)
        monkeypatch.setattr(trainer.lambda_source, "at", lambda k: spoiled)
    state = [np.array(v.value) for v in trainer.store.variables]
    with pytest.raises(NonFiniteError, match="Lambda-step at step 4 met a non-finite value"):
        trainer.lambda_step()
    for a, b in zip(state, trainer.store.variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_an_indefinite_hessian_is_refused_with_its_least_eigenvalue():
    trainer = make_trainer(lambda_settings=damped(0.0, curvature="hessian"))
    trainer.train(4)
    state = [np.array(v.value) for v in trainer.store.variables]
    algorithm = trainer._lambda_step.algorithm

    def concave(*args):
        rows = algorithm(*args)
        loss = rows.loss_of_logits
        return rows._replace(loss_of_logits=lambda z: -loss(z))

    trainer._lambda_step.algorithm = concave
    report = trainer.lambda_step()
    assert report["skipped"] and report["least_eigenvalue"] < -1e-3
    for a, b in zip(state, trainer.store.variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_theta_learns_to_ignore_wrong_pseudo_labels():
    """Half of U carries flipped frozen targets: their weights must end below the others'."""
    trainer = make_trainer(
        settings=BilevelSettings(inner_steps=2),
        lambda_settings=damped(0.01),
    )
    source = TinySource()
    truth = source.y[12:72]
    wrong = np.arange(NUM_UNLABELED) % 2 == 0
    table = tf.one_hot(np.where(wrong, 1 - truth, truth), 2)

    def frozen(forward, labeled, unlabeled, step):
        outputs = forward(tf.concat([labeled.inputs, unlabeled.strong], 0))
        ones = tf.ones_like(unlabeled.ids, tf.float32)
        return softmax_rows(
            labeled, outputs, targets=tf.gather(table, unlabeled.ids), ids=unlabeled.ids,
            mask=ones, confidence=ones,
        )  # fmt: skip

    trainer.theta.algorithm = trainer._lambda_step.algorithm = frozen
    run(trainer, 60)
    lam = trainer.store.table().numpy()
    assert lam[wrong].mean() < lam[~wrong].mean() - 0.3
    assert roc_auc_score(wrong, -lam) > 0.8


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: BilevelSettings(inner_steps=0), "`inner_steps` must be >= 1"),
        (lambda: BilevelSettings(lambda_warmup_steps=-1), "must be >= 0"),
        (
            lambda: LambdaStepSettings(inverse_hessian="newton"),
            "`inverse_hessian` must be one of exact, identity",
        ),
        (
            lambda: LambdaStepSettings(infl_bn="eval"),
            "`infl_bn` must be one of batch, moving",
        ),
        (lambda: LambdaStepSettings(curvature="fisher"), "`curvature` must be one of"),
        (lambda: LambdaStepSettings(hess_l2_coeff=-1.0), "`hess_l2_coeff` must be >= 0"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""The truth for runs that end at no minimum: training on, and its derivative by every weight."""

import numpy as np
import pytest
import runs
import tensorflow as tf
from nets import CLASSES, make

from experiments import measure_agreement
from experiments.options.presets import make_config
from experiments.runs.execute import execute
from experiments.study.agreement import read_agreements
from experiments.verification.continued import Continued
from ssl_weighting.losses import SoftmaxCrossEntropy
from ssl_weighting.models.network import Network
from ssl_weighting.structs import LabeledBatch, LossRows

HOW = {"steps": 6, "rate": 0.1, "momentum": 0.8}
DECAY = 0.05


def training(kind="mlp", positions=False, of_batch=False):
    """Return a training on six rows with soft targets, unequal weights and a mask."""
    model, x = make(kind, "float64", 6)
    rng = np.random.default_rng(3)
    targets = rng.dirichlet(np.ones(CLASSES), 6)
    network = Network(model, "all")
    loss = SoftmaxCrossEntropy(tf.constant(targets))
    z = network(network.values(), x)
    order = [1, 0, 2, 3, 5, 4] if positions else list(range(6))
    logits = tf.gather(z, order)
    rows = LossRows(
        loss=loss(logits),
        coefficient=tf.constant([0.5, 0.5, 0.25, 0.25, 0.25, 0.25], tf.float64),
        mask=tf.constant([1, 1, 1, 1, 0, 1], tf.float64),
        ids=tf.constant([[-1, -1], [-1, -1], [0, -1], [1, -1], [2, -1], [3, -1]], tf.int64),
        share=tf.constant([[1, 0]] * 6, tf.float64),
        features=None,
        logits=logits,
        loss_of_logits=loss,
        confidence=tf.ones([6, 2], tf.float64),
        positions=tf.constant(order, tf.int32)[:, None] if positions else None,
    )
    lam = tf.constant([[1, 1], [1, 1], [0.5, 1], [1.5, 1], [1, 1], [2, 1]], tf.float64)
    validation = LabeledBatch(x[::2] * 0.9 + 0.1, tf.constant([0, 2, 1]))
    found = Continued(
        network, rows, [x[:2], x[2:]], lam, validation, DECAY, of_batch=of_batch, **HOW
    )
    return found, targets, x, order


@pytest.mark.parametrize(("kind", "positions"), [("mlp", False), ("mlp", True), ("conv", False)])
def test_every_change_is_that_of_a_training_of_its_own(kind, positions):
    found, *_ = training(kind, positions)
    delta, changes = 1e-5, found.changes().numpy()

    def after(u, change):
        shift = change * tf.one_hot(u, 6, dtype=tf.float64)
        return float(found.loss(found.trained(shift)[-1]))

    alone = [(after(u, delta) - after(u, -delta)) / (2 * delta) for u in range(6)]
    np.testing.assert_allclose(changes, alone, rtol=1e-5, atol=1e-10)
    assert changes[4] == 0 and np.abs(np.delete(changes, 4)).min() > 0  # the mask


def test_the_steps_are_descent_with_momentum_on_the_stated_objective():
    found, targets, x, order = training(positions=True)
    variables = found.network.variables
    weights = np.array([0.5, 0.5, 0.125, 0.375, 0.0, 0.5])
    theta = [v.numpy() for v in variables]
    velocity = [np.zeros_like(t) for t in theta]
    for _ in range(HOW["steps"]):
        with tf.GradientTape() as tape:
            p = tf.nn.softmax(tf.gather(found.network.model(x), order))
            value = -tf.reduce_sum(weights[:, None] * targets * tf.math.log(p))
            for v in variables:
                if v.path.endswith("kernel"):
                    value += DECAY / 2 * tf.reduce_sum(v.value**2)
        gradients = tape.gradient(value, [v.value for v in variables])
        velocity = [HOW["momentum"] * a + g for a, g in zip(velocity, gradients, strict=True)]
        for v, a in zip(variables, velocity, strict=True):
            v.assign(v.value - HOW["rate"] * a)
    expected = np.concatenate([v.numpy().ravel() for v in variables])
    for v, t in zip(variables, theta, strict=True):
        v.assign(t)
    last = found.trained(tf.zeros([6], tf.float64))[-1]
    np.testing.assert_allclose(last, expected, rtol=1e-9, atol=1e-12)


def test_statistics_of_the_batch_are_those_of_keras():
    found, _, x, _ = training("conv", of_batch=True)
    values = found.network.values()
    expected = Network(found.network.model, "all", batch_norm="batch")(values, x)
    np.testing.assert_allclose(found._logits(values, x), expected, rtol=1e-9)
    moving = found.network(values, x)
    assert np.abs(moving - expected).max() > 1e-3


LEARNED = {
    "weighting": "per_example", "influence_params": "all", "inverse_hessian": "conjugate_gradient",
    "lambda_warmup_steps": 0, "num_labeled": 20, "val_size": 20,
}  # fmt: skip
TOY = {
    "dataset": "moons", "algorithm": "pseudo_label", "solve_iterations": 40, "damping": 0.03,
    "inner_steps": 40, "lambda_batch": 100, "steps": 120, "eval_every": 120,
    "checkpoint_every": 120, "log_every": 120,
}  # fmt: skip
IMAGES = {
    "dataset": "digits", "depth": 10, "width": 1, "base_filters": 4, "labeled_batch": 8,
    "unlabeled_ratio": 2, "num_test": 50, "threshold": 0.1, "jit": False, "batch_norm_decay": 0.5,
    "solve_iterations": 3, "inner_steps": 6, "lambda_batch": 24, "steps": 12, "eval_every": 6,
    "checkpoint_every": 12, "log_every": 6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "options", "least"),
    [
        ("train_synthetic", TOY, 0.5),  # 0.88: Eq. 6 with a hundred steps' own damping agrees
        # Hardly trained: that it is measured, with statistics of the batch.
        pytest.param("train_images", IMAGES, -1.0, marks=pytest.mark.slow),
    ],
    ids=["toy", "images"],
)
def test_the_program_records_a_net_that_ends_at_no_minimum(
    program, options, least, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "runs" / "deep" / "whole_cg" / "seed_2"
    execute(make_config(**LEARNED | options, seed=2, out=str(folder)), program)
    out = tmp_path / "agreement.csv"
    arguments = f"--runs={tmp_path / 'runs'}", "--only=deep/*/*", f"--out={out}"
    runs.call(measure_agreement, monkeypatch, *arguments)
    (one,) = read_agreements(out).values()
    assert one.key == ("deep", "whole_cg", 2) and 10 <= one.ids <= 100
    assert least < one.spearman <= one.high <= 1 and one.low < one.spearman
    assert "0 left out" in capsys.readouterr().out

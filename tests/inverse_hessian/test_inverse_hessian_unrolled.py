"""Unrolled differentiation against automatic differentiation through the same real steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.benchmarks import influence
from experiments.benchmarks.suite import Options
from ssl_weighting.inverse_hessian import (
    DIVERGED,
    TRUNCATED,
    Curvature,
    SolveOptions,
    Unroll,
    solve,
)
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.pure_steps import pure_step

K, P = 5, 10
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: NesterovSGD(keras.optimizers.schedules.CosineDecay(0.05, 20)),
    "sgd_nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def problem(rng):
    """A tiny nonlinear net's loss on another batch at every step, float64."""
    x = tf.constant(rng.normal(size=[K, 6, 3]))
    y = tf.constant(rng.normal(size=[K, 6]))

    def loss(theta, k):
        hidden = tf.tanh(tf.matmul(x[k], tf.reshape(theta[:6], [3, 2])))
        out = tf.linalg.matvec(hidden, theta[6:8]) + tf.tanh(theta[8])
        return tf.reduce_mean((out - y[k]) ** 2)

    return loss, tf.constant(rng.normal(size=P))


def unroll_of(loss, start, optimizer, count=K):
    variable = keras.Variable(start, dtype="float64")
    optimizer.build([variable])
    slots, take = [tf.constant(v.numpy()) for v in optimizer.variables], pure_step(optimizer)

    def step(k, state, shift):
        theta, slots = state
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = loss(theta, k)
        gradient = tape.gradient(value, theta, unconnected_gradients="zero") + shift
        slots, (theta,) = take(slots, [gradient], [theta])
        return theta, slots

    return Unroll(count, lambda: (start, slots), step, lambda state: state[0])


def curvature(unroll):
    return Curvature(size=P, ridge=tf.zeros([P], tf.float64), product=lambda x: x, unroll=unroll)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_equals_autodiff_through_the_steps(rng, name):
    loss, start = problem(rng)
    unroll, v = unroll_of(loss, start, OPTIMIZERS[name]()), tf.constant(rng.normal(size=P))
    shift = tf.zeros([P], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(shift)
        state = unroll.start()
        for k in range(K):
            state = unroll.step(k, state, shift)
        reached = tf.reduce_sum(state[0] * v)
    expected = -tape.gradient(reached, shift)
    call = tf.function(
        lambda x: solve("unrolled", curvature(unroll), x, SolveOptions()), autograph=False
    )
    found = call(v)
    np.testing.assert_allclose(found.vector, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(expected).max() > 1e-3 and found.status == TRUNCATED and found.iterations == K


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_pure_steps_are_those_of_the_optimizer(rng, name):
    optimizer = OPTIMIZERS[name]()
    params = [keras.Variable(rng.normal(size=s), dtype="float64") for s in ([3, 2], [4])]
    optimizer.build(params)
    values = [tf.constant(p.numpy()) for p in params]
    slots, take = [tf.constant(v.numpy()) for v in optimizer.variables], pure_step(optimizer)
    for _ in range(7):
        gradients = [tf.constant(rng.normal(size=p.shape)) for p in params]
        optimizer.apply(gradients, params)
        slots, values = take(slots, gradients, values)
    for ours, theirs in zip([*values, *slots], [*params, *optimizer.variables], strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-5)  # Keras: float32 constants


def test_other_optimizers_are_refused():
    for optimizer in (keras.optimizers.Lion(), keras.optimizers.SGD(clipnorm=1.0)):
        with pytest.raises(ValueError, match="must be one of NesterovSGD, SGD, Adam"):
            pure_step(optimizer)


def test_tends_to_the_inverse(rng):
    a = rng.normal(size=[P, P])
    h = tf.constant(a @ a.T / P + np.eye(P))
    v = tf.constant(rng.normal(size=P))
    errors = []
    for count in (3, 30, 300):
        steps = Unroll(
            count,
            lambda: tf.zeros([P], tf.float64),
            lambda k, x, shift: x - 0.1 * (tf.linalg.matvec(h, x) + shift),
            lambda x: x,
        )
        found = solve("unrolled", curvature(steps), v, SolveOptions())
        errors.append(np.linalg.norm(found.vector - np.linalg.solve(h, v)))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6


def test_a_replay_that_ends_elsewhere_is_refused(rng):
    loss, start = problem(rng)
    unroll = unroll_of(loss, start, OPTIMIZERS["momentum"]())
    state = unroll.start()
    for k in range(K):
        state = unroll.step(k, state, tf.zeros([P], tf.float64))
    v = tf.ones([P], tf.float64)
    for end, status in ((state[0], TRUNCATED), (state[0] + 1, DIVERGED)):
        steps = unroll._replace(reached=lambda end=end: end)
        assert solve("unrolled", curvature(steps), v, SolveOptions()).status == status


@pytest.mark.slow
def test_the_graph_of_a_large_net_can_be_called_again():
    sizes = {"labeled_batch": 16, "unlabeled_batch": 32, "validation_batch": 32, "sizes": (50,)}
    step = influence.cases(Options(**sizes))["lambda_step_unrolled"].make(False)
    assert all(step()["finite"] for _ in range(3))

"""M-Adam against |U| scalar Adams, Keras Adam, and hand-worked numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.madam import LambdaAdam, MAdam, madam_update, widened


class ScalarAdam:
    """One Adam for one weight, in Python floats: the ideal of Sec. 3.1."""

    def __init__(self, lam, alpha, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.lam, self.m, self.v, self.t = float(lam), 0.0, 0.0, 0
        self.alpha, self.beta1, self.beta2, self.epsilon = alpha, beta1, beta2, epsilon

    def step(self, g, t=None):
        self.t = self.t + 1 if t is None else t
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        self.lam -= self.alpha * m_hat / (v_hat**0.5 + self.epsilon)


def make(size, dtype="float64", **options):
    variable = keras.Variable(np.linspace(0.5, 1.5, size), dtype=dtype)
    optimizer = MAdam(0.01, epsilon=1e-8, **options)
    optimizer.build([variable])
    return variable, optimizer


def slices(g, ids, size):
    g = tf.convert_to_tensor(
        np.asarray(g, np.float32 if np.asarray(g).dtype == np.float32 else np.float64)
    )
    return tf.IndexedSlices(g, tf.constant(ids, tf.int64), tf.constant([size], tf.int64))


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("step_count", ["per_example", "global"])
def test_equals_one_scalar_adam_per_example(rng, dense, step_count):
    size = 12
    variable, optimizer = make(size, step_count=step_count)
    rate = float(np.float32(0.01))  # Keras holds learning rates in float32
    adams = [ScalarAdam(x, rate) for x in variable.numpy()]
    step = tf.function(lambda g: optimizer.apply([g], [variable]))
    for t in range(1, 101):
        ids = rng.permutation(size)[:4]
        g = rng.normal(size=4) * 10.0 ** rng.integers(-6, 2)
        full = np.zeros(size)
        full[ids] = g
        step(tf.constant(full) if dense else slices(g, ids, size))
        for k, value in zip(ids, g, strict=True):
            adams[k].step(value, None if step_count == "per_example" else t)
        expected = [a.lam for a in adams]
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-12, err_msg=f"step {t}")


def test_equals_keras_adam_when_every_row_is_in_every_batch(rng):
    start = rng.normal(size=9)
    ours, theirs = keras.Variable(start, dtype="float64"), keras.Variable(start, dtype="float64")
    madam, adam = MAdam(0.003, epsilon=1e-8), keras.optimizers.Adam(0.003, epsilon=1e-8)
    for t in range(100):
        g = rng.normal(size=9)
        madam.apply_gradients([(slices(g, np.arange(9), 9), ours)])
        adam.apply_gradients([(tf.constant(g), theirs)])
        # Keras computes its step sizes in float32.
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5, err_msg=f"step {t}")


def test_rows_outside_the_batch_stay_bit_identical(rng):
    variable, optimizer = make(1000, "float32")
    for _ in range(20):
        ids = rng.permutation(1000)[:10]
        before = [np.array(v.value) for v in (variable, *optimizer.variables[2:])]
        optimizer.apply([slices(rng.normal(size=10).astype("f"), ids, 1000)], [variable])
        others = np.setdiff1d(np.arange(1000), ids)
        after = [np.array(v.value) for v in (variable, *optimizer.variables[2:])]
        assert len(after) == 4
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old[others], new[others])
            assert (old[ids] != new[ids]).all()


def test_zero_gradients_are_masked_and_membership_moves_them():
    for mask, moves in (("nonzero", False), ("membership", True)):
        variable, optimizer = make(3, mask=mask)
        optimizer.apply([slices([1.0, 1.0], [0, 1], 3)], [variable])
        before = variable.numpy()
        optimizer.apply([slices([0.0, 1.0], [0, 1], 3)], [variable])
        assert (variable.numpy()[0] != before[0]) == moves
        assert optimizer.variables[-1].numpy().tolist() == [2 if moves else 1, 2, 0]


def test_duplicate_rows_are_summed_first():
    once, a = make(4)
    twice, b = make(4)
    a.apply([slices([0.7, 0.5], [2, 1], 4)], [once])
    b.apply([slices([0.3, 0.5, 0.4], [2, 1, 2], 4)], [twice])
    np.testing.assert_allclose(once.numpy(), twice.numpy(), rtol=1e-15)


def test_first_visit_moves_by_the_step_size_and_global_t_inflates_late_ones():
    variable, optimizer = make(2)
    for _ in range(100):
        optimizer.apply([slices([3.0], [0], 2)], [variable])
    late = variable.numpy()[1]
    optimizer.apply([slices([3.0], [1], 2)], [variable])
    np.testing.assert_allclose(variable.numpy()[1] - late, -0.01, rtol=1e-6)
    variable, optimizer = make(2, step_count="global")
    for _ in range(99):
        optimizer.apply([slices([3.0], [0], 2)], [variable])
    optimizer.apply([slices([3.0], [1], 2)], [variable])
    # facts 8.4: 0.98 step sizes at t = 100.
    np.testing.assert_allclose(late - variable.numpy()[1], 0.0098, atol=5e-5)


def test_lambda_does_not_depend_on_the_scale_of_the_influences(rng):
    g = rng.normal(size=(50, 6)).astype("float32") * 1e-8
    results = []
    for scale in (1.0, 1e-3):
        variable = keras.Variable(np.ones(6), dtype="float32")
        optimizer = MAdam(0.01)
        for row in g:
            optimizer.apply([slices(row * np.float32(scale), np.arange(6), 6)], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(results[0], results[1], atol=2e-6)
    # The release's epsilon is of the influences' own size and fails that.
    optimizer, variable = MAdam(0.01, epsilon=1e-8), keras.Variable(np.ones(6), dtype="float32")
    for row in g:
        optimizer.apply([slices(row * np.float32(1e-3), np.arange(6), 6)], [variable])
    assert np.abs(variable.numpy() - results[0]).max() > 1e-3


EXPONENTS = range(-30, 31, 4)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    ("make_optimizer", "epsilon", "t_of_all"),
    [
        (MAdam, 1e-60, False),
        (lambda rate: MAdam(rate, mask="membership", epsilon=1e-8), 1e-8, False),
        (lambda rate: MAdam(rate, step_count="global"), 1e-60, True),
        (LambdaAdam, 1e-60, True),
    ],
    ids=["madam", "released", "global t", "adam"],
)
def test_the_step_is_adams_at_every_scale(rng, dense, make_optimizer, epsilon, t_of_all):
    """Float32 weights against Python floats, gradients from 1e-30 to 1e30, a row a scale."""
    size = len(EXPONENTS)
    variable = keras.Variable(np.ones(size), dtype="float32", name="lam")
    optimizer = make_optimizer(0.01)
    optimizer.build([variable])
    moves_all = isinstance(optimizer, LambdaAdam)
    adams = [ScalarAdam(1, float(np.float32(0.01)), epsilon=epsilon) for _ in EXPONENTS]
    step = tf.function(lambda g: optimizer.apply([g], [variable]))
    for t in range(1, 21):
        ids = rng.permutation(size)[: size // 2] if t > 1 else np.arange(size)
        g = np.zeros(size, "f")
        g[ids] = (rng.normal(size=len(ids)) + 1) * 10.0 ** np.array(EXPONENTS)[ids]
        step(tf.constant(g) if dense else slices(g[ids], ids, size))
        for k in range(size) if moves_all else ids:
            adams[k].step(float(g[k]), t if t_of_all else None)
    np.testing.assert_allclose(variable.numpy(), [a.lam for a in adams], rtol=0, atol=2e-6)
    assert np.median(np.abs(variable.numpy() - 1)) > 0.02, "they have moved at all"


def test_moments_of_float32_go_on_unless_they_lost_squares():
    m, v, t = np.float32([1e-3, 1e-19, 0, 2e-9]), np.float32([1e-6, 0, 0, 1e-17]), [3, 2, 0, 4]
    (first, second, counts), lost = widened(m, v, np.float32(t))
    assert lost == 1 and second.dtype == "float64" and first.dtype == counts.dtype == "float32"
    np.testing.assert_array_equal(first, np.float32([1e-3, 0, 0, 2e-9]))
    np.testing.assert_array_equal(second, v.astype("float64"))
    np.testing.assert_array_equal(counts, [3, 0, 0, 4])
    (first, second), lost = widened(m, v)
    assert lost == 1 and first.tolist() == np.float32([1e-3, 0, 0, 2e-9]).tolist()


def test_two_steps_by_hand():
    options = dict(alpha=0.1, beta1=0.5, beta2=0.75, epsilon=0.0)
    lam, m, v = (np.float64(x) for x in (1.0, 0.0, 0.0))
    lam, m, v = madam_update(2.0, lam, m, v, 1.0, mask=1.0, **options)
    np.testing.assert_allclose([lam, m, v], [0.9, 1.0, 1.0])
    lam, m, v = madam_update(-1.0, lam, m, v, 2.0, mask=1.0, **options)
    # m = 0.5*1 - 0.5 = 0, so the weight rests; v = 0.75 + 0.25.
    np.testing.assert_allclose([lam, m, v], [0.9, 0.0, 1.0])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", [MAdam, LambdaAdam])
def test_trains_a_keras_model_that_builds_it(kind, jit):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile(kind(0.01), "mse", jit_compile=jit)
    first, last = model.fit(np.ones([8, 3]), np.full([8, 2], 5.0), epochs=2, verbose=0).history[
        "loss"
    ]
    assert last < first


def test_what_is_not_built_says_so_as_in_keras():
    with pytest.raises(ValueError, match="must already be built"):
        MAdam().apply([tf.ones([3])])


def test_survives_get_config():
    a = MAdam(0.02, beta_1=0.8, epsilon=1e-9, step_count="global", mask="membership")
    b = MAdam.from_config(a.get_config())
    assert b.get_config() == a.get_config()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beta_1": 1.0}, r"`beta_1` must be in \[0, 1\). Received: beta_1=1.0"),
        ({"beta_2": -0.1}, r"`beta_2` must be in \[0, 1\)"),
        ({"beta_2": np.nan}, r"`beta_2` must be in \[0, 1\). Received: beta_2=nan"),
        *(({"epsilon": x}, r"`epsilon` must be >= 0 and finite") for x in (-1.0, np.nan, np.inf)),
        *(({"learning_rate": x}, "`learning_rate` must be >= 0") for x in (-1.0, np.nan, 1e39)),
        ({"step_count": "epoch"}, r"`step_count` must be one of per_example, global"),
        ({"mask": "all"}, r"`mask` must be one of nonzero, membership"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        MAdam(**options)

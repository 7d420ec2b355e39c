"""The mean influence a visit of every example, and its error, beside numpy on all influences."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import NUM_UNLABELED, make_trainer

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.cross_fit import CrossFitTrainer
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.weight_store import LEARNED, WeightStore

SIZE = 7


def expected(influences):
    """Return mean and standard error of each list, in float64; NaN where there is none."""
    with np.errstate(all="ignore"):
        arrays = [np.array(one, np.float64) for one in influences]
        mean = [one.mean() if len(one) else np.nan for one in arrays]
        error = [one.std(ddof=1) / np.sqrt(len(one)) if len(one) > 1 else np.nan for one in arrays]
    return np.array(mean), np.array(error)


def check(store, influences, rtol=1e-5):
    for found, known in zip(store.influence_per_visit(), expected(influences), strict=True):
        np.testing.assert_allclose(found, known, rtol=rtol)
        assert found.dtype == np.float64


def visited(update, scale, zeros=0.0, batches=40):
    """Update with random batches, ids more than once; return each id's sums, zeros among them."""
    rng, influences = np.random.default_rng(3), [[] for _ in range(SIZE)]
    for _ in range(batches):
        ids = rng.integers(0, SIZE - 1, size=5)  # the last is never met
        g = np.float32(scale * (1 + rng.normal(size=5)))
        g[rng.random(5) < zeros] = 0
        update(tf.constant(ids), tf.constant(g))
        for one in np.unique(ids):
            influences[one].append(g[ids == one].sum(dtype=np.float32))
    return influences


@pytest.mark.parametrize("scale", [1e-30, 1e-9, -1.0, 1e30])
def test_any_scale(scale):
    store = WeightStore(SIZE, "per_example", MAdam(0.1))
    check(store, visited(store.update, scale))
    assert np.isfinite(store.influence_per_visit()[1][:-1]).all()


@pytest.mark.parametrize(
    ("mode", "xla"), [*((mode, False) for mode in LEARNED), ("per_example", True)]
)
def test_every_mode_records_the_examples_own_compiled_or_not(mode, xla):
    store = WeightStore(SIZE, mode, MAdam(0.1))
    check(store, visited(tf.function(store.update, autograph=False, jit_compile=xla), 1e-3))


@pytest.mark.parametrize("optimizer", [MAdam(mask="nonzero"), MAdam(mask="membership")])
def test_what_did_not_move_was_no_visit(optimizer):
    store = WeightStore(SIZE, "per_example", optimizer)
    influences = visited(store.update, 1.0, zeros=0.5)
    if optimizer.mask == "nonzero":
        influences = [[g for g in one if g] for one in influences]
    assert store.visits.numpy().tolist() == [len(one) for one in influences]
    check(store, influences)


def test_one_visit_has_no_error_and_equal_ones_have_none_either():
    store = WeightStore(2, "per_example", keras.optimizers.SGD(0.1))
    for _ in range(3):
        store.update(tf.constant([1], tf.int64), tf.constant([0.1]))
    store.update(tf.constant([0], tf.int64), tf.constant([-5.0]))
    mean, error = store.influence_per_visit()
    assert mean.tolist() == [-5, np.float32(0.1)] and np.isnan(error[0]) and error[1] == 0


def test_visits_that_were_not_recorded_leave_it_unknown():
    store = WeightStore(2, "per_example", LambdaAdam(0.1))
    store.visits.assign([4, 0])
    for variable in (store.influence_mean, store.influence_deviation):
        variable.assign([np.nan, 0])
    for g in (1.0, 3.0):
        store.update(tf.constant([0, 1], tf.int64), tf.constant([g, g]))
    mean, error = store.influence_per_visit()
    np.testing.assert_array_equal(mean, [np.nan, 2])
    np.testing.assert_allclose(error, [np.nan, 1], rtol=1e-7)


@pytest.mark.parametrize("kind", ["separate", "every step scored", "stale", "two models"])
def test_every_trainer_records_what_moved_its_weights(kind):
    settings = BilevelSettings(
        inner_steps=2, score_every_step=kind == "every step scored", stale_w=kind == "stale"
    )
    store = WeightStore(NUM_UNLABELED, "per_example", MAdam(0.1))
    seeds = (0, 1) if kind == "two models" else (0,)
    members = [make_trainer(seed=k, store=store, settings=settings) for k in seeds]
    trainer = CrossFitTrainer(members) if len(members) > 1 else members[0]
    influences, before = [[] for _ in range(NUM_UNLABELED)], store.visits.numpy()
    for event in trainer.steps(14):
        if event.kind == "lambda":
            visits, last = store.visits.numpy(), store.last_influence.numpy()
            for row in np.flatnonzero(visits - before):
                influences[row].append(last[row])
            before = visits
    assert max(map(len, influences)) > 1
    check(store, influences)

"""Lambda by id: gather, update, range, modes and controls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.benchmarks.memory import peak_of_child_mb
from ssl_weighting import weight_sample
from ssl_weighting.data import row_chunks
from ssl_weighting.data.row_chunks import ChunkFolder, Column, Stored
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.weight_store import LEARNED, MODES, WeightStore

IDS = tf.constant([[0, -1], [3, -1], [-1, -1], [3, 5]], tf.int64)
SURE = tf.constant([[0.5, 1.0], [1.0, 1.0], [1.0, 1.0], [0.25, 0.25]])


def store(mode="per_example", size=6, **options):
    return WeightStore(size, mode, MAdam(0.25) if mode in LEARNED else None, **options)


def gather(s, ids=IDS, draw=0):
    return s.gather(ids, SURE, 4, tf.constant(draw, tf.int64)).numpy()


def test_gathers_by_id_and_labeled_parents_weigh_one():
    s = store()
    s.lam.assign([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    assert gather(s).tolist() == [[0, 1], [30, 1], [1, 1], [30, 50]]


def test_update_moves_only_the_batch_sums_duplicates_and_keeps_the_influence():
    s = store()
    s.update(tf.constant([2, 4, 2], tf.int64), tf.constant([0.5, 1.0, -1.5]))
    # The sum for id 2 is -1: up by the step size. Id 4: down.
    np.testing.assert_allclose(s.table(), [1, 1, 1.25, 1, 0.75, 1], rtol=1e-6)
    assert s.visits.numpy().tolist() == [0, 0, 1, 0, 1, 0]
    np.testing.assert_array_equal(
        s.last_influence, np.float32([np.nan, np.nan, -1, np.nan, 1, np.nan])
    )


@pytest.mark.parametrize("optimizer", [MAdam(), LambdaAdam()], ids=["madam", "adam"])
def test_an_example_takes_36_bytes_at_most(optimizer):
    s = WeightStore(1000, "per_example", optimizer)
    assert sum(v.numpy().nbytes for v in s.variables if len(v.shape)) <= 36 * 1000
    assert str(optimizer.slots[0][1].dtype) == "float64"


@pytest.mark.parametrize("mode", LEARNED)
@pytest.mark.parametrize("compiled", [False, True])
def test_an_empty_batch_moves_nothing(mode, compiled):
    s = store(mode)
    s.update(tf.constant([1], tf.int64), tf.constant([1.0]))
    before = [v.numpy() for v in s.variables if len(v.shape)]
    update = s.update
    if compiled:
        kinds = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32)
        update = tf.function(s.update, input_signature=kinds)
    update(tf.zeros([0], tf.int64), tf.zeros([0]))
    for old, new in zip(before, (v for v in s.variables if len(v.shape)), strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_weights_stay_finite_whatever_is_subtracted():
    s = WeightStore(2, "per_example", keras.optimizers.SGD(1e30))
    s.update(tf.constant([0, 1], tf.int64), tf.constant([1e30, -1e30]))
    assert s.table().numpy().tolist() == [0, np.finfo("f").max]


def test_an_id_that_does_not_exist_weighs_nan_where_xla_cannot_refuse_it():
    for mode in MODES:
        s = store(mode)
        ids = tf.constant([[0, -1], [6, -1], [-2, -1]], tf.int64)
        with pytest.raises(ValueError, match=r"`ids` must be in -1..5.* Received: \[6, -2\]"):
            s.gather(ids, tf.ones([3, 2]), 4, tf.constant(0, tf.int64))
        for jit in (False, True):
            gathered = tf.function(s.gather, jit_compile=jit)(
                ids, tf.ones([3, 2]), 4, tf.constant(0, tf.int64)
            )
            assert np.isnan(gathered).tolist() == [[0, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_learning_rate_that_keras_takes_is_refused(rate):
    with pytest.raises(ValueError, match="`learning_rate` must be >= 0 and finite"):
        WeightStore(3, "per_example", keras.optimizers.SGD(rate))
    s = WeightStore(3, "per_example", keras.optimizers.SGD(0.1))
    s.optimizer.learning_rate = abs(rate) * np.inf
    with pytest.raises(ValueError, match="`learning_rate` must be finite"):
        s.update(tf.constant([1]), tf.constant([1.0]))
    assert s.table().numpy().tolist() == [1, 1, 1] and not s.visits.numpy().any()


def test_stays_in_range():
    s = store(lambda_max=1.5)
    for _ in range(8):
        s.update(tf.constant([0, 1], tf.int64), tf.constant([1.0, -1.0]))
    assert s.table().numpy()[:3].tolist() == [0.0, 1.5, 1.0]


def test_single_moves_one_weight_by_the_mean_influence():
    s = store("single")
    s.update(tf.constant([1, 2, 3], tf.int64), tf.constant([3.0, 3.0, -5.0]))
    np.testing.assert_allclose(s.table(), [0.75] * 6, rtol=1e-6)
    np.testing.assert_allclose(gather(s), [[0.75, 1], [0.75, 1], [1, 1], [0.75, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("mode, value", [("zero", 0.0), ("fixed", 2.0)])
def test_constant_modes(mode, value):
    s = store(mode, lambda_init=2.0)
    assert not s.learns
    assert gather(s).tolist() == [[value, 1], [value, 1], [1, 1], [value, value]]


def test_shuffled_is_one_permutation_of_the_learned_weights():
    s = store("shuffled", 50)
    s.lam.assign(np.arange(50.0))
    ids = tf.stack([tf.range(50, dtype=tf.int64), -tf.ones(50, tf.int64)], 1)
    sure = tf.ones([50, 2])
    first = s.gather(ids, sure, 4, tf.constant(0, tf.int64))[:, 0].numpy()
    later = s.gather(ids, sure, 4, tf.constant(9, tf.int64))[:, 0].numpy()
    np.testing.assert_array_equal(first, later)
    assert sorted(first) == list(range(50)) and (first != np.arange(50)).any()
    s.update(tf.constant([7], tf.int64), tf.constant([1.0]))
    assert s.table().numpy()[7] == pytest.approx(6.75)  # learned on its own influence


def test_random_draws_from_the_learned_weights_anew_at_each_step():
    s = store("random", 1000)
    s.lam.assign(np.linspace(0, 2, 1000))
    ids = tf.stack([tf.range(1000, dtype=tf.int64), -tf.ones(1000, tf.int64)], 1)
    draws = [
        s.gather(ids, tf.ones([1000, 2]), 4, tf.constant(k, tf.int64))[:, 0].numpy()
        for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.mean(draws[0] == draws[2]) < 0.05
    assert abs(np.corrcoef(draws[0], np.linspace(0, 2, 1000))[0, 1]) < 0.1
    from scipy.stats import kstest

    assert kstest(draws[0] / 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("mode", ["random", "shuffled", "per_example", "confidence"])
def test_theta_step_and_lambda_pass_see_the_same_weights(mode):
    """The one is compiled with XLA, the other is a plain graph."""
    s = store(mode, 1000)
    s.lam.assign(np.linspace(0, 2, 1000))
    ids = tf.constant(np.stack([np.arange(500), -np.ones(500)], 1), tf.int64)
    sure = tf.constant(np.linspace(0.25, 1, 1000).reshape(500, 2), tf.float32)
    draw = tf.constant(17, tf.int64)
    plain, compiled = (
        tf.function(lambda: s.gather(ids, sure, 4, draw), jit_compile=jit)().numpy()
        for jit in (False, True)
    )
    np.testing.assert_allclose(plain, compiled, rtol=1e-6)


def test_confidence_is_its_formula():
    # (C p - 1) / (C - 1) with C = 4: p 0.5 -> 1/3, 1 -> 1, 0.25 -> 0.
    np.testing.assert_allclose(
        gather(store("confidence")), [[1 / 3, 1], [1, 1], [1, 1], [0, 0]], atol=1e-7
    )


def test_plain_adam_moves_rows_that_are_not_in_the_batch_and_madam_does_not():
    for optimizer, moves in ((keras.optimizers.Adam(0.1), True), (MAdam(0.1), False)):
        s = WeightStore(4, "per_example", optimizer, lambda_max=3.0)
        s.update(tf.constant([0], tf.int64), tf.constant([1.0]))
        before = s.table().numpy()[0]
        s.update(tf.constant([1], tf.int64), tf.constant([1.0]))
        assert (s.table().numpy()[0] != before) == moves


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.Adam(0.1), keras.optimizers.SGD(0.1), MAdam(0.1)]
)
def test_all_optimizers_step_against_the_gradient_in_a_compiled_function(optimizer):
    s = WeightStore(4, "per_example", optimizer)
    tf.function(s.update)(tf.constant([2, 3], tf.int64), tf.constant([1.0, -1.0]))
    np.testing.assert_allclose(s.table(), [1, 1, 0.9, 1.1], rtol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "learned"}, f"`mode` must be one of {', '.join(MODES)}"),
        ({"num_unlabeled": 0}, "`num_unlabeled` must be >= 1 and a whole number"),
        ({"lambda_init": 3.0, "lambda_max": 2.0}, "`lambda_init` must lie between 0 and .*max=2.0"),
        *(({"lambda_init": x}, "`lambda_init` must lie between") for x in (np.nan, np.inf, 1e39)),
        *(({"lambda_max": x}, "`lambda_max` must be >= 0") for x in (np.nan, -1.0)),
        ({"num_unlabeled": 2.5}, "`num_unlabeled` must be >= 1 and a whole number"),
        ({"lambda_init": -1.0}, "`lambda_init` must lie between 0 and .*_init=-1.0"),
        ({"optimizer": None}, "`optimizer` must be given"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        WeightStore(**{"num_unlabeled": 5, "mode": "per_example", "optimizer": MAdam()} | options)


OPTIMIZERS = {
    "madam": lambda: MAdam(0.1),
    "adam": lambda: LambdaAdam(0.1),
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "keras": lambda: keras.optimizers.RMSprop(0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mode", LEARNED)
def test_what_is_noted_is_all_that_moved(tmp_path, monkeypatch, optimizer, mode):
    """A sample that is renewed, and a table that is saved by its changes, are those of all."""
    monkeypatch.setattr(weight_sample, "SAMPLE", 7)
    monkeypatch.setattr(row_chunks, "CHUNK", 16)
    s, rng = WeightStore(60, mode, OPTIMIZERS[optimizer]()), np.random.default_rng(0)
    columns = tuple(
        Column(f"{k}", str(v.dtype), lambda rows, v=v: v.numpy()[rows])
        for k, v in enumerate(s.tables)
    )
    assert len(columns) >= (4 if mode == "single" else 5)
    folder, partial = ChunkFolder(tmp_path), []
    for k in range(6):
        for _ in range(k % 3):
            ids = tf.constant(rng.integers(0, 60, 4))
            s.update(ids, tf.constant(rng.normal(size=4).astype("f")))
            s.note(ids)
        np.testing.assert_array_equal(s.sample.lam, s.table().numpy()[s.sample.ids])
        np.testing.assert_array_equal(s.sample.visits, s.visits.numpy()[s.sample.ids])
        partial.append(not s.changed.all)
        saved = folder.save(60, columns, s.changed.rows(), s.changed.since)
        s.changed.clear(saved)
        for key, values in Stored(folder, saved).whole().items():
            assert values.tobytes() == s.tables[int(key)].numpy().tobytes(), s.tables[int(key)].path
    alone = optimizer in ("madam", "sgd")
    assert partial == [False, alone, alone, True, alone, alone]


def test_a_frozen_store_has_the_sample_of_what_learns(monkeypatch):
    monkeypatch.setattr(weight_sample, "SAMPLE", 3)
    s = store()
    frozen = s.frozen()
    assert frozen.sample.lam.tolist() == [1, 1, 1]
    s.update(tf.constant([2, 3]), tf.constant([1.0, 1.0]))
    s.note(tf.constant([2, 3]))
    assert frozen.sample.lam.tolist() == [1, 0.75, 1] == s.sample.lam.tolist()


@pytest.mark.parametrize("mode", ["per_example", "single", "fixed"])
def test_a_block_is_what_the_whole_says(mode):
    s = store(mode, 9)
    for ids in ([1, 2, 5], [2, 5, 8], [5, 2, 0]) if mode in LEARNED else ():
        s.update(tf.constant(ids), tf.constant([0.5, -0.25, 2.0]))
    mean, error = s.influence_per_visit()
    moment = s.optimizer.slots[0][0].numpy() if mode in LEARNED else s.last_influence.numpy()
    whole = {
        "lam": s.table().numpy(), "visits": s.visits.numpy().astype("i4"),
        "last_influence": s.last_influence.numpy(), "influence_mean": mean,
        "influence_error": error, "suspect": s.suspects(),
        "influence": np.broadcast_to(moment, [9]).astype("f8"),
    }  # fmt: skip
    for start, stop in ((0, 9), (2, 6), (8, 9)):
        block = s.block(start, stop)
        assert block.keys() == whole.keys()
        for name, values in whole.items():
            assert block[name].dtype == values.dtype
            np.testing.assert_array_equal(block[name], values[start:stop])


def weights_of(size):
    """What a process of its own builds and moves, to see how much memory it takes."""
    made = []

    def work(count):
        s = WeightStore(count, "per_example", MAdam(0.1))
        ids = tf.constant(np.arange(448) * (count // 448))
        update = tf.function(s.update)
        for _ in range(2):
            update(ids, tf.ones([448]))
            s.note(ids)
            s.sample.lam.mean()
        made.append(s)

    return (lambda: work(1000)), (lambda: work(size))


@pytest.mark.slow
def test_ten_million_weights_take_36_bytes_each_and_no_more_on_the_way():
    peak = peak_of_child_mb("test_weight_store:weights_of", {"size": 10**7})
    assert peak is not None
    assert 350 < peak < 36 * 10 * 1.3 + 60

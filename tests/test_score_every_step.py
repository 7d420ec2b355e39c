"""Scores of every theta-step with the last direction, gathered and applied at the next Λ-step."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tiny import NUM_UNLABELED, TinySource, make_trainer, run
from trainer_states import restore, snapshot

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.influence import lam_gradient
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.losses import logit_gradient
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.theta.step import NonFiniteError
from ssl_weighting.weight_store import WeightStore


def trainer_with(**options):
    settings = BilevelSettings(inner_steps=3, score_every_step=True)
    return make_trainer(settings=settings, **options)


@pytest.mark.parametrize("theta_hat", ["kernel_bias", "kernel"])
@pytest.mark.parametrize("jit", [True, False])
def test_a_theta_step_adds_the_score_that_a_lambda_step_with_that_direction_gives(theta_hat, jit):
    trainer = trainer_with(lambda_settings=LambdaStepSettings(theta_hat=theta_hat), jit=jit)
    trainer.train(1)
    assert (trainer.scores.count.numpy() == 0).all()  # no direction yet
    direction = np.random.default_rng(0).normal(size=trainer.scores.direction.shape).astype("f")
    trainer.scores.direction.assign(direction)
    trainer.scores.ready.assign(1)
    labeled, unlabeled = TinySource().at(1)
    rows = trainer.algorithm(trainer.theta.forward, labeled, unlabeled, tf.constant(1, tf.int64))
    parameters = trainer.parameters
    prepared = parameters.prepare(rows, [], rows.coefficient)
    expected = -parameters.dot_products(prepared, tf.constant(direction, tf.float64))
    ids, expected = lam_gradient(rows, expected, 20)
    trainer.train(1)
    found = tf.gather(trainer.scores.total.value, ids)
    rounding = 1e-5 * np.abs(expected).max()  # of float32 sums whose terms cancel in small scores
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=rounding)
    assert trainer.scores.count.numpy().sum() == 20
    assert np.abs(expected).max() > 1e-3
    assert logit_gradient(rows.loss_of_logits, rows.logits).shape == rows.logits.shape


def test_refresh_returns_means_and_starts_anew():
    scores = StaleScores(6, 4)
    scores.ready.assign(1)
    for ids, gradient in (([0, 2], [1.0, 5.0]), ([2], [7.0])):
        scores._gather(tf.constant(ids, tf.int64), tf.constant(gradient), scores.ready.value)
    found = scores.refresh(
        tf.constant([2, 4], tf.int64), tf.constant([3.0, 9.0]), tf.constant([1.0, 2, 3, 4])
    )
    assert found["ids"].numpy().tolist() == [0, 2, 4]
    assert found["gradient"].numpy().tolist() == [1.0, 5.0, 9.0]
    assert found["stale"].numpy()[0] == 6.0 and np.isnan(found["stale"].numpy()[1])
    assert not scores.total.numpy().any() and not scores.count.numpy().any()
    assert scores.direction.numpy().tolist() == [1, 2, 3, 4]


def test_an_id_that_stands_twice_in_a_batch_is_summed_and_met_once():
    """By hand, with SGD of step 1/2: one rule with and without scores of every step."""
    ids, fresh = tf.constant([2, 0, 2], tf.int64), tf.constant([0.25, -1.0, 0.5])

    def store():
        return WeightStore(4, "per_example", keras.optimizers.SGD(0.5))

    plain, scored, scores = store(), store(), StaleScores(4, 2)
    plain.update(ids, fresh)
    found = scores.refresh(ids, fresh, tf.zeros([2]))
    scored.update(found["ids"], found["gradient"])
    for one in (plain, scored):
        assert one.table().numpy().tolist() == [1.5, 1, 1 - 0.5 * 0.75, 1]
        assert one.visits.numpy().tolist() == [1, 0, 1, 0]
    # Two batches of theta-steps, under XLA as well: sums 4 and 2 of id 1, and 6 of id 2.
    gather = tf.function(scores._gather, jit_compile=True)
    for batch, values in (([1, 1], [1.0, 3.0]), ([1, 2], [2.0, 6.0])):
        gather(tf.constant(batch, tf.int64), tf.constant(values), scores.ready.value)
    assert scores.count.numpy().tolist() == [0, 2, 1, 0]
    found = scores.refresh(ids, fresh, tf.zeros([2]))
    assert found["ids"].numpy().tolist() == [0, 1, 2]
    assert found["gradient"].numpy().tolist() == [-1, (4 + 2) / 2, (6 + 0.75) / 2]
    assert found["fresh"].numpy().tolist() == [0.75, -1]  # of ids 2 and 0
    np.testing.assert_array_equal(found["stale"], [6, np.nan])
    scored.update(found["ids"], found["gradient"])
    assert scored.table().numpy().tolist() == [2, 0, 0, 1]  # not below 0
    assert scored.visits.numpy().tolist() == [2, 1, 2, 0]


class Doubled(TinySource):
    """Every unlabeled example of a batch stands there twice."""

    def at(self, step):
        labeled, unlabeled = super().at(step)
        return labeled, type(unlabeled)(*(tf.concat([x, x], 0) for x in unlabeled))


def test_duplicates_in_a_lambda_batch_move_a_weight_by_their_sum_in_both_modes():
    tables = []
    for every in (False, True):
        store = WeightStore(NUM_UNLABELED, "per_example", keras.optimizers.SGD(0.5))
        settings = BilevelSettings(inner_steps=3, score_every_step=every)
        trainer = make_trainer(settings=settings, store=store)
        trainer.theta.source, trainer.lambda_source = Doubled(), Doubled(offset=7)
        trainer.train(3)
        measured = trainer.measure()
        assert len(set(measured.ids.numpy())) == len(measured.ids) == 20
        trainer.lambda_step()
        expected = np.ones(NUM_UNLABELED)
        expected[measured.ids] -= 0.5 * measured.lam_gradient.numpy()
        np.testing.assert_allclose(store.table(), np.maximum(expected, 0), rtol=1e-6)
        assert set(store.visits.numpy()) == {0, 1}
        tables.append(store.table().numpy())
    np.testing.assert_array_equal(*tables)
    trainer.train(3)
    assert trainer.scores.count.numpy().tolist() == [1] * 60


def test_more_examples_move_and_the_log_says_how_stale_the_scores_were():
    reports = {}
    moved = {}
    for every in (True, False):
        settings = BilevelSettings(inner_steps=3, score_every_step=every)
        trainer = make_trainer(settings=settings)
        trainer.train(3)
        trainer.lambda_step()
        before = trainer.store.table().numpy()
        trainer.train(3)
        stale = trainer.scores and (trainer.scores.total.numpy(), trainer.scores.count.numpy())
        reports[every] = trainer.lambda_step()
        moved[every] = np.flatnonzero(trainer.store.table().numpy() != before)
        if every:
            count = stale[1]
            ids = np.flatnonzero(count)
            assert count.sum() == 60 and set(ids) <= set(moved[True])
    assert len(moved[True]) > len(moved[False]) == 20
    assert reports[True]["scored"] == len(moved[True])
    assert -1 <= reports[True]["stale_fresh_spearman"] <= 1
    assert "scored" not in reports[False]


def test_correlation_is_spearmans(rng):
    from ssl_weighting.lambda_step import rank_correlation

    stale, fresh = rng.normal(size=9).astype("f"), rng.normal(size=9).astype("f")
    stale[4] = np.nan
    both = np.isfinite(stale)
    expected = scipy.stats.spearmanr(stale[both], fresh[both]).statistic
    assert rank_correlation(tf.constant(stale), tf.constant(fresh)) == pytest.approx(expected)
    assert np.isnan(rank_correlation(tf.constant(stale[3:5]), tf.constant(fresh[3:5])))
    assert np.isnan(rank_correlation(tf.constant(stale * 0), tf.constant(fresh)))


def test_a_refused_solve_leaves_weights_and_gathered_scores_alone():
    trainer = trainer_with()
    trainer.train(3)
    trainer.lambda_step()
    trainer.train(3)
    state = [np.array(v.value) for v in [*trainer.store.variables, *trainer.scores.variables]]
    algorithm = trainer._lambda_step.algorithm

    def broken(*arguments):
        rows = algorithm(*arguments)
        return rows._replace(coefficient=-1e3 * rows.coefficient)

    step = trainer._lambda_step
    step.algorithm = broken
    step._measure = tf.function(step._measure_fn, autograph=False)  # traced anew
    assert trainer.lambda_step()["skipped"]
    after = [*trainer.store.variables, *trainer.scores.variables]
    for a, b in zip(state, after, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_scores_that_are_not_finite_stop_a_run_and_leave_everything_alone():
    trainer = trainer_with()
    trainer.train(3)
    trainer.lambda_step()
    trainer.train(3)
    trainer.scores.total.assign(np.where(np.arange(NUM_UNLABELED) == 5, np.inf, 1))
    held = [*trainer.store.variables, *trainer.scores.variables]
    before = [v.numpy() for v in held]
    with pytest.raises(NonFiniteError, match="A score since the last Lambda-step is not finite"):
        trainer.lambda_step()
    refresh = trainer.scores.refresh
    for ids, g in (([NUM_UNLABELED], [1.0]), ([-1], [1.0]), ([0], [np.nan])):
        with pytest.raises(ValueError, match="must be"):
            refresh(tf.constant(ids, tf.int64), tf.constant(g), trainer.scores.direction.value)
    for old, new in zip(before, held, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_whole_runs_move_weights():
    trainer = run(trainer_with(), 13)
    assert (trainer.store.table().numpy() != 1).sum() == NUM_UNLABELED


class Known(Doubled):
    """Tells which ids its batches have, and counts how often it is asked."""

    def __init__(self, asked, offset=0):
        super().__init__(offset=offset)
        self.asked = asked

    def met(self, first, until):
        self.asked.append((first, until))
        batches = [self.at(step)[1].ids.numpy() for step in range(first, until)]
        return np.unique(np.concatenate(batches)) if batches else np.zeros(0, np.int64)


@pytest.mark.parametrize("stale_w", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_looking_at_what_was_met_gives_the_bits_of_looking_at_all(stale_w):
    """Over a Λ-step that was skipped and a trainer that goes on from the state of another."""
    settings = BilevelSettings(inner_steps=3, score_every_step=True, stale_w=stale_w)
    found = []
    for known in (True, False):
        asked = []

        def made(known=known, asked=asked):
            trainer = make_trainer(settings=settings)
            trainer.source = trainer.theta.source = Known(asked) if known else Doubled()
            trainer.lambda_source = Doubled(offset=7)
            return trainer

        trainer = run(made(), 10)
        apply = trainer._lambda_step.apply

        def skipped(measured, *others, apply=apply):
            measured.report["skipped"] = True
            apply(measured, *others)

        trainer._lambda_step.apply = skipped
        run(trainer, 13)
        trainer._lambda_step.apply = apply
        saved = snapshot(run(trainer, 17))
        if known:  # two Λ-steps lie in one look where the first was skipped
            assert any(until - first == 6 for first, until in asked)
            assert (trainer.scores.since.numpy() > 0) and trainer.met() is not None
            restore(trainer := made(), saved)
        run(trainer, 25)
        state, _ = snapshot(trainer)
        found.append([values.tobytes() for values in state])
    assert found[0] == found[1]


def test_without_the_steps_since_when_all_is_looked_at_once():
    asked = []
    trainer = trainer_with()
    trainer.source = trainer.theta.source = Known(asked)
    run(trainer, 7)
    trainer.scores.since.assign(-1)  # of a checkpoint of before
    asked.clear()
    run(trainer, 13)
    assert asked == [(9, 12)]
    trainer.scores.since.assign(99)  # of steps that were not taken
    assert trainer.met() is None


def test_a_refresh_clears_what_was_met_and_refuses_what_is_not_finite_there():
    scores = StaleScores(9, 2)
    scores.ready.assign(1)
    scores._gather(tf.constant([3, 8, 3], tf.int64), tf.constant([1.0, 2, 3]), scores.ready.value)
    met = np.array([1, 3, 8])
    scores.refuse_non_finite(met)
    ids, fresh = tf.constant([5], tf.int64), tf.constant([7.0])
    found = scores.refresh(ids, fresh, tf.zeros([2]), tf.constant(met))
    assert found["ids"].numpy().tolist() == [3, 5, 8]
    assert found["gradient"].numpy().tolist() == [4, 7, 2]
    assert not scores.total.numpy().any() and not scores.count.numpy().any()
    scores._gather(ids, tf.constant([np.inf]), scores.ready.value)
    scores.refuse_non_finite(met)
    with pytest.raises(NonFiniteError):
        scores.refuse_non_finite(np.array([5]))

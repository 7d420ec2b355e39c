"""Alg. 1 as a loop of the library's user: order of events, due dates, pauses, resuming anywhere."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from tiny import NUM_UNLABELED, make_trainer
from trainer_states import restore, shared, snapshot

from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.cross_fit import CrossFitTrainer
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.weight_store import WeightStore

OLD = {"infl_fresh_batch": False, "stale_w": True}
UNROLLED = LambdaStepSettings(inverse_hessian="unrolled", solve=SolveOptions(iterations=3))


def cross_fit():
    store = WeightStore(NUM_UNLABELED, "per_example", keras.optimizers.SGD(0.5))
    return CrossFitTrainer([make_trainer(seed=seed, store=store) for seed in (0, 1)])


def mode(lambda_settings=None, **options):
    return lambda: make_trainer(
        settings=BilevelSettings(**{"inner_steps": 4} | options), lambda_settings=lambda_settings
    )


MODES = {
    "Alg. 1": mode(),
    "stale weights": mode(**OLD, lambda_at_start=True),
    "own features": mode(**OLD, infl_own_features=True, score_every_step=True),
    "every step scored": mode(score_every_step=True),
    "unrolled": mode(UNROLLED),
    "cross-fit": cross_fit,
}


fresh = shared(lambda name: MODES[name]())


def names(events):
    return [f"{event.kind} {event.step}" for event in events]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["train 4", "lambda 4", "train 8", "lambda 8", "train 10"]),
        (
            {"lambda_at_start": True},
            ["lambda 0", "train 4", "lambda 4", "train 8", "lambda 8", "train 10"],
        ),
        ({"lambda_warmup_steps": 3}, ["train 3", "train 7", "lambda 7", "train 10"]),
        (
            {"lambda_warmup_steps": 3, "lambda_at_start": True},
            ["train 3", "lambda 3", "train 7", "lambda 7", "train 10"],
        ),
        (
            OLD,
            ["train 4", "lambda 4", "train 5", "train 8", "lambda 8", "train 9", "train 10"],
        ),
        ({"inner_steps": 5}, ["train 5", "lambda 5", "train 10"]),  # one at the end would not act
    ],
)
def test_events_come_in_the_order_of_alg_1(monkeypatch, settings, expected):
    trainer = mode(**OLD)() if "stale_w" in settings else fresh("Alg. 1")
    monkeypatch.setattr(trainer, "settings", BilevelSettings(**{"inner_steps": 4} | settings))
    events = list(trainer.steps(10))
    assert names(events) == expected
    moves = [event for event in events if event.kind == "lambda"]
    assert (trainer.step, trainer.lambda_steps) == (10, len(moves))
    for event in events:
        wanted = {"validation_loss", "solve", "skipped"} if event.kind == "lambda" else {"loss"}
        assert wanted <= event.report.keys() and "train" not in event.report
    assert list(trainer.steps(10)) == [], "nothing is left to do"


def test_blocks_end_where_the_caller_says_too():
    stops = names(fresh("Alg. 1").steps(10, lambda step: (step // 3 + 1) * 3))
    assert stops == [
        "train 3", "train 4", "lambda 4", "train 6", "train 8", "lambda 8", "train 9", "train 10",
    ]  # fmt: skip
    assert names(make_trainer("fixed").steps(10)) == ["train 10"]
    with pytest.raises(
        ValueError, match=r"`num_steps` must be at least 1 .* Received: num_steps=0"
    ):
        next(fresh("Alg. 1").steps(10, lambda step: step))


def test_theta_is_kept_and_rates_are_published_where_a_block_ends():
    assert names(fresh("unrolled").steps(8)) == ["train 1", "train 4", "lambda 4", "train 5",
                                                 "train 8"]  # fmt: skip
    trainer = make_trainer()
    trainer.rates = SimpleNamespace(next_publication=lambda step: (step // 3 + 1) * 3)
    assert trainer.next_pause() == 3
    trainer.step = 3
    assert trainer.next_pause() == 4


def by_threes(step):
    return (step // 3 + 1) * 3


@pytest.mark.parametrize("name", MODES)
def test_saved_between_any_two_events_it_goes_on_bit_for_bit(name):
    trainer = fresh(name)
    start, found = snapshot(trainer), []
    for event in trainer.steps(10, by_threes, lambda: 1):
        found.append((event, snapshot(trainer)))
    events = [event for event, _ in found]
    assert sum(event.kind == "piece" for event in events) >= 2
    assert sum(event.kind == "lambda" for event in events) >= 2
    assert (trainer.store.table().numpy() != 1).any()
    places = [(start, 0), *((saved, k + 1) for k, (_, saved) in enumerate(found))]
    for saved, done in places:
        restore(trainer, saved)
        rest = list(trainer.steps(10, by_threes, lambda: 1))
        # A theta-step that a Lambda-step took along has been taken: only its event is missing.
        along = done and events[done - 1].kind == "lambda" and saved[1][0] > events[done - 1].step
        assert repr(rest) == repr(events[done + bool(along) :]), f"after {done} events"
        for value, expected in zip(snapshot(trainer)[0], found[-1][1][0], strict=True):
            np.testing.assert_array_equal(value, expected)

    for most in (None, lambda: 1 + trainer.step % 2, lambda: 2):
        restore(trainer, start)
        rest = [x for x in trainer.steps(10, by_threes, most) if x.kind != "piece"]
        assert repr(rest) == repr([x for x in events if x.kind != "piece"]), "in other pieces"
        for value, expected in zip(snapshot(trainer)[0], found[-1][1][0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_the_loop_is_the_alternation_by_hand():
    ours, by_hand = fresh("Alg. 1"), make_trainer()
    reports = [event.report for event in ours.steps(9)]
    expected = [by_hand.train(4), by_hand.lambda_step(), by_hand.train(4), by_hand.lambda_step()]
    assert repr(reports) == repr([*expected, by_hand.train(1)])
    for a, b in zip(snapshot(ours)[0], snapshot(by_hand)[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["Alg. 1", "stale weights", "cross-fit"])
def test_theta_steps_past_a_lambda_step_that_is_due_are_refused(name):
    trainer = fresh(name)
    if name == "stale weights":
        with pytest.raises(ValueError, match=r"at most 0 theta-steps .* num_steps=1 at step 0"):
            trainer.train(1)
        trainer.lambda_step()
    with pytest.raises(ValueError, match=r"at most [34] theta-steps from here.*num_steps=5"):
        trainer.train(5)
    trainer.train(4 - trainer.step)
    with pytest.raises(
        ValueError, match=r"at most 0 theta-steps .*Call `lambda_step` where one is"
    ):
        trainer.train(1)
    trainer.lambda_step()
    assert names(trainer.steps(8)) == ["train 8"]
    make_trainer("fixed").train(9)


def test_every_step_can_be_scored_by_the_last_layer_alone():
    with pytest.raises(
        ValueError,
        match=r"`score_every_step` must come with influence_params=last_layer.*"
        r"score_every_step=True, influence_params='head'. Switch `score_every_step` off",
    ):
        mode(LambdaStepSettings(influence_params="head"), score_every_step=True)()

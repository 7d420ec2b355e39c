"""Numbers, labels and ids are checked where they enter, in every mode, before anything moves."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TinySource, make_trainer

from ssl_weighting.algorithms import ALGORITHMS, FixMatch, ReMixMatch
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.checks import check_number
from ssl_weighting.data.examples import Examples
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStep, LambdaStepSettings
from ssl_weighting.losses import Brier, ReverseKL, SoftmaxCrossEntropy, logit_gradient
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.models import mlp
from ssl_weighting.parameters.last_layer import LastLayer
from ssl_weighting.parameters.subnetwork import Subnetwork
from ssl_weighting.stale_scores import StaleScores
from ssl_weighting.theta.bert_adamw import BertAdamW
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.schedules import SCHEDULES, make_schedule
from ssl_weighting.theta.step import NonFiniteError
from ssl_weighting.weight_store import WeightStore

ADAM = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}
OF_ALGORITHMS = {
    "fixmatch": {"threshold": 0.9, "wu": 1.0, "ramp_steps": 3},
    "pseudo_label": {"threshold": 0.9, "wu": 1.0, "ramp_steps": 3},
    "uda": {"threshold": 0.9, "temperature": 0.5, "wu": 1.0, "entropy_coefficient": 0.1,
            "num_steps": 9},
    "vat": {"vat_epsilon": 6.0, "xi": 1e-6, "wu": 0.3, "entropy_coefficient": 0.06, "seed": 0},
    "mixmatch": {"temperature": 0.5, "mixup_beta": 0.5, "wu": 1.0, "ramp_steps": 3, "seed": 0},
    "mean_teacher": {"wu": 1.0, "ramp_steps": 3},
}  # fmt: skip
# Constructor -> its numbers; the others are given.
NUMBERS = {
    **{ALGORITHMS[name]: numbers for name, numbers in OF_ALGORITHMS.items()},
    ReMixMatch: {"num_classes": 3, "temperature": 0.5, "mixup_beta": 0.5, "wu": 1.0, "seed": 0,
                 "kl_coefficient": 0.5, "rotation_coefficient": 0.5, "ramp_steps": 3},
    MAdam: ADAM,
    LambdaAdam: ADAM,
    BertAdamW: ADAM | {"weight_decay": 0.1, "global_clipnorm": 1.0},
    NesterovSGD: {"learning_rate": 0.1, "momentum": 0.9},
    **{kind: {"peak": 0.1, "num_steps": 9, "warmup_steps": 2} for kind in SCHEDULES.values()},
    make_schedule: {"learning_rate": 0.1},
    ExponentialMovingAverage: {"decay": 0.9},
    WeightStore: {"num_unlabeled": 4, "lambda_init": 1.0, "seed": 0},
    StaleScores: {"num_unlabeled": 4, "num_parameters": 2},
    SolveOptions: {"damping": 0.1, "iterations": 5, "tolerance": 1e-6, "scale": 0.1, "repeats": 1,
                   "power_iterations": 5, "dense_limit": 9, "seed": 0},
    LambdaStepSettings: {"hess_l2_coeff": 0.1, "solve_sample": 4, "max_memory": 10**6},
    BilevelSettings: {"inner_steps": 3, "lambda_warmup_steps": 0, "weight_decay": 0.1},
    Evaluator: {"batch_size": 5},
    LastLayer: {"l2": 0.1, "sample_size": 4},
    Subnetwork: {"l2": 0.1, "sample_size": 4},
}  # fmt: skip
GIVEN = {
    ALGORITHMS["mean_teacher"]: {"teacher": None},
    make_schedule: {"lr_schedule": "constant", "steps": 9},
    ExponentialMovingAverage: {"params": []},
    WeightStore: {"optimizer": MAdam()},
    Evaluator: {"model": None, "ema": None, "preprocess": None},
    LastLayer: {"model": mlp(2, 2, width=3)},
    Subnetwork: {"model": mlp(2, 2, width=3)},
}


@pytest.mark.parametrize("make", NUMBERS, ids=lambda make: make.__name__)
def test_a_number_that_is_none_is_refused_by_name(make):
    given = GIVEN.get(make, {})
    for name, value in NUMBERS[make].items():
        make(**given, **NUMBERS[make])
        bad = [float("nan"), float("-inf"), -1, -(10**9)]
        bad += [float("inf"), 1e39] if isinstance(value, float) else [value + 0.5]
        for wrong in bad:
            message = rf"`{name}` must .*Received: .*{re.escape(str(wrong))}"
            with pytest.raises(ValueError, match=message):
                make(**given, **NUMBERS[make] | {name: wrong})


def test_ranges_are_told_in_words():
    for known, words in (
        ({}, ">= 0 and finite"),
        ({"above": 0}, "> 0 and finite"),
        ({"least": 1, "whole": True}, ">= 1 and a whole number"),
        ({"below": 1}, r"in \[0, 1\)"),
        ({"most": 2.0}, r"in \[0, 2.0\]"),
        ({"most": float("inf")}, ">= 0"),
    ):
        with pytest.raises(ValueError, match=rf"^`x` must be {words}. Received: x=nan$"):
            check_number("x", float("nan"), **known)
    check_number("x", np.float32(2)), check_number("x", np.int64(2), whole=True)
    for value in ("2", None, True, 2.0):
        with pytest.raises(ValueError, match="`x` must be >= 0 and a whole number"):
            check_number("x", value, whole=True)


BAD_LABELS = {
    "a column": lambda y: y[:, None],
    "one for all": lambda y: y[:1],
    "floats": lambda y: tf.cast(y, tf.float32),
    "too large": lambda y: tf.where(tf.range(len(y)) == 3, 2, y),
    "negative": lambda y: tf.where(tf.range(len(y)) == 3, -1, y),
}
BAD_IDS = {
    "a column": lambda ids: ids[:, None],
    "one for all": lambda ids: ids[:1],
    "floats": lambda ids: tf.cast(ids, tf.float32),
    "too large": lambda ids: ids + 60,
    "negative": lambda ids: ids - 2,
}


def state_of(trainer):
    own = [*trainer.store.variables, *trainer.params]
    return [np.array(v.value) for v in own]


def refused(trainer, call, message):
    before = state_of(trainer)
    with pytest.raises(ValueError, match=message):
        call()
    for old, new in zip(before, state_of(trainer), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.fixture(scope="module", params=["last_layer", "all"])
def measured_once(request):
    """A trainer that knows the number of classes, as after its first Lambda-step."""
    trainer = make_trainer(lambda_settings=LambdaStepSettings(influence_params=request.param))
    trainer.measure()
    return trainer


@pytest.mark.parametrize("which", ["validation", "labeled"])
@pytest.mark.parametrize("bad", [*BAD_LABELS, "none at all"])
def test_a_lambda_step_refuses_labels(measured_once, which, bad, monkeypatch):
    trainer, source = measured_once, TinySource()
    parts = {"labeled": source.at(0)[0], "validation": source.validation_at(0)}
    batch = parts[which]
    if bad == "none at all":
        parts[which] = batch._replace(inputs=batch.inputs[:0], label=batch.label[:0])
    else:
        parts[which] = batch._replace(label=BAD_LABELS[bad](batch.label))
    batches = parts["labeled"], source.at(0)[1]
    monkeypatch.setattr(trainer, "lambda_source", type("S", (), {"at": lambda self, k: batches})())
    monkeypatch.setattr(trainer, "validation_at", lambda k: parts["validation"])
    refused(trainer, trainer.lambda_step, f"`{which}` must (have at least one|be)")
    assert trainer.lambda_steps == 0


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_lambda_step_refuses_ids(measured_once, bad, monkeypatch):
    labeled, unlabeled = TinySource().at(0)
    batches = labeled, unlabeled._replace(ids=BAD_IDS[bad](unlabeled.ids))
    source = type("S", (), {"at": lambda self, k: batches})()
    monkeypatch.setattr(measured_once, "lambda_source", source)
    refused(measured_once, measured_once.lambda_step, "`ids` must be")


def test_the_first_lambda_step_refuses_a_label_beyond_the_models_classes():
    trainer = make_trainer()
    validation = TinySource().validation_at(0)
    trainer.validation_at = lambda k: validation._replace(label=validation.label + 1)
    refused(trainer, trainer.lambda_step, r"`validation` must be in 0..1, the .*Received: \[2")


@pytest.mark.parametrize("jit", [False, True])
def test_a_theta_step_refuses_labels_and_ids_by_name_and_leaves_lambda(jit):
    source = TinySource()
    for bad, change in (BAD_LABELS | {f"ids: {k}": v for k, v in BAD_IDS.items()}).items():
        trainer, ids = make_trainer(jit=jit), bad.startswith("ids")

        def at(step, change=change, ids=ids):
            labeled, unlabeled = source.at(step)
            if ids:
                return labeled, unlabeled._replace(ids=change(unlabeled.ids))
            return labeled._replace(label=change(labeled.label)), unlabeled

        trainer.theta.source = type(
            "S", (), {"dataset": lambda self, s: tf.data.Dataset.counter(s).map(at)}
        )()
        before = trainer.store.table().numpy()
        with pytest.raises(ValueError, match="`ids` must be" if ids else "`labeled` must be"):
            trainer.train(2)
        np.testing.assert_array_equal(trainer.store.table(), before)


def test_a_validation_loss_that_is_not_finite_stops_a_run_whose_gradient_is():
    trainer = make_trainer()
    whole = trainer.parameters.validation_gradient
    trainer.parameters.validation_gradient = lambda v: (tf.constant(np.nan), whole(v)[1])
    before = state_of(trainer)
    with pytest.raises(NonFiniteError, match="validation_loss': nan"):
        trainer.lambda_step()
    for old, new in zip(before, state_of(trainer), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_algorithm_that_invents_ids_is_stopped():
    trainer = make_trainer()
    algorithm = trainer._lambda_step.algorithm

    def inventive(*arguments):
        rows = algorithm(*arguments)
        return rows._replace(ids=tf.where(rows.ids == 8, tf.constant(-8, tf.int64), rows.ids))

    trainer._lambda_step.algorithm = inventive
    before = state_of(trainer)
    with pytest.raises(NonFiniteError, match="non-finite value"):
        trainer.lambda_step()
    for old, new in zip(before, state_of(trainer), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("kind", [SoftmaxCrossEntropy, Brier, ReverseKL])
@pytest.mark.parametrize("shape", [[1, 3], [4, 1], [3], [5, 3]])
def test_a_loss_refuses_targets_that_would_be_broadcast(kind, shape):
    loss, logits = kind(tf.ones(shape) / 3), tf.zeros([4, 3])
    for function in (loss, lambda z: logit_gradient(loss, z)):
        with pytest.raises(ValueError, match=r"`targets` must have a row for each .*\(4, 3\)"):
            function(logits)


def test_one_validation_example_has_no_halves():
    source = TinySource()
    one = tf.nest.map_structure(lambda x: x[:1], source.validation_at(0))
    model = mlp(2, 2, width=3)
    step = LambdaStep(model, FixMatch(threshold=0.0), WeightStore(60, optimizer=MAdam()))
    assert np.isnan(step.agreement_of_halves(*source.at(0), one, 0))


class Column(Examples):
    """Labels as `keras.datasets` has them, past the check of `Examples`."""

    def __post_init__(self):
        pass


def test_evaluation_refuses_labels_that_it_would_broadcast_or_misread():
    model = mlp(2, 2, width=3)
    ema = ExponentialMovingAverage(model.trainable_variables, 0.9)
    evaluator = Evaluator(model, ema, tf.constant, jit=False)
    inputs, labels = np.zeros([4, 2], "f"), np.array([0, 1, 1, 0])
    assert 0 <= evaluator.error_and_loss(Examples(inputs, labels.astype("i4")))[0] <= 100
    for bad in (labels[:, None], labels[:1], labels + 1, labels - 1, labels * 0.5):
        with pytest.raises(ValueError, match="The labels of `examples` must be"):
            evaluator.error_and_loss(Column(inputs, bad))
    with pytest.raises(ValueError, match="`examples` must have at least one"):
        evaluator.error_and_loss(Column(inputs[:0], labels[:0]))
    with pytest.raises(ValueError, match="`inputs` must be at least one"):
        evaluator.logits(inputs[:0])


def test_a_store_refuses_before_it_writes():
    ids, g = tf.constant([0, 3], tf.int64), tf.constant([1.0, -1.0])
    bad = {
        "foreign": (ids + 1, g), "negative": (ids - 1, g), "NaN": (ids, g * np.nan),
        "infinite": (ids, g / 0.0), "its sum overflows": (ids * 0, g * g * 3e38),
        "another length": (ids, g[:1]), "a matrix": (ids[None], g[None]),
        "whole gradients": (ids, tf.cast(g, tf.int32)), "broken ids": (tf.cast(ids, tf.float32), g),
    }  # fmt: skip
    for optimizer in (MAdam(mask="membership"), LambdaAdam(), keras.optimizers.SGD(0.1)):
        store = WeightStore(4, "per_example", optimizer)
        store.update(ids, g)
        before = [v.numpy() for v in store.variables]
        for update, error in (
            (store.update, ValueError),
            (tf.function(store.update), (ValueError, tf.errors.InvalidArgumentError)),
        ):
            for name, arguments in bad.items():
                with pytest.raises(error):
                    update(*arguments)
                for old, new in zip(before, store.variables, strict=True):
                    np.testing.assert_array_equal(old, new.numpy(), err_msg=name)

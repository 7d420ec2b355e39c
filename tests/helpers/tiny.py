"""A tiny problem in memory for tests of Alg. 1: points, a linear or small net, batches by step."""

import keras
import numpy as np
import tensorflow as tf

from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import mlp
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.weight_store import LEARNED, WeightStore

NUM_LABELED, NUM_UNLABELED, NUM_VALIDATION = 12, 60, 20


def damped(damping, **options):
    """Return LambdaStepSettings with that damping."""
    return LambdaStepSettings(solve=SolveOptions(damping=damping), **options)


class TinySource:
    """`at(step)` and `dataset(start)` like data.pipeline.BatchSource, over fixed arrays."""

    def __init__(self, seed=0, batch=20, offset=0):
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(NUM_LABELED + NUM_UNLABELED + NUM_VALIDATION, 2)).astype("f")
        self.y = (self.x.sum(1) > 0).astype("i4")
        self.batch, self.offset = batch, offset

    def at(self, step):
        step = tf.cast(step, tf.int64)
        ids = (
            step * self.batch + self.offset + tf.range(self.batch, dtype=tf.int64)
        ) % NUM_UNLABELED
        u = tf.gather(self.x, ids + NUM_LABELED)
        labeled = LabeledBatch(tf.constant(self.x[:NUM_LABELED]), tf.constant(self.y[:NUM_LABELED]))
        return labeled, UnlabeledBatch(ids, u, u * 1.1 + 0.05)

    def dataset(self, start):
        return tf.data.Dataset.counter(start).map(self.at)

    def validation_at(self, k):
        return LabeledBatch(
            tf.constant(self.x[-NUM_VALIDATION:]), tf.constant(self.y[-NUM_VALIDATION:])
        )


def make_trainer(
    mode="per_example",
    algorithm="uda",
    *,
    settings=None,
    lambda_settings=None,
    model=None,
    optimizer=None,
    seed=0,
    jit=False,
    lambda_lr=0.1,
    store=None,
    **store_options,
):
    """Return a BilevelTrainer on the tiny problem, fully determined by `seed`."""
    keras.utils.set_random_seed(seed)
    model = model or mlp(2, 2, width=8, seed=seed)
    store = store or WeightStore(
        NUM_UNLABELED, mode, MAdam(lambda_lr) if mode in LEARNED else None, **store_options
    )
    return BilevelTrainer(
        model,
        make_algorithm(algorithm, threshold=0.0),
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        store,
        ExponentialMovingAverage(model.trainable_variables, 0.9),
        TinySource(),
        TinySource(offset=7),
        TinySource().validation_at,
        settings or BilevelSettings(inner_steps=4),
        lambda_settings or LambdaStepSettings(),
        jit=jit,
    )


def run(trainer, steps):
    """Take `steps` theta-steps with the Lambda-steps that fall due among them."""
    for _ in trainer.steps(steps, lambda step: step + 1):
        pass
    return trainer

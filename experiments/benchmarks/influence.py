"""Suite influence: what one step on Lambda costs beside the steps on theta between two of them.

The real trainer takes real steps on random uint8 images held in memory, without a data pipeline.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from experiments.benchmarks import lambda_parts
from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio
from experiments.benchmarks.suite import Case, Options
from experiments.config import Config
from ssl_weighting.algorithms import FixMatch
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.ema import ExponentialMovingAverage
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import HEAD, wide_resnet
from ssl_weighting.nesterov import NesterovSGD
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.weight_store import WeightStore

NUM_UNLABELED = 50_000
INNER_STEPS = 100  # N: theta-steps for one Lambda-step


def cases(options: Options) -> dict[str, Case]:
    """Return the rows: theta-step, Lambda-step and the parts of the latter."""
    names = ("labeled_batch", "unlabeled_batch", "validation_batch")
    names += ("depth", "width", "image_size", "num_classes")
    sizes = {name: getattr(options, name) for name in names} | {"num_unlabeled": NUM_UNLABELED}
    make = {
        "theta_step_graph": _theta_step(jit_compile=False),
        "theta_step_xla": _theta_step(jit_compile=True),
        "lambda_step_exact": _lambda_step("exact"),
        "lambda_forward_passes": _forward_passes,
        "lambda_hessian_and_solve": _hessian_and_solve,
        "lambda_contraction_and_update": _contraction_and_update,
        "lambda_step_identity": _lambda_step("identity"),
    }
    return {
        name: Case(sizes, functools.partial(_of_shape, one, options)) for name, one in make.items()
    }


def ratios(timings: dict[str, Timing], options: Options) -> dict[str, Ratio]:
    """Return Lambda-step over N theta-steps, exact over identity, XLA over graph."""
    # Against the faster theta-step: the stricter of the two shares.
    compiled = [timings["theta_step_graph"], timings["theta_step_xla"]]
    theta = min(compiled, key=lambda timing: np.median(timing.cpu))
    exact, identity = timings["lambda_step_exact"], timings["lambda_step_identity"]
    share = f"lambda_step_share_at_{INNER_STEPS}"
    return {
        share: cpu_ratio(exact, theta, 1 / INNER_STEPS),
        "exact_over_identity": cpu_ratio(exact, identity),
        "theta_xla_over_graph": cpu_ratio(compiled[1], compiled[0]),
    }


class InMemory:
    """The same batches at every step: the interface of `data.pipeline.BatchSource`."""

    def __init__(self, options: Options):
        rng = np.random.default_rng(0)
        self.options = options
        self.labeled = self._labeled(rng, options.labeled_batch)
        self.validation = self._labeled(rng, options.validation_batch)
        count = options.unlabeled_batch
        index = tf.constant(rng.choice(NUM_UNLABELED, count, replace=False))
        self.unlabeled = UnlabeledBatch(index, self._images(rng, count), self._images(rng, count))

    def at(self, step) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return the batches, whatever `step`."""
        del step
        return self.labeled, self.unlabeled

    def dataset(self, start: int) -> tf.data.Dataset:
        """Return the batches without end."""
        return tf.data.Dataset.from_tensors(self.at(start)).repeat()

    def _labeled(self, rng, count):
        labels = rng.integers(self.options.num_classes, size=count, dtype=np.int32)
        return LabeledBatch(self._images(rng, count), tf.constant(labels))

    def _images(self, rng, count):
        side = self.options.image_size
        pixels = rng.integers(256, size=[count, side, side, 3], dtype=np.uint8)
        return tf.constant(pixels.astype(np.float32) * np.float32(2 / 255) - 1)


@functools.cache
def parts(options: Options):
    """Return (model, store, batches), built once for all rows of these shapes."""
    model = wide_resnet(
        (options.image_size, options.image_size, 3),
        options.num_classes,
        depth=options.depth,
        width=options.width,
    )
    return model, WeightStore(NUM_UNLABELED, "per_example", MAdam()), InMemory(options)


def algorithm() -> FixMatch:
    """Return FixMatch without a threshold: an untrained net would mask every row."""
    return FixMatch(threshold=0.0)


def trainer(options: Options, method: str = "exact", jit_compile: bool = True) -> BilevelTrainer:
    """Return the trainer of Alg. 1 on these shapes, with the programs' defaults."""
    (model, store, batches), config = parts(options), Config()
    return BilevelTrainer(
        model,
        algorithm(),
        NesterovSGD(config.learning_rate),
        store,
        ExponentialMovingAverage(model.trainable_variables, config.ema_decay),
        batches,
        batches,
        lambda k: batches.validation,
        BilevelSettings(INNER_STEPS, weight_decay=config.weight_decay),
        settings(method),
        jit_compile=jit_compile,
    )


def settings(method: str = "exact") -> LambdaStepSettings:
    """Return the programs' defaults for Eq. 6."""
    return LambdaStepSettings(inverse_hessian=method, damping=Config().damping)


def _of_shape(make, options, tiny):
    if not tiny:
        return make(options)
    # Two of each: the same operations, next to no memory.
    least = {"labeled_batch": 2, "unlabeled_batch": 2, "validation_batch": 2}
    return make(Options(**vars(options) | least))


def _theta_step(jit_compile):
    def make(options):
        steps = trainer(options, jit_compile=jit_compile)
        return lambda: steps.train(1)

    return make


def _lambda_step(method):
    return lambda options: trainer(options, method).lambda_step


def _forward_passes(options):
    model, _, batches = parts(options)
    forward = tf.function(functools.partial(lambda_parts.forward_passes, model, algorithm()))
    return lambda: forward(*batches.at(0), batches.validation)


def _random_passes(options):
    """Features, logits and targets of the shapes that the forward passes give."""
    model, store, batches = parts(options)
    rows = options.labeled_batch + options.unlabeled_batch
    width = model.get_layer(HEAD).kernel.shape[0]

    def normal(count, size):
        return tf.random.stateless_normal([count, size], [count, size])

    passes = lambda_parts.Passes(
        normal(rows, width),
        normal(rows, options.num_classes),
        tf.nn.softmax(normal(rows, options.num_classes)),
        tf.ones([rows]) / rows,
        normal(options.validation_batch, width),
        normal(options.validation_batch, options.num_classes),
        batches.validation.label,
    )
    return passes, store, batches


def _hessian_and_solve(options):
    passes, _, _ = _random_passes(options)
    weight_decay = Config().weight_decay
    solve = functools.partial(lambda_parts.hessian_and_solve, settings(), weight_decay)
    return functools.partial(tf.function(solve), passes)


def _contraction_and_update(options):
    passes, store, batches = _random_passes(options)
    shape = [passes.features.shape[1] + 1, options.num_classes]
    direction = tf.random.stateless_normal(shape, [0, 0], dtype=tf.float64)
    update = tf.function(functools.partial(lambda_parts.contraction_and_update, store))
    return lambda: update(passes, direction, batches.unlabeled.index)

"""Suite influence: the running times of Sec. 4.4.

What a step on Lambda costs, by each method, beside the steps on theta between two of them, and what
per-example gradients and dot products cost (`influence_engines`). The real trainer takes real steps
on random uint8 images held in memory, without a data pipeline.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import tensorflow as tf

from experiments.benchmarks import influence_engines
from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio
from experiments.benchmarks.suite import Case, Options
from experiments.options.config import Config
from ssl_weighting.algorithms import FixMatch
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.inverse_hessian import METHODS, SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import wide_resnet
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.weight_store import WeightStore

NUM_UNLABELED = 50_000
INNER_STEPS = 100  # N: theta-steps for one Lambda-step
LAST_GROUP = "group_3|last_norm|head"  # the 128-channel group and the classifier
SERIES = (5, 20, 100)  # K of the Neumann rows
PAPER_SPEEDUP = 4.6  # Sec. 4.4: the exact step against Lorraine et al. on the last group
UNROLLED_STEPS = 5  # K of the row of that method


def cases(options: Options) -> dict[str, Case]:
    """Return the rows: theta-step, Lambda-step and the parts of the latter."""
    names = ("labeled_batch", "unlabeled_batch", "validation_batch")
    names += ("depth", "width", "image_size", "num_classes")
    sizes = {name: getattr(options, name) for name in names} | {"num_unlabeled": NUM_UNLABELED}
    make = {
        "theta_step_graph": _theta_step(jit=False),
        "theta_step_xla": _theta_step(jit=True),
        "theta_step_scored": _theta_step(jit=False, score_every_step=True),
    }
    for method in METHODS:
        make[f"lambda_step_{method}"] = _lambda_step(settings(method))
    make["lambda_step_unrolled"] = _unrolled_step
    for count in SERIES:
        make[f"lambda_step_last_group_neumann_{count}"] = _lambda_step(last_group(count))
    make["scores_of_a_step"] = _scores_of_a_step
    make |= influence_engines.tasks(parts)
    return {
        name: Case(sizes, functools.partial(_of_shape, one, options)) for name, one in make.items()
    }


def ratios(timings: dict[str, Timing], peaks: dict, options: Options) -> dict[str, Ratio]:
    """Return the ratios that the suite is about, where both of their rows were run.

    Args:
        timings: of the rows; peaks: row -> MB or None.
    """
    del options

    def ratio(above, below, scale=1.0):
        have = above in timings and below in timings
        return cpu_ratio(timings[above], timings[below], scale) if have else None

    def memory(above, below):
        have = peaks.get(above) is not None and peaks.get(below)
        return Ratio(peaks[above] / peaks[below]) if have else None

    thetas = [name for name in ("theta_step_graph", "theta_step_xla") if name in timings]
    # Against the faster theta-step: the stricter of the two shares.
    theta = min(thetas, key=lambda name: np.median(timings[name].cpu), default="none")
    neumann = {count: f"lambda_step_last_group_neumann_{count}" for count in SERIES}
    found = {
        f"lambda_step_share_at_{INNER_STEPS}": ratio("lambda_step_exact", theta, 1 / INNER_STEPS),
        "score_every_step_share": ratio("scores_of_a_step", theta),
        "exact_over_identity": ratio("lambda_step_exact", "lambda_step_identity"),
        "neumann_over_exact": ratio(neumann[20], "lambda_step_exact"),
        "neumann_5_over_exact": ratio(neumann[5], "lambda_step_exact"),
        "neumann_100_over_exact": ratio(neumann[100], "lambda_step_exact"),
        f"neumann_terms_for_{PAPER_SPEEDUP}": _terms_for_the_paper_s_speedup(timings, neumann),
        "exact_over_neumann_memory": memory("lambda_step_exact", neumann[20]),
        "theta_xla_over_graph": ratio("theta_step_xla", "theta_step_graph"),
        **influence_engines.ratios(ratio, memory),
    }
    return {name: value for name, value in found.items() if value is not None}


def _terms_for_the_paper_s_speedup(timings, neumann):
    """K at which the Neumann step costs 4.6 exact ones: on the line through K = 5 and K = 20."""
    names = neumann[5], neumann[20], "lambda_step_exact"
    if not all(name in timings for name in names):
        return None
    few, many, exact = (timings[name].cpu for name in names)
    term = (many - few) / (20 - 5)
    wanted = timings["lambda_step_exact"]._replace(cpu=PAPER_SPEEDUP * exact - few + 5 * term)
    return cpu_ratio(wanted, wanted._replace(cpu=term)) if term.min() > 0 else None


class InMemory:
    """The same batches at every step: the interface of `data.pipeline.BatchSource`."""

    def __init__(self, options: Options):
        rng = np.random.default_rng(0)
        self.options = options
        self.labeled = self._labeled(rng, options.labeled_batch)
        self.validation = self._labeled(rng, options.validation_batch)
        count = options.unlabeled_batch
        ids = tf.constant(rng.choice(NUM_UNLABELED, count, replace=False))
        self.unlabeled = UnlabeledBatch(ids, self._images(rng, count), self._images(rng, count))

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


def trainer(
    options: Options,
    lambda_settings: LambdaStepSettings | None = None,
    jit: bool = True,
    score_every_step: bool = False,
) -> BilevelTrainer:
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
        BilevelSettings(
            INNER_STEPS, weight_decay=config.weight_decay, score_every_step=score_every_step
        ),
        lambda_settings or settings(),
        jit=jit,
    )


def settings(method: str = "exact") -> LambdaStepSettings:
    """Return the programs' defaults for Eq. 6."""
    return LambdaStepSettings(
        inverse_hessian=method, solve=SolveOptions(damping=Config().damping, tolerance=0.0)
    )


def last_group(count: int) -> LambdaStepSettings:
    """Return Lorraine et al. as the paper could run it: K terms on the last group, alpha given."""
    solve = SolveOptions(Config().damping, count, tolerance=0.0, scale=0.01)
    return LambdaStepSettings(LAST_GROUP, "neumann", solve)


def _of_shape(make, options, tiny):
    if not tiny:
        return make(options)
    # Two of each: the same operations, next to no memory.
    least = {"labeled_batch": 2, "unlabeled_batch": 2, "validation_batch": 2}
    return make(Options(**vars(options) | least))


def _theta_step(jit, score_every_step=False):
    def make(options):
        steps = trainer(options, jit=jit, score_every_step=score_every_step)
        if score_every_step:  # as after a Lambda-step
            steps.scores.ready.assign(1)
        numbers = itertools.count()
        return lambda: steps.theta.take(next(numbers), 1)

    return make


def _lambda_step(lambda_settings):
    return lambda options: trainer(options, lambda_settings).lambda_step


def _unrolled_step(options):
    """It needs true steps behind it; when other rows have moved theta it does the same work."""
    plain = settings("unrolled")
    solve = dataclasses.replace(plain.solve, iterations=UNROLLED_STEPS)
    steps = trainer(options, dataclasses.replace(plain, solve=solve), jit=False)
    steps.replay.keep(0)
    steps.train(UNROLLED_STEPS)
    return steps.lambda_step


def _scores_of_a_step(options):
    """What --score_every_step adds to a theta-step, whose rows are at hand."""
    steps = trainer(options, score_every_step=True)
    _, _, batches = parts(options)
    steps.scores.ready.assign(1)  # as after a Lambda-step
    rows = algorithm()(steps.parameters.forward, *batches.at(0), tf.constant(0, tf.int64))
    rows = rows._replace(features=tf.cast(rows.features, tf.float32))

    @tf.function(autograph=False)
    def add():
        steps.scores.add(rows, tf.size(batches.unlabeled.ids))

    return add

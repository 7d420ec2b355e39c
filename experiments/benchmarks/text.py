"""Suite text: what Lambda costs beside the steps on BERT, and how fast texts become tokens.

MiniLM's sizes with random weights (`--text_layers` of them), UDA at App. D's batches, random tokens
without padding. A Lambda-step stands before every fifth theta-step. `theta_and_lambda_step` is a
theta-step with the Lambda-step in it (--infl_own_features): V alone passes through the net for it.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import tensorflow as tf

from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio
from experiments.benchmarks.suite import Case, Options
from experiments.options.presets import make_config
from ssl_weighting.algorithms import UDA
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.data.texts.tokens import load_encoder
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import BertShape, bert
from ssl_weighting.models.bert_weights import MINILM, bert_folder
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.bert_adamw import BertAdamW
from ssl_weighting.theta.ema import ExponentialMovingAverage
from ssl_weighting.weight_store import WeightStore

NUM_UNLABELED = 69_972
RECIPE = make_config(dataset="imdb")
INNER_STEPS = RECIPE.inner_steps  # N = 5
BATCHES = {"labeled": RECIPE.labeled_batch, "unlabeled": RECIPE.unlabeled_batch, "validation": 20}
TOP_LAYERS = 2
NUM_TEXTS, NUM_WORDS = 1000, 230  # of the tokenisation row: texts, words in each
WORDS = ("the", "film", "was", "good", "bad", "plot", "acting", "unforgettable", "seductive")


def cases(options: Options) -> dict[str, Case]:
    """Return the rows: theta-steps, Lambda-steps within and beside one, tokenisation."""
    sizes = BATCHES | {"length": options.text_length, "layers": options.text_layers}
    make = {
        "theta_step": _theta_step,
        "theta_step_one_pass": functools.partial(_theta_step, separate_weak=False),
        "theta_step_scored": functools.partial(_theta_step, score_every_step=True),
        f"theta_step_top_{TOP_LAYERS}": functools.partial(_theta_step, top=True),
        "theta_and_lambda_step": _lambda_step,
        "lambda_step_own_pass": functools.partial(_lambda_step, infl_own_features=False),
    }
    found = {name: Case(sizes, functools.partial(one, options)) for name, one in make.items()}
    texts = {"texts": NUM_TEXTS, "words": NUM_WORDS, "length": options.text_length}
    found["tokenise"] = Case(texts, functools.partial(_tokenise, options))
    return found


def ratios(timings: dict[str, Timing], peaks: dict, options: Options) -> dict[str, Ratio]:
    """Return `lambda_share` and its like, and throughputs by wall clock.

    lambda_share = extra / (5 theta + extra), with extra what a theta-step costs more with a
    Lambda-step in it; `_own_pass`: the Lambda-step as a pass of its own over a fresh batch.
    one_pass: with the weak views in the pass of the others, backward too.
    """
    del peaks
    found = {}
    theta = timings.get("theta_step")
    if theta and "theta_and_lambda_step" in timings:
        extra = timings["theta_and_lambda_step"].cpu - theta.cpu
        found["lambda_share"] = _share(theta, extra)
    if theta and "lambda_step_own_pass" in timings:
        found["lambda_share_own_pass"] = _share(theta, timings["lambda_step_own_pass"].cpu)
    if theta and "theta_step_scored" in timings:
        found["scored_over_theta"] = cpu_ratio(timings["theta_step_scored"], theta)
    if theta and "theta_step_one_pass" in timings:
        found["one_pass_over_theta"] = cpu_ratio(timings["theta_step_one_pass"], theta)
    if theta:
        tokens = (BATCHES["labeled"] + 2 * BATCHES["unlabeled"]) * options.text_length
        found["tokens_per_second"] = Ratio(tokens / float(np.median(theta.wall)))
    if "tokenise" in timings:
        wall = float(np.median(timings["tokenise"].wall))
        found["texts_tokenised_per_second"] = Ratio(NUM_TEXTS / wall)
    return found


def _share(theta, extra):
    whole = INNER_STEPS * theta.cpu + extra
    return cpu_ratio(theta._replace(cpu=extra), theta._replace(cpu=whole))


class InMemory:
    """The same batches at every step: the interface of `data.pipeline.BatchSource`."""

    def __init__(self, shape: BertShape, length: int, sizes: dict[str, int], hidden: bool):
        rng = np.random.default_rng(0)

        def inputs(count):
            if hidden:
                return tf.constant(rng.normal(size=[count, length, shape.width]), tf.float32)
            return tf.constant(rng.integers(1, shape.vocabulary, [count, length]), tf.int32)

        def labeled(count):
            return LabeledBatch(inputs(count), tf.constant(np.arange(count) % 2, tf.int32))

        self.labeled, self.validation = labeled(sizes["labeled"]), labeled(sizes["validation"])
        count = sizes["unlabeled"]
        ids = tf.constant(rng.choice(NUM_UNLABELED, count, replace=False))
        self.unlabeled = UnlabeledBatch(ids, inputs(count), inputs(count))

    def at(self, step) -> tuple[LabeledBatch, UnlabeledBatch]:
        """Return the batches, whatever `step`."""
        del step
        return self.labeled, self.unlabeled

    def dataset(self, start: int) -> tf.data.Dataset:
        """Return the batches without end."""
        return tf.data.Dataset.from_tensors(self.at(start)).repeat()


def _trainer(
    options, tiny, *, top=False, infl_own_features=False, score_every_step=False, separate_weak=True
):
    shape = BertShape(
        width=384, num_layers=options.text_layers, num_heads=12, inner_width=1536
    )  # fmt: skip
    length = min(options.text_length, 8) if tiny else options.text_length
    first = max(options.text_layers - TOP_LAYERS, 1) if top else 0
    model = bert(shape, length, 2, first_layer=first, reparam="half")
    sizes = {name: 2 if tiny else size for name, size in BATCHES.items()}
    batches = InMemory(shape, length, sizes, hidden=top)
    return BilevelTrainer(
        model,
        UDA(separate_weak=separate_weak),
        BertAdamW(RECIPE.learning_rate, RECIPE.weight_decay),
        WeightStore(NUM_UNLABELED, "per_example", MAdam(RECIPE.lambda_lr)),
        ExponentialMovingAverage(model.trainable_variables, RECIPE.ema_decay),
        batches,
        batches,
        lambda k: batches.validation,
        BilevelSettings(
            INNER_STEPS,
            infl_fresh_batch=not infl_own_features,
            stale_w=infl_own_features,
            infl_own_features=infl_own_features,
            score_every_step=score_every_step,
        ),
        LambdaStepSettings(solve=SolveOptions(damping=RECIPE.damping)),
        jit=False,
    )


def _theta_step(options, tiny, **how):
    steps = _trainer(options, tiny, **how)
    if steps.scores:  # as after a Lambda-step
        steps.scores.ready.assign(1)
    numbers = itertools.count()
    return lambda: steps.theta.take(next(numbers), 1)


def _lambda_step(options, tiny, infl_own_features=True):
    return _trainer(options, tiny, infl_own_features=infl_own_features).lambda_step


def _tokenise(options, tiny):
    encoder = load_encoder(str(bert_folder(MINILM)), max(options.text_length, 3))
    chosen = np.random.default_rng(0).choice(WORDS, [10 if tiny else NUM_TEXTS, NUM_WORDS])
    texts = [" ".join(row) for row in chosen]
    return lambda: encoder(texts)

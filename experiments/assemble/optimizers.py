"""From a configuration to the optimizers of theta and of Lambda."""

from __future__ import annotations

import keras

from experiments.options.config import Config
from ssl_weighting.algorithms import ORACLE
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.theta.bert_adamw import BertAdamW
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.schedules import make_schedule
from ssl_weighting.weight_store import WeightStore


def theta_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """Return the optimizer of theta, with a loss scale where gradients are float16."""
    optimizer = _plain_optimizer(config)
    if config.precision == "mixed_float16":  # gradients of bfloat16 do not underflow
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _plain_optimizer(config):
    rate = make_schedule(
        config.lr_schedule, config.learning_rate, config.steps, config.lr_warmup_steps
    )
    if config.optimizer == "bert_adamw":
        return BertAdamW(rate, config.weight_decay)
    if config.optimizer == "adamw":
        # TF1's epsilon; DEVIATION: Keras decays before the step, VAT's authors after it.
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, epsilon=1e-8)
        if config.weight_decay_scope == "kernels":
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
    return NesterovSGD(rate) if config.optimizer == "nesterov" else keras.optimizers.Adam(rate)


def weight_store(config: Config, num_unlabeled: int) -> WeightStore:
    """Return Lambda, initial, with its optimizer where it learns."""
    optimizer = {
        "madam": lambda: MAdam(
            learning_rate=config.lambda_lr,
            epsilon=config.madam_epsilon,
            step_count=config.madam_t,
            mask=config.madam_mask,
        ),
        "adam": lambda: LambdaAdam(config.lambda_lr, epsilon=config.madam_epsilon),
        "sgd": lambda: keras.optimizers.SGD(config.lambda_lr),
    }[config.lambda_optimizer]()
    return WeightStore(
        num_unlabeled,
        "fixed" if config.weighting == ORACLE else config.weighting,  # its mask is the rows'
        optimizer if config.learns else None,
        lambda_init=config.lambda_init,
        lambda_max=config.lambda_max if config.learns else float("inf"),
        seed=config.seed,
    )

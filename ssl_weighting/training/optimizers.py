"""From settings to the optimizers of theta and of Lambda."""

from __future__ import annotations

import keras

from ssl_weighting.algorithms import ORACLE
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.theta.bert_adamw import BertAdamW
from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.schedules import make_schedule
from ssl_weighting.training.settings import TrainingSettings
from ssl_weighting.weight_store import WeightStore


def theta_optimizer(settings: TrainingSettings) -> keras.optimizers.Optimizer:
    """Return the optimizer of theta, with a loss scale where gradients are float16."""
    optimizer = _plain_optimizer(settings)
    if settings.precision == "mixed_float16":  # gradients of bfloat16 do not underflow
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _plain_optimizer(settings):
    rate = make_schedule(
        settings.lr_schedule, settings.learning_rate, settings.steps, settings.lr_warmup_steps
    )
    if settings.optimizer == "bert_adamw":
        return BertAdamW(rate, settings.weight_decay)
    if settings.optimizer == "adamw":
        # TF1's epsilon; DEVIATION: Keras decays before the step, VAT's authors after it.
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, epsilon=1e-8)
        if settings.weight_decay_scope == "kernels":
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
    return NesterovSGD(rate) if settings.optimizer == "nesterov" else keras.optimizers.Adam(rate)


def weight_store(settings: TrainingSettings, num_unlabeled: int) -> WeightStore:
    """Return Lambda, initial, with its optimizer where it learns."""
    optimizer = {
        "madam": lambda: MAdam(
            learning_rate=settings.lambda_lr,
            beta_1=settings.madam_beta1,
            epsilon=settings.madam_epsilon,
            step_count=settings.madam_t,
            mask=settings.madam_mask,
        ),
        "adam": lambda: LambdaAdam(
            settings.lambda_lr, beta_1=settings.madam_beta1, epsilon=settings.madam_epsilon
        ),
        "sgd": lambda: keras.optimizers.SGD(settings.lambda_lr),
    }[settings.lambda_optimizer]()
    return WeightStore(
        num_unlabeled,
        "fixed" if settings.weighting == ORACLE else settings.weighting,  # its mask is the rows'
        optimizer if settings.learns else None,
        lambda_init=settings.lambda_init,
        lambda_max=settings.lambda_max if settings.learns else float("inf"),
        seed=settings.seed,
    )

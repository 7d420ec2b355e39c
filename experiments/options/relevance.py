"""Options that would do nothing in a run are refused where they stand on the command line."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from experiments.options.combinations import MIXING
from experiments.options.config import Config
from experiments.options.text_recipes import STRONG
from ssl_weighting.algorithms import ORACLE
from ssl_weighting.lambda_step import LAST_LAYER
from ssl_weighting.weight_store import LEARNED

_LAMBDA = (
    "lambda_optimizer", "lambda_lr", "inner_steps", "lambda_warmup_steps", "lambda_at_start",
    "stale_w", "inverse_hessian", "infl_mask_grad", "infl_fresh_batch", "infl_own_features",
    "lambda_min", "lambda_max", "lambda_batch", "val_batch", "val_replace", "influence_params",
    "measure_noise",
)  # fmt: skip

# Options, when they matter, and that in words. Presets and recipes may set them all the same.
_ITERATIVE = ("conjugate_gradient", "stochastic_cg", "unrolled", "neumann")
_SCALED = ("neumann", "stochastic_cg")


_ALGORITHM_OPTIONS = {
    "threshold": ("pseudo_label", "uda", "fixmatch"),
    "temperature": ("uda", "mixmatch", "remixmatch"),
    "entropy_coefficient": ("uda", "vat"),
    "tsa": ("uda",),
    "interleave": ("uda", "fixmatch"),
    "mixup_beta": MIXING,
    "vat_epsilon": ("vat",),
}
_TWO_VIEWS = ("mean_teacher", "mixmatch", "uda", "remixmatch", "fixmatch")


def _is_one_of(algorithms, config):
    return config.algorithm in algorithms


def _learns(config, *methods):
    return config.weighting in LEARNED and config.inverse_hessian in methods


_NEEDS = (
    (
        ("image_size", "val_order", "labeled_set", "flip", "contamination"),
        lambda c: c.model == "wide_resnet",
        "images",
    ),
    (
        ("balanced", "allow_overlap"),
        lambda c: c.model == "wide_resnet" and c.labeled_set == "drawn",
        "images and --labeled_set=drawn",
    ),
    (
        ("bert", "bert_trainable_layers", "bert_pooling", "max_len", "truncation", "reparam"),
        lambda c: c.model == "bert",
        "texts (--dataset=imdb, rotten_tomatoes or csv:PATH)",
    ),
    (
        ("text_copies",),
        lambda c: c.model == "bert" and c.algorithm in STRONG
        and (c.text_augment != "none" or c.back_translation_dir),
        "texts with augmented copies, for uda or fixmatch",
    ),
    (
        ("back_translation_dir",),
        lambda c: c.model == "bert" and c.algorithm in STRONG,
        "texts and an algorithm with a strong view (uda or fixmatch)",
    ),
    (
        ("text_augment",),
        lambda c: c.model == "bert" and c.algorithm in STRONG and not c.back_translation_dir,
        "texts, an algorithm with a strong view (uda or fixmatch) and no --back_translation_dir",
    ),
    (
        ("text_augment_p",),
        lambda c: c.model == "bert" and c.algorithm in STRONG and c.text_augment != "none"
        and not c.back_translation_dir,
        "texts whose words are replaced for uda or fixmatch",
    ),
    (
        ("val_seed",),
        lambda c: c.model != "mlp" and c.val_order == "drawn",
        "images or texts, and --val_order=drawn",
    ),
    (
        ("uda_version",),
        lambda c: c.model != "bert" and c.algorithm == "uda",
        "images or points, and --algorithm=uda",
    ),
    (
        ("strong_augment",),
        lambda c: c.model == "wide_resnet" and c.algorithm in _TWO_VIEWS,
        "images and --algorithm=" + " or ".join(_TWO_VIEWS),
    ),
    (
        ("cta_update",),
        lambda c: c.model == "wide_resnet" and c.strong_views == "ctaugment",
        "images and --strong_augment=ctaugment",
    ),
    (
        ("cta_publish_every",),
        lambda c: c.learns_rates,
        "images, --strong_augment=ctaugment and --cta_update",
    ),
    (
        ("contamination_rate",),
        lambda c: c.contamination != "none",
        "--contamination other than none",
    ),
    (("noise", "mlp_reading"), lambda c: c.model == "mlp", "a toy set (--model=mlp)"),
    (
        ("depth", "width", "base_filters", "batch_norm_decay", "wrn_variant", "pixel_scaling"),
        lambda c: c.model == "wide_resnet",
        "--model=wide_resnet",
    ),
    (
        ("ema_scope",),
        lambda c: c.ema_decay > 0 and c.model == "wide_resnet",
        "--ema_decay greater than 0 and --model=wide_resnet",
    ),
    (
        ("lr_warmup_steps",),
        lambda c: c.lr_schedule != "constant",
        "--lr_schedule other than constant",
    ),
    (
        ("weight_decay_scope",),
        lambda c: c.weight_decay > 0 and c.optimizer != "bert_adamw",
        "--weight_decay greater than 0 and another optimizer than bert_adamw",
    ),
    (
        ("infl_bn",),
        lambda c: c.weighting in LEARNED and c.model == "wide_resnet",
        "learned weights and --model=wide_resnet",
    ),
    (
        ("wu", "ramp_steps", "unlabeled_ratio"),
        lambda c: c.uses_unlabeled,
        "an algorithm with unlabeled losses",
    ),
    *(
        ((name,), functools.partial(_is_one_of, names), "--algorithm=" + " or ".join(names))
        for name, names in _ALGORITHM_OPTIONS.items()
    ),
    (
        ("lambda_init",),
        lambda c: c.weighting in (*LEARNED, "fixed", ORACLE),
        "learned or fixed weights, or the oracle's",
    ),
    (_LAMBDA, lambda c: c.weighting in LEARNED, "learned weights"),
    (
        ("madam_t", "madam_mask"),
        lambda c: c.weighting in LEARNED and c.lambda_optimizer == "madam",
        "learned weights and --lambda_optimizer=madam",
    ),
    (
        ("madam_epsilon",),
        lambda c: c.weighting in LEARNED and c.lambda_optimizer != "sgd",
        "learned weights and an Adam",
    ),
    (
        ("damping", "hess_l2_coeff", "hess_wu", "curvature"),
        lambda c: c.weighting in LEARNED and c.inverse_hessian not in ("identity", "unrolled"),
        "learned weights and a method that reads H",
    ),
    (
        ("theta_hat", "score_every_step"),
        lambda c: c.weighting in LEARNED and c.influence_params == LAST_LAYER,
        f"learned weights and --influence_params={LAST_LAYER}",
    ),
    (
        ("per_example_engine", "max_memory"),
        lambda c: c.weighting in LEARNED and c.influence_params != LAST_LAYER,
        f"learned weights and --influence_params other than {LAST_LAYER}",
    ),
    (
        ("solve_iterations",),
        lambda c: _learns(c, *_ITERATIVE),
        f"learned weights and --inverse_hessian of {', '.join(_ITERATIVE)}",
    ),
    (
        ("solve_tolerance",),
        lambda c: _learns(c, "conjugate_gradient", "neumann"),
        "learned weights and --inverse_hessian=conjugate_gradient or neumann",
    ),
    (
        ("solve_scale",),
        lambda c: _learns(c, *_SCALED),
        f"learned weights and --inverse_hessian of {', '.join(_SCALED)}",
    ),
    (
        ("solve_repeats", "solve_sample"),
        lambda c: _learns(c, "stochastic_cg"),
        "learned weights and --inverse_hessian=stochastic_cg",
    ),
    (("smoke",), lambda c: c.model != "mlp", "images or texts"),
)  # fmt: skip


def refuse_without_effect(config: Config, given: Iterable[str]) -> None:
    """Make sure that every option of the command line does something.

    Args:
        config: the run's options.
        given: names of those that stand on the command line.

    Raises:
        ValueError: names the first that does not, and what it needs.
    """
    names = set(given)
    for options, matters, needed in _NEEDS:
        idle = sorted(names & {*options})
        if idle and not matters(config):
            raise ValueError(
                f"--{idle[0]} would do nothing here: it needs {needed}. Received: --model="
                f"{config.model}, --algorithm={config.algorithm}, --weighting={config.weighting}. "
                "Leave it out"
            )


def without_effect(config: Config) -> list[str]:
    """Return the options that a command line for this run must leave out."""
    idle = {name for names, matters, _ in _NEEDS if not matters(config) for name in names}
    return sorted(idle)

"""Options that do not go together: the checks of `Config` beyond one option at a time."""

from __future__ import annotations

import re

from experiments.options.backbone import MOST_VIEWS, check_backbone
from experiments.options.entry import written
from experiments.options.features import has_backbone
from experiments.options.influence import LAST_LAYER
from experiments.options.kinds import FEATURE_ROWS, IMAGES, TEXTS, kind_of
from experiments.options.lam import ORACLE
from ssl_weighting.data.images.uda_labels import UDA_SETS_OF
from ssl_weighting.data.names import printable
from ssl_weighting.training.recipes import MIXING
from ssl_weighting.training.solved import SOLVE, Offence, offence

TEXT_ALGORITHMS = ("supervised", "pseudo_label", "uda", "fixmatch")
# As the library's, without TensorFlow.
ORACLE_ALGORITHMS = ("pseudo_label", "uda", "fixmatch")
SPLIT_METHODS = ("exact", "identity", "conjugate_gradient", "neumann")


def check_combinations(config) -> None:
    """Check every pair of options of a `Config` that may clash.

    Raises:
        ValueError: names the options, what they must be and what was received.
    """
    if config.learns and config.lambda_init > config.lambda_max:
        raise ValueError(
            "--lambda_init must lie between 0 and --lambda_max. Received: "
            f"{config.lambda_init} in [0.0, {config.lambda_max}]"
        )
    if config.lambda_batch and not config.infl_fresh_batch:
        raise ValueError(
            "--lambda_batch must be 0 where the Lambda-step takes the training batch. Received: "
            f"--lambda_batch={config.lambda_batch}. Use --infl_fresh_batch=true"
        )
    if printable(config.out) != config.out:
        raise ValueError(
            "--out must be a name in UTF-8: not every library writes to others. Received: "
            f"{printable(config.out)}"
        )
    _check_model(config)
    _check_labeled_set(config)
    _check_labels(config)
    _check_steps(config)
    _check_cross_fit(config)
    _check_influence(config)
    _check_hardware(config)
    if config.inner == SOLVE:
        _check_solve(config)
    if config.model == "bert":
        _check_text(config)
    if config.algorithm == "remixmatch":
        _check_remixmatch(config)
    if config.weighting == ORACLE:
        _check_oracle(config)
    if config.weighting not in ("fixed", "zero") and not config.uses_unlabeled:
        raise ValueError(
            f"--weighting={config.weighting} needs an algorithm with unlabeled losses; "
            "--algorithm=supervised has none. Use --weighting=fixed"
        )


def _check_model(config):
    """Only the net for features knows their statistics, and no other net does."""
    kind = kind_of(config.dataset) if config.dataset else None
    of_features = kind is FEATURE_ROWS or has_backbone(config)
    if kind and of_features != (config.model == "features"):
        raise ValueError(
            "--model=features goes with --dataset=features:PATH or --backbone, and with no other. "
            f"Received: --model={config.model}, --dataset={config.dataset}. Leave out --model"
        )
    if not kind or not has_backbone(config):
        return
    if kind not in (IMAGES, TEXTS):
        raise ValueError(
            f"--backbone must be none for {kind.rows}: it makes features of images or texts. "
            f"Received: --backbone={config.backbone}, --dataset={config.dataset}"
        )
    check_backbone(config.backbone, kind is TEXTS)
    if config.views > MOST_VIEWS:
        raise ValueError(f"--views must be at most {MOST_VIEWS}. Received: {config.views}")
    if kind is TEXTS and config.views and config.text_augment == "none":
        raise ValueError(
            "--text_augment must be tf_idf or uniform where --views asks for strong views of "
            f"texts. Received: --text_augment=none, --views={config.views}"
        )


def _check_labels(config):
    streamed = config.dataset.startswith("packed:") or config.source == "stream"
    if streamed and config.contamination == "corrupt":
        raise ValueError(
            "--contamination=corrupt needs --source=memory, where images can be spoilt, and a "
            f"--dataset other than packed:DIR. Received: --source={config.source}, "
            f"--dataset={config.dataset}"
        )
    if config.class_balanced and config.algorithm in MIXING:
        raise ValueError(
            "--class_balanced needs rows of one label each: --algorithm other than "
            f"{', '.join(MIXING)}. Received: --algorithm={config.algorithm}"
        )
    drawn = config.num_labeled and config.labeled_set == "drawn"
    if config.labeled_imbalance != 1 and not drawn:
        raise ValueError(
            "--labeled_imbalance must be 1 where labels are given: it needs --num_labeled greater "
            f"than 0 and --labeled_set=drawn. Received: --labeled_imbalance="
            f"{config.labeled_imbalance:g}, --num_labeled={config.num_labeled}, "
            f"--labeled_set={config.labeled_set}"
        )


def _check_labeled_set(config):
    sets = UDA_SETS_OF.get(config.labeled_set)
    if sets and config.dataset and config.dataset not in sets:
        raise ValueError(
            f"--labeled_set={config.labeled_set} needs --dataset={' or '.join(sets)}. "
            f"Received: --dataset={config.dataset}. Use --labeled_set=drawn"
        )
    if config.labeled_set != "drawn" and config.contamination == "foreign":
        raise ValueError(
            f"--labeled_set={config.labeled_set} labels all classes, of which "
            "--contamination=foreign takes some away. Use --labeled_set=drawn"
        )


def _check_oracle(config):
    if config.algorithm not in ORACLE_ALGORITHMS or config.entropy_coefficient:
        raise ValueError(
            f"--weighting={ORACLE} needs one pseudo-label a row: --algorithm="
            f"{' or '.join(ORACLE_ALGORITHMS)} without --entropy_coefficient. Received: "
            f"--algorithm={config.algorithm} --entropy_coefficient={config.entropy_coefficient:g}"
        )


def _check_text(config):
    if config.algorithm not in TEXT_ALGORITHMS:
        raise ValueError(
            f"--algorithm must be one of {', '.join(TEXT_ALGORITHMS)} for texts: the others change "
            f"pixels or mix inputs. Received: --algorithm={config.algorithm}"
        )
    asked = config.precision, config.interleave
    if asked != ("float32", False):
        raise ValueError(
            "Texts are trained with --precision=float32 and --interleave=false. Received: "
            f"--precision={asked[0]}, --interleave={str(asked[1]).lower()}"
        )


def _check_remixmatch(config):
    scored = config.lambda_batch if config.learns else 0
    if config.model != "wide_resnet" or config.unlabeled_batch % 4 or scored % 4:
        raise ValueError(
            "--algorithm=remixmatch turns the quarters of its unlabeled batch, so it needs images "
            "and a batch that is a multiple of 4. Received: "
            f"--model={config.model}, --labeled_batch={config.labeled_batch}, "
            f"--unlabeled_ratio={config.unlabeled_ratio}, --lambda_batch={config.lambda_batch}"
        )
    if config.influence_params != LAST_LAYER:
        raise ValueError(
            f"--algorithm=remixmatch needs --influence_params={LAST_LAYER}: the loss of its angles "
            "does not go through the class logits. Received: --influence_params="
            f"{config.influence_params}"
        )


def _check_steps(config):
    if config.lr_warmup_steps >= config.steps:
        raise ValueError(
            f"--lr_warmup_steps must be less than --steps={config.steps}. "
            f"Received: {config.lr_warmup_steps}"
        )
    two_views = 2 * (config.lambda_batch or config.unlabeled_batch)
    mixes = config.algorithm in MIXING and config.learns
    if (config.interleave or mixes) and two_views % config.labeled_batch:
        who = "--interleave" if config.interleave else f"--algorithm={config.algorithm}"
        raise ValueError(
            f"{who} needs --labeled_batch={config.labeled_batch} to divide twice the "
            f"unlabeled batch. Received: --lambda_batch={config.lambda_batch}"
        )


def _check_cross_fit(config):
    if config.cross_fits and (config.score_every_step or config.stale_w):
        raise ValueError(
            "--validation=cross_fit scores with several models at once; it needs "
            "--score_every_step=false and --stale_w=false. Received: --score_every_step="
            f"{config.score_every_step}, --stale_w={config.stale_w}"
        )
    if config.refit and config.validation_as_labels and config.validation == "held_out":
        raise ValueError(
            "--refit trains on V's labels once they have validated; with --validation_as_labels "
            "they are labels from the beginning, and nothing is held out. Leave out one of them, "
            "or use --validation=cross_fit"
        )


def _check_influence(config):
    try:
        re.compile(config.influence_params)
    except re.error as error:
        raise ValueError(
            f"--influence_params must be {LAST_LAYER}, all or a regular expression on the paths of "
            f"the model's variables. Received: {config.influence_params!r} ({error})"
        ) from error
    alone = config.per_example_engine in ("serial", "vectorized_map")
    beyond = config.influence_params != LAST_LAYER and config.learns
    if alone and beyond and config.model == "wide_resnet" and config.infl_bn == "batch":
        raise ValueError(
            f"--per_example_engine={config.per_example_engine} passes examples one by one, which "
            "have no statistics of a batch. Received: --infl_bn=batch. Use --infl_bn=moving"
        )
    if config.score_every_step and config.influence_params != LAST_LAYER:
        raise ValueError(
            f"--score_every_step needs --influence_params={LAST_LAYER}. Received: "
            f"--influence_params={config.influence_params}"
        )
    if config.infl_own_features:
        _check_own_features(config)
    if config.inverse_hessian == "unrolled" and config.lambda_at_start:
        raise ValueError(
            "--inverse_hessian=unrolled has no theta-steps to look back on at the start. Received: "
            "--lambda_at_start=true. Use --lambda_at_start=false"
        )
    if config.inverse_hessian == "unrolled" and config.learns_rates:
        raise ValueError(
            "--inverse_hessian=unrolled makes the batches of past steps again, with the strong "
            "views of today's rates. Received: --strong_augment=ctaugment, --cta_update=true. Use "
            "--cta_update=false"
        )
    if config.inverse_hessian == "outer_product" and not config.damping:
        raise ValueError(
            "--inverse_hessian=outer_product needs --damping greater than 0. "
            f"Received: --damping={config.damping}"
        )


def _check_own_features(config):
    fits = config.influence_params == LAST_LAYER and config.inverse_hessian != "unrolled"
    if config.infl_fresh_batch or not config.stale_w or not fits:
        raise ValueError(
            "--infl_own_features needs --infl_fresh_batch=false, --stale_w, --influence_params="
            f"{LAST_LAYER} and a method other than unrolled. Received: --infl_fresh_batch="
            f"{config.infl_fresh_batch}, --stale_w={config.stale_w}, --influence_params="
            f"{config.influence_params}, --inverse_hessian={config.inverse_hessian}"
        )
    if config.several or config.measure_noise:
        raise ValueError(
            "--infl_own_features needs one device and --measure_noise=false. Received: "
            f"{_asked(config)}, --measure_noise={str(config.measure_noise).lower()}"
        )


def _check_solve(config):
    found = offence(config)
    if config.model != "features":
        found = Offence("model", "features", config.model, "only a head on them is convex")
    elif config.several:
        name, alone = ("workers", '""') if config.workers else ("devices", "1")
        found = Offence(name, alone, getattr(config, name), "a solve is no work for several")
    if found:
        value = written(found.value)
        raise ValueError(
            f"--{found.name} must be {found.must} with --inner=solve: {found.why}. Received: "
            f"--{found.name}={value}. Change it, or use --inner=steps"
        )


def _check_hardware(config):
    if config.precision != "float32" and config.influence_params != LAST_LAYER:
        raise ValueError(
            f"--precision={config.precision} needs --influence_params={LAST_LAYER}: derivatives "
            "through the network would be rounded. Received: --influence_params="
            f"{config.influence_params}"
        )
    if config.precision != "float32" and config.algorithm == "vat":
        raise ValueError(
            "--algorithm=vat needs --precision=float32: the probe by which it finds its direction, "
            f"1e-6, vanishes in half precision. Received: --precision={config.precision}"
        )
    if config.workers and config.devices != 1:
        raise ValueError(
            "--devices must be left out beside --workers=auto: each process takes the GPUs that "
            f"it sees, or its CPU. Received: --devices={config.devices}. Choose them by "
            "CUDA_VISIBLE_DEVICES or the scheduler's --gpus-per-task"
        )
    if not config.several:
        return
    if config.jit or config.inverse_hessian == "unrolled":
        raise ValueError(
            f"{_asked(config)} needs --jit=false, since devices meet inside the theta-step, "
            "where XLA has no way from one to another, "
            "and another --inverse_hessian than unrolled, which repeats steps on one device. "
            f"Received: --jit={str(config.jit).lower()}, "
            f"--inverse_hessian={config.inverse_hessian}"
        )
    if config.lambda_workers == "split":
        _check_split(config)
    if config.devices and config.labeled_batch % config.devices:
        raise ValueError(
            "--labeled_batch must be a multiple of --devices. Received: --labeled_batch="
            f"{config.labeled_batch}, --devices={config.devices}"
        )


def _check_split(config):
    """As `lambda_across.Split`, without TensorFlow."""
    released = config.algorithm == "pseudo_label" and config.preset == "released"
    tied = config.tsa != "none" or config.class_balanced or released
    method, statistics = config.inverse_hessian, config.infl_bn
    fits = method in SPLIT_METHODS and config.algorithm in ORACLE_ALGORITHMS
    if not fits or statistics != "moving" or tied:
        raise ValueError(
            f"--lambda_workers=split needs --inverse_hessian={', '.join(SPLIT_METHODS)}, --infl_bn="
            f"moving and --algorithm={', '.join(ORACLE_ALGORITHMS)} without --tsa and "
            "--class_balanced, not the released pseudo_label: no example may depend on another. "
            "Received: "
            f"--inverse_hessian={method}, --infl_bn={statistics}, --algorithm={config.algorithm}"
        )


def _asked(config):
    """Return how several devices are asked for, in words."""
    return f"--workers={config.workers}" if config.workers else f"--devices={config.devices}"

"""The one frozen configuration of a training run: defaults, presets, recipes, checks."""

from __future__ import annotations

import dataclasses
import math

from ssl_weighting.algorithms import ALGORITHMS
from ssl_weighting.data.contamination import KINDS
from ssl_weighting.inverse_hessian import METHODS
from ssl_weighting.lambda_step import BATCH_NORM_MODES, CURVATURES, LAST_LAYER
from ssl_weighting.madam import MASKS, STEP_COUNTS
from ssl_weighting.models.mlp import READINGS
from ssl_weighting.models.split_head import LOGIT_MAPS
from ssl_weighting.per_example_gradients import ENGINES
from ssl_weighting.weight_store import MODES
from third_party.uda_tsa import SCHEDULES


def option(default, text: str, choices: tuple[str, ...] = (), group: str = "data"):
    """Declare one field of `Config`: its default, its help text, the values it may take."""
    metadata = {"help": text, "choices": choices, "group": group}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """Every option of a training run, validated; saved as config.json beside its results."""

    preset: str = option(
        "paper", "which column of the README's presets table", ("paper", "released")
    )
    dataset: str = option("", "a built-in name, npz:PATH or folder:PATH")
    data_dir: str = option("", "folder with the data set's files, where it is not downloaded")
    image_size: int = option(0, "side to resize images to; 0: as they are")
    num_labeled: int = option(250, "labeled examples n")
    val_size: int = option(1024, "validation examples |V|; 0: all of the set's own")
    num_unlabeled: int = option(0, "random subset of U for short runs; 0: all of U")
    num_test: int = option(0, "random subset of the test set for short runs; 0: all")
    seed: int = option(1, "seed of the labeled split, the initial values and all sampling")
    val_seed: int = option(0, "seed of the choice of V; the same V for every --seed")
    allow_overlap: bool = option(False, "labeled examples may also stand in V")
    validation_as_labels: bool = option(False, "train on V too (the control every gain must beat)")
    flip: bool = option(True, "weak augmentation mirrors images")
    contamination: str = option("none", "what is wrong with U, for studies", KINDS)
    contamination_rate: float = option(
        0.0, "share foreign or corrupt, or last class over first; 0: 0.5, 0.3, 0.1"
    )
    noise: float = option(-1.0, "toy sets: noise; -1: the set's own")
    # Texts
    max_len: int = option(128, "texts: tokens of an input", group="text")
    truncation: str = option("tail", "texts: which end stays", ("tail", "head"), "text")
    text_augment: str = option(
        "tf_idf", "texts: how the strong view is made", ("tf_idf", "uniform", "none"), "text"
    )
    text_augment_p: float = option(0.7, "texts: share of words replaced", group="text")
    text_copies: int = option(1, "texts: augmented copies of each, made once", group="text")
    back_translation_dir: str = option(
        "", "texts: folder of paraphrases, which then are the strong view", group="text"
    )
    # Model
    model: str = option("wide_resnet", "architecture", ("wide_resnet", "mlp", "bert"), "model")
    bert: str = option(
        "bert-base-uncased",
        "minilm, a folder in Hugging Face's format or a hub name",
        group="model",
    )
    bert_trainable_layers: int = option(
        0,
        "BERT: top layers that learn, on hidden states computed once; 0: all learn",
        group="model",
    )
    reparam: str = option(
        "auto", "head of two classes (App. D); auto: half for texts", ("auto", *LOGIT_MAPS), "model"
    )
    depth: int = option(28, "Wide-ResNet depth, 6n + 4", group="model")
    width: int = option(2, "Wide-ResNet widening factor", group="model")
    base_filters: int = option(16, "Wide-ResNet stem channels", group="model")
    batch_norm_decay: float = option(0.999, "decay of BatchNorm's moving statistics", group="model")
    mlp_reading: str = option("two_hidden", "reading of Sec. 4.1's net", READINGS, "model")
    # Base algorithm and theta
    algorithm: str = option("fixmatch", "base SSL algorithm", tuple(ALGORITHMS), "algorithm")
    threshold: float = option(0.95, "confidence mask; 0 keeps every row", group="algorithm")
    temperature: float = option(
        1.0, "UDA, MixMatch, ReMixMatch: temperature of the targets", group="algorithm"
    )
    entropy_coefficient: float = option(
        0.0, "UDA, VAT: of the entropy of predictions on U", group="algorithm"
    )
    tsa: str = option("none", "UDA: which labels still teach", SCHEDULES, "algorithm")
    mixup_beta: float = option(0.5, "MixMatch, ReMixMatch: Beta(b, b) of MixUp", group="algorithm")
    vat_epsilon: float = option(6.0, "VAT: length of the perturbation", group="algorithm")
    wu: float = option(1.0, "coefficient of the mean unlabeled loss", group="algorithm")
    ramp_steps: int = option(
        -1, "wu rises from 0 over so many steps; 0: no ramp; -1: the algorithm's", group="algorithm"
    )
    steps: int = option(2**20, "theta-steps", group="algorithm")
    labeled_batch: int = option(64, "labeled examples a step", group="algorithm")
    unlabeled_ratio: int = option(
        7, "unlabeled examples a step, per labeled one", group="algorithm"
    )
    optimizer: str = option(
        "nesterov", "of theta", ("nesterov", "adam", "adamw", "bert_adamw"), "algorithm"
    )
    learning_rate: float = option(0.03, "step size of theta, alpha of Alg. 1", group="algorithm")
    lr_schedule: str = option(
        "cosine",
        "7/16 cosine, BERT's, or none",
        ("cosine", "warmup_linear", "constant"),
        "algorithm",
    )
    lr_warmup_steps: int = option(0, "warmup_linear: steps to the full rate", group="algorithm")
    weight_decay: float = option(
        5e-4, "of 0.5 ||kernel||^2 in the loss; adamws: decoupled, of kernels", group="algorithm"
    )
    ema_decay: float = option(0.999, "average of theta that is evaluated", group="algorithm")
    # Lambda
    weighting: str = option("per_example", "what multiplies the unlabeled losses", MODES, "lambda")
    lambda_optimizer: str = option("madam", "of Lambda", ("madam", "adam", "sgd"), "lambda")
    lambda_lr: float = option(0.01, "step size of Lambda, eta of Alg. 1", group="lambda")
    lambda_init: float = option(1.0, "initial weight", group="lambda")
    lambda_min: float = option(0.0, "weights are kept at or above", group="lambda")
    lambda_max: float = option(float("inf"), "weights are kept at or below", group="lambda")
    inner_steps: int = option(0, "N; 0: the preset's, or steps/20 in a shorter run", group="lambda")
    lambda_warmup_steps: int = option(0, "theta-steps before Lambda may move", group="lambda")
    lambda_at_start: bool = option(False, "first Lambda-step before any theta-step", group="lambda")
    madam_t: str = option("per_example", "what Alg. 2's t counts", STEP_COUNTS, "lambda")
    madam_mask: str = option("nonzero", "Alg. 2's mask", MASKS, "lambda")
    madam_epsilon: float = option(1e-18, "Alg. 2's epsilon", group="lambda")
    stale_w: bool = option(
        False, "the step after a Lambda-step still sees the old weights", group="lambda"
    )
    # Eq. 6
    inverse_hessian: str = option("exact", "how H x = v is solved", tuple(METHODS), "influence")
    influence_params: str = option(
        LAST_LAYER, "parameters of Eq. 6: last_layer, all, or REGEX of paths", group="influence"
    )
    per_example_engine: str = option(
        "forward", "how g . v is computed beyond the last layer", tuple(ENGINES), "influence"
    )
    max_memory: float = option(
        0.0, "GB that one pass beyond the last layer may take; 0: no limit", group="influence"
    )
    solve_iterations: int = option(20, "most iterations K of a solver", group="influence")
    solve_tolerance: float = option(1e-6, "relative residual that ends it", group="influence")
    solve_scale: float = option(
        0.0, "neumann, stochastic_cg: alpha; 0: by power iteration", group="influence"
    )
    solve_repeats: int = option(1, "stochastic_cg: runs that are averaged", group="influence")
    solve_sample: int = option(64, "stochastic_cg: rows of a sample of H", group="influence")
    score_every_step: bool = option(
        False, "score every batch with the last direction", group="influence"
    )
    damping: float = option(0.1, "c, added to H over kernel and bias", group="influence")
    hess_l2_coeff: float = option(
        -1.0, "||kernel||^2 / 2 in H; -1: --weight_decay", group="influence"
    )
    hess_wu: bool = option(True, "H uses --wu for the unlabeled mean (false: 1)", group="influence")
    theta_hat: str = option(
        "kernel_bias", "parameters of Eq. 6", ("kernel", "kernel_bias"), "influence"
    )
    infl_mask_grad: bool = option(True, "the mask is part of l_U in Eq. 6", group="influence")
    infl_fresh_batch: bool = option(
        True, "sample new D', U' for the Lambda-step", group="influence"
    )
    infl_own_features: bool = option(
        False, "the Lambda-step takes the features of its theta-step", group="influence"
    )
    lambda_batch: int = option(
        0, "U' of a fresh Lambda-step; 0: the training batch's size", group="influence"
    )
    infl_bn: str = option(
        "batch", "BatchNorm statistics of the Lambda-pass", BATCH_NORM_MODES, "influence"
    )
    curvature: str = option("gauss_newton", "for losses indefinite in z", CURVATURES, "influence")
    val_batch: int = option(0, "V' of a Lambda-step; 0: as U', at most |V|", group="influence")
    val_replace: bool = option(False, "draw V' with replacement", group="influence")
    # Running
    out: str = option("", "run folder", group="run")
    resume: bool = option(True, "continue from the newest intact checkpoint in --out", group="run")
    checkpoint_every: int = option(1000, "steps between checkpoints", group="run")
    keep_checkpoints: int = option(3, "newest checkpoints kept", group="run")
    eval_every: int = option(1000, "steps between evaluations", group="run")
    log_every: int = option(20, "at most so many steps between log lines", group="run")
    deterministic: bool = option(True, "deterministic TensorFlow kernels", group="run")
    jit: bool = option(False, "compile the theta-step with XLA", group="run")
    smoke: bool = option(
        False, "does the command run? A few small steps on digits under the set's name", group="run"
    )

    def __post_init__(self):
        """Check every option.

        Raises:
            ValueError: names the option, what it must be and what was received.
        """
        for field in dataclasses.fields(self):
            value, known = getattr(self, field.name), field.metadata["choices"]
            if known and value not in known:
                raise ValueError(
                    f"--{field.name} must be one of {', '.join(known)}. Received: {value!r}"
                )
        _check_ranges(self)

    @property
    def unlabeled_batch(self) -> int:
        """Unlabeled examples of a training step."""
        return self.labeled_batch * self.unlabeled_ratio

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the base algorithm reads U at all."""
        return ALGORITHMS[self.algorithm].uses_unlabeled


TEXT_ALGORITHMS = ("supervised", "pseudo_label", "uda", "fixmatch")
_POSITIVE = (
    "num_labeled", "steps", "labeled_batch", "unlabeled_ratio", "learning_rate",
    "lambda_lr", "checkpoint_every", "keep_checkpoints", "eval_every", "log_every", "base_filters",
    "width", "temperature", "mixup_beta", "vat_epsilon", "solve_iterations", "solve_repeats",
    "solve_sample", "text_augment_p", "text_copies",
)  # fmt: skip
_NOT_NEGATIVE = (
    "image_size", "val_size", "num_unlabeled", "num_test", "threshold", "wu", "entropy_coefficient",
    "weight_decay", "damping", "inner_steps", "lambda_warmup_steps", "lambda_batch", "val_batch",
    "madam_epsilon", "lambda_min", "seed", "val_seed", "max_memory", "solve_tolerance",
    "solve_scale", "bert_trainable_layers", "lr_warmup_steps",
)  # fmt: skip
_FRACTIONS = ("batch_norm_decay", "ema_decay", "contamination_rate")
_MINUS_ONE_IS_UNSET = ("noise", "hess_l2_coeff", "ramp_steps")
_MAY_BE_INFINITE = ("lambda_max",)


def _check_ranges(config):
    numbers = [name for name, value in vars(config).items() if type(value) in (int, float)]
    for names, holds, text in (
        (sorted(set(numbers) - {*_MAY_BE_INFINITE}), math.isfinite, "finite"),
        (_MINUS_ONE_IS_UNSET, lambda x: x >= 0 or x == -1, "0 or more, or -1"),
        (("threshold", "text_augment_p"), lambda x: x <= 1, "in [0, 1]"),
        (("max_len",), lambda x: x >= 3, "at least 3: [CLS], a piece, [SEP]"),
        (_POSITIVE, lambda x: x > 0, "greater than 0"),
        (_NOT_NEGATIVE, lambda x: x >= 0, "0 or more"),
        (_FRACTIONS, lambda x: 0 <= x < 1, "in [0, 1)"),
    ):
        for name in names:
            if not holds(getattr(config, name)):
                raise ValueError(f"--{name} must be {text}. Received: {getattr(config, name)}")
    if not config.lambda_min <= config.lambda_init <= config.lambda_max:
        raise ValueError(
            "--lambda_init must lie between --lambda_min and --lambda_max. Received: "
            f"{config.lambda_init} in [{config.lambda_min}, {config.lambda_max}]"
        )
    if config.lambda_batch and not config.infl_fresh_batch:
        raise ValueError(
            "--lambda_batch must be 0 where the Lambda-step takes the training batch. Received: "
            f"--lambda_batch={config.lambda_batch}. Use --infl_fresh_batch=true"
        )
    _check_influence(config)
    if config.model == "bert" and config.algorithm not in TEXT_ALGORITHMS:
        raise ValueError(
            f"--algorithm must be one of {', '.join(TEXT_ALGORITHMS)} for texts: the others change "
            f"pixels or mix inputs. Received: --algorithm={config.algorithm}"
        )
    if config.algorithm == "remixmatch" and config.influence_params != LAST_LAYER:
        raise ValueError(
            f"--algorithm=remixmatch needs --influence_params={LAST_LAYER}: the loss of its angles "
            "does not go through the class logits. Received: --influence_params="
            f"{config.influence_params}"
        )
    if config.weighting not in ("fixed", "zero") and not config.uses_unlabeled:
        raise ValueError(
            f"--weighting={config.weighting} needs an algorithm with unlabeled losses; "
            "--algorithm=supervised has none. Use --weighting=fixed"
        )


def _check_influence(config):
    if config.score_every_step and config.influence_params != LAST_LAYER:
        raise ValueError(
            f"--score_every_step needs --influence_params={LAST_LAYER}. Received: "
            f"--influence_params={config.influence_params}"
        )
    if config.infl_own_features and (
        config.infl_fresh_batch or not config.stale_w or config.influence_params != LAST_LAYER
        or config.inverse_hessian == "unrolled"
    ):  # fmt: skip
        raise ValueError(
            "--infl_own_features needs --infl_fresh_batch=false, --stale_w, --influence_params="
            f"{LAST_LAYER} and a method other than unrolled. Received: --infl_fresh_batch="
            f"{config.infl_fresh_batch}, --stale_w={config.stale_w}, --influence_params="
            f"{config.influence_params}, --inverse_hessian={config.inverse_hessian}"
        )
    if config.inverse_hessian == "unrolled" and config.lambda_at_start:
        raise ValueError(
            "--inverse_hessian=unrolled has no theta-steps to look back on at the start. Received: "
            "--lambda_at_start=true. Use --lambda_at_start=false"
        )
    if config.inverse_hessian == "outer_product" and not config.damping:
        raise ValueError(
            "--inverse_hessian=outer_product needs --damping greater than 0. "
            f"Received: --damping={config.damping}"
        )

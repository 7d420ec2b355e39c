"""The one frozen configuration of a training run: defaults, presets, recipes, checks."""

from __future__ import annotations

import dataclasses

from ssl_weighting_upstream.uda_tsa import SCHEDULES

from experiments.options.combinations import check_ranges
from ssl_weighting.algorithms import ALGORITHMS, ORACLE
from ssl_weighting.data.images.contamination import KINDS
from ssl_weighting.data.images.uda_labels import LABELED_SETS
from ssl_weighting.data.splits import VAL_ORDERS
from ssl_weighting.inverse_hessian import METHODS
from ssl_weighting.lambda_step import BATCH_NORM_MODES, CURVATURES, LAST_LAYER
from ssl_weighting.madam import MASKS, STEP_COUNTS
from ssl_weighting.models import PRECISIONS
from ssl_weighting.models.bert import POOLINGS
from ssl_weighting.models.mlp import READINGS
from ssl_weighting.models.split_head import LOGIT_MAPS
from ssl_weighting.models.wrn_variants import VARIANTS
from ssl_weighting.per_example_gradients import ENGINES
from ssl_weighting.theta.ema import SCOPES as EMA_SCOPES
from ssl_weighting.theta.schedules import SCHEDULES as LR_SCHEDULES
from ssl_weighting.theta.weight_decay import SCOPES as WEIGHT_DECAY_SCOPES
from ssl_weighting.weight_store import MODES

VALIDATIONS = ("held_out", "cross_fit")
UDA_VERSIONS = ("2019", "2020", "fixmatch")
PIXEL_SCALINGS = ("symmetric", "standardized")
STRONG_VIEWS = ("auto", "weak", "randaugment", "uda_randaugment", "ctaugment")
# Making batches anew with other rates takes the time of compiling them, one or two seconds.
PUBLISH_EVERY = 256
# Of the supervised base they stand in the report alone.
_OWN_STRONG_VIEWS = {
    "fixmatch": "randaugment",
    "uda": "uda_randaugment",
    "remixmatch": "ctaugment",
    "supervised": "randaugment",
}


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
    dataset: str = option("", "a built-in name; of your own: npz:PATH, folder:PATH, csv:PATH")
    data_dir: str = option("", "folder with the data set's files, where it is not downloaded")
    image_size: int = option(0, "side to resize images to; 0: as they are")
    num_labeled: int = option(250, "labeled examples n")
    val_size: int = option(
        1024, "validation examples |V|; 0: all of the set's own, none if it has none"
    )
    num_unlabeled: int = option(0, "random subset of U for short runs; 0: all of U")
    num_test: int = option(0, "random subset of the test set for short runs; 0: all")
    seed: int = option(1, "seed of the labeled split, the initial values and all sampling")
    val_seed: int = option(0, "seed of the choice of V; the same V for every --seed")
    val_order: str = option(
        "drawn", "V is drawn by --val_seed, or the first of each class", VAL_ORDERS
    )
    labeled_set: str = option(
        "drawn", "labels are drawn by --seed, or those of UDA's experiments", LABELED_SETS
    )
    balanced: bool = option(False, "as many labels of each class, whatever their frequencies")
    allow_overlap: bool = option(False, "labeled examples may also stand in V")
    validation: str = option(
        "held_out",
        "whose labels validate: V's, or each half of the labels the other's model",
        VALIDATIONS,
    )
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
    bert_pooling: str = option(
        "cls", "BERT: what is read, [CLS] or a place that asks with the mean", POOLINGS, "model"
    )
    reparam: str = option(
        "auto", "head of two classes (App. D); auto: half for texts", ("auto", *LOGIT_MAPS), "model"
    )
    depth: int = option(28, "Wide-ResNet depth, 6n + 4", group="model")
    width: int = option(2, "Wide-ResNet widening factor", group="model")
    base_filters: int = option(16, "Wide-ResNet stem channels", group="model")
    wrn_variant: str = option("fixmatch", "whose Wide-ResNet", tuple(VARIANTS), "model")
    pixel_scaling: str = option(
        "symmetric",
        "what the net sees: [-1, 1], or mean 0, std 1",
        PIXEL_SCALINGS,
        "model",
    )
    batch_norm_decay: float = option(0.999, "decay of BatchNorm's moving statistics", group="model")
    mlp_reading: str = option("two_hidden", "reading of Sec. 4.1's net", READINGS, "model")
    # Base algorithm and theta
    algorithm: str = option("fixmatch", "base SSL algorithm", tuple(ALGORITHMS), "algorithm")
    uda_version: str = option(
        "2019", "UDA: recipe of the paper's time, its successor, FixMatch's", UDA_VERSIONS,
        "algorithm",
    )  # fmt: skip
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
    interleave: bool = option(
        False, "FixMatch, UDA: mix the views in each slice of the batch", group="algorithm"
    )
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
        "cosine", "of theta; cosine: 7/16 of a half turn", (*LR_SCHEDULES, "constant"), "algorithm"
    )
    lr_warmup_steps: int = option(0, "steps of linear rise before it", group="algorithm")
    weight_decay: float = option(
        5e-4, "of 0.5 ||kernel||^2 in the loss; adamws: decoupled", group="algorithm"
    )
    weight_decay_scope: str = option("kernels", "what it covers", WEIGHT_DECAY_SCOPES, "algorithm")
    ema_decay: float = option(
        0.999, "average of theta that is evaluated; 0: none", group="algorithm"
    )
    ema_scope: str = option(
        "trainable", "what is averaged; all: BatchNorm's moving statistics too", EMA_SCOPES,
        "algorithm",
    )  # fmt: skip
    strong_augment: str = option(
        "auto", "strong views; auto: the algorithm's own", STRONG_VIEWS, "algorithm"
    )
    cta_update: bool = option(True, "CTAugment's rates learn (false: stay 1)", group="algorithm")
    cta_publish_every: int = option(
        0,
        "steps after which strong views see new rates of CTAugment; 0: 256, or steps/20 in a "
        "shorter run",
        group="algorithm",
    )
    # Lambda
    weighting: str = option(
        "per_example", "what multiplies the unlabeled losses", (*MODES, ORACLE), "lambda"
    )
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
        -1.0, "of weight decay in H; -1: --weight_decay", group="influence"
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
    measure_noise: bool = option(
        False, "log how far the scores by two halves of V' agree; three times the work", group="run"
    )
    eval_every: int = option(1000, "steps between evaluations", group="run")
    log_every: int = option(20, "at most so many steps between log lines", group="run")
    deterministic: bool = option(True, "deterministic TensorFlow kernels", group="run")
    jit: bool = option(False, "compile the theta-step and the evaluation with XLA", group="run")
    smoke: bool = option(
        False,
        "does the command run? A few small steps on small data of its kind",
        group="run",
    )
    devices: int = option(1, "GPUs that share a theta-step; 0: all that are found", group="run")
    precision: str = option("float32", "what the network computes in", PRECISIONS, "run")

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
        check_ranges(self)

    @property
    def unlabeled_batch(self) -> int:
        """Unlabeled examples of a training step."""
        return self.labeled_batch * self.unlabeled_ratio

    def size_of_v(self, raw) -> int | None:
        """|V| of a set; None: all of its own `validation`, where it has one."""
        own = raw.validation is not None and self.validation != "cross_fit"
        return None if own and not self.val_size else self.val_size

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the base algorithm reads U at all."""
        return ALGORITHMS[self.algorithm].uses_unlabeled

    @property
    def strong_views(self) -> str:
        """What `strong_augment` comes to."""
        own = _OWN_STRONG_VIEWS.get(self.algorithm, "weak")
        return own if self.strong_augment == "auto" else self.strong_augment

    @property
    def publish_every(self) -> int:
        """What `cta_publish_every` comes to."""
        return self.cta_publish_every or max(1, min(PUBLISH_EVERY, self.steps // 20))

    @property
    def learns_rates(self) -> bool:
        """Whether CTAugment's rates learn."""
        return self.strong_views == "ctaugment" and self.cta_update and self.model != "mlp"

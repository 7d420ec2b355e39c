"""The families of the study: which methods, sizes and seeds are compared on which data.

One V serves all seeds of a family, unless `own_v` draws it by the seed.
"""

from __future__ import annotations

from experiments.study.ablation_families import ABLATIONS
from experiments.study.deep_families import REFERENCE, deep_study
from experiments.study.feature_families import FEATURE_STUDY
from experiments.study.methods import GRID, STUDY_METHODS

# Those that read nothing of V stand beside one size of it.
_NO_V = ("confidence", "oracle", "cross_fit", "cross_fit_fixed")
_LARGE_V = (*_NO_V, "cross_fit_v_as_labels", "shuffled_every_step")  # more to compare there
_SMALL_V = tuple(m for m in STUDY_METHODS if m not in _LARGE_V)
_CONTAMINATED = (
    "supervised", *(f"fixed_{lam:g}" for lam in GRID), "v_as_labels", "per_example",
    "per_example_every_step", "shuffled",
)  # fmt: skip


def _contaminated(kind):
    """Return the methods of the larger V; cross-fit, twice the work, with one kind."""
    found = (*_CONTAMINATED, "confidence", "oracle")
    return (*found, "cross_fit", "cross_fit_fixed") if kind == "foreign" else found


# DEVIATION: a net and images for a CPU; the weights may move by up to 1 in 3,000 steps.
_STUDY = {
    "image_size": 14, "depth": 10, "width": 1, "base_filters": 16, "labeled_batch": 16,
    "unlabeled_ratio": 4, "batch_norm_decay": 0.98, "jit": True,
    "steps": 3000, "eval_every": 75, "checkpoint_every": 500, "log_every": 75, "num_test": 3000,
    "num_unlabeled": 10_000, "ema_decay": 0.99, "learning_rate": 0.06, "threshold": 0.95,
    "lambda_warmup_steps": 200, "inner_steps": 8, "lambda_batch": 320, "lambda_lr": 0.1,
    "lambda_max": float("inf"), "keep_checkpoints": 1,
}  # fmt: skip
_FASHION = {"dataset": "fashion_mnist", "base_filters": 8}
# Less sure and more labels a step, or FixMatch gains nothing in 3,000 steps (findings.md).
_CIFAR = {
    "dataset": "cifar10", "image_size": 16, "num_unlabeled": 20_000, "labeled_batch": 32,
    "unlabeled_ratio": 2, "threshold": 0.6,
    "jit": False,  # XLA's convolutions were the slower ones on this net (findings.md)
}  # fmt: skip


def _study(dataset, labeled, val_size, methods=tuple(STUDY_METHODS), seeds=5, **options):
    return {
        "methods": {name: one for name, one in STUDY_METHODS.items() if name in methods},
        "options": _STUDY | dataset | {"num_labeled": labeled, "val_size": val_size} | options,
        "seeds": tuple(range(1, seeds + 1)),
        # Twice the work: with three seeds alone.
        "few": tuple(name for name in methods if name.startswith("cross_fit")),
    }


# |V|: a fifth of D (Fashion-MNIST: a quarter, one of each class), and the paper's 1,024 to 250.
_KINDS = ("foreign", "corrupt", "imbalanced")
STUDY = {
    "fashion_mnist_v160": _study(_FASHION, 40, 160),
    **{
        f"fashion_mnist_{kind}_v160": _study(
            _FASHION, 40, 160, _contaminated(kind), 3, contamination=kind
        )
        for kind in _KINDS
    },
    "fashion_mnist_v10": _study(_FASHION, 40, 10, _SMALL_V),
    **{
        f"fashion_mnist_{kind}_v10": _study(_FASHION, 40, 10, _CONTAMINATED, 3, contamination=kind)
        for kind in _KINDS
    },
    "cifar10_v1024": _study(_CIFAR, 250, 1024),
    "cifar10_v50": _study(_CIFAR, 250, 50, _SMALL_V),
}

# The paper's 20 + 20 reviews (Sec. 4.2), UDA. D is UDA's own: V is what seeds draw.
# DEVIATION: a small BERT, of which the top two layers learn; part of U and of the test set; Lambda
# from step 200, on larger batches and in larger steps: by the paper's constants each weight would
# be visited once and move by 0.01.
_IMDB = {
    "dataset": "imdb", "num_labeled": 20, "val_size": 20, "num_unlabeled": 10_000, "num_test": 2000,
    "bert": "minilm", "bert_pooling": "mean_query", "bert_trainable_layers": 2, "max_len": 128,
    "steps": 2000, "labeled_batch": 8,
    # With TSA, many words replaced or larger steps UDA drifts to one class (findings.md).
    "learning_rate": 2e-5, "tsa": "none", "text_augment_p": 0.2,
    "lr_warmup_steps": 200, "lambda_warmup_steps": 200, "inner_steps": 5,
    "lambda_batch": 128, "lambda_lr": 0.1, "lambda_max": float("inf"), "eval_every": 50,
    "checkpoint_every": 100, "log_every": 50, "keep_checkpoints": 1,
}  # fmt: skip
_TEXT_METHODS = (
    "supervised", "supervised_v_as_labels", "fixed_1", "v_as_labels", "per_example", "shuffled",
)  # fmt: skip
STUDY["imdb_v20"] = {
    "methods": {name: STUDY_METHODS[name] for name in _TEXT_METHODS},
    "options": _IMDB,
    "seeds": (1, 2, 3),
    "own_v": True,
}

# As far as time goes. The rows that differ in nothing stand in the primary family, `REFERENCE`.
_SWEEPS = {
    # Table 3's five points, as multiples of our N = 8 and eta = 0.1 (its middle: N = 100, 0.01).
    "n_eta": {
        "n_3": {"inner_steps": 3}, "n_24": {"inner_steps": 24},
        "eta_1": {"lambda_lr": 1.0}, "eta_0.01": {"lambda_lr": 0.01},
    },
    # Fig. 4 centre. SGD's step is eta |s|: a grid of its own.
    "optimizer": {
        "adam": {"lambda_optimizer": "adam"},
        "sgd_1": {"lambda_optimizer": "sgd", "lambda_lr": 1.0},
        "sgd_10": {"lambda_optimizer": "sgd", "lambda_lr": 10.0},
        "sgd_100": {"lambda_optimizer": "sgd", "lambda_lr": 100.0},
    },
    # Fig. 3.
    "hessian": {
        "identity": {"inverse_hessian": "identity"}, "neumann": {"inverse_hessian": "neumann"},
    },
    # What else may be to blame; the first trains as the reference does, and logs V's noise.
    "switches": {
        "measure_noise": {"measure_noise": True}, "moving_batch_norm": {"infl_bn": "moving"},
        "scores_without_mask": {"infl_mask_grad": False},
        "membership_mask": {"madam_mask": "membership"},
    },
    "damping": {f"damping_{c:g}": {"damping": c} for c in (1.0, 1e-2, 5e-4)},
}  # fmt: skip
_OF_V = ("fixed_1", "v_as_labels", "per_example")
SECONDARY = {
    f"{REFERENCE}_uda": _study(
        _FASHION, 40, 160, ("supervised", "fixed_0.3", "fixed_3", *_OF_V), 3,
        # The net and the schedule of the other families, not those of UDA's own recipe.
        algorithm="uda", threshold=0.0, wrn_variant="fixmatch", pixel_scaling="symmetric",
        lr_schedule="cosine", lr_warmup_steps=0, weight_decay_scope="kernels",
    ),
    # Every pseudo-label passes: may learned weights do what the confidence mask does?
    f"{REFERENCE}_no_mask": _study(
        _FASHION, 40, 160, ("fixed_1", "per_example", "confidence", "oracle"), 3, threshold=0.0
    ),
    **{
        f"{REFERENCE}_{name}": _study(_FASHION, 40, 160, (), 3)
        | {"methods": {key: {"weighting": "per_example"} | one for key, one in methods.items()}}
        for name, methods in _SWEEPS.items()
    },
    **{f"fashion_mnist_v{size}": _study(_FASHION, 40, size, _OF_V, 3) for size in (40, 640)},
    f"{REFERENCE}_other_v": _study(
        _FASHION, 40, 160, ("fixed_1", "v_as_labels", "per_example_every_step"), 3
    )
    | {"own_v": True},
}  # fmt: skip
SECONDARY |= deep_study(STUDY[REFERENCE])
STUDY |= SECONDARY
STUDY |= FEATURE_STUDY | ABLATIONS

"""The runs of each profile: what `run_all.sh` trains, family by family."""

from __future__ import annotations

from experiments.config import Config
from experiments.presets import make_config

SEEDS = (1, 2, 3)

# Methods of a family: name of the run folder -> options.
TOY_METHODS = {
    "supervised": {"algorithm": "supervised"},
    "pseudo_label": {"algorithm": "pseudo_label", "weighting": "fixed"},
    "pseudo_label_learned": {"algorithm": "pseudo_label", "weighting": "per_example"},
}
IMAGE_METHODS = {
    "supervised": {"algorithm": "supervised"},
    "supervised_v_as_labels": {"algorithm": "supervised", "validation_as_labels": True},
    "fixmatch": {"algorithm": "fixmatch", "weighting": "fixed"},
    "fixmatch_learned": {"algorithm": "fixmatch", "weighting": "per_example"},
}

# DEVIATION: the paper prints no constants for Sec. 4.1; these make Lambda move within a minute.
_TOY = {
    "steps": 600,
    "eval_every": 30,
    "checkpoint_every": 300,
    "inner_steps": 5,
    "lambda_lr": 0.3,
}

# DEVIATION: FixMatch's constants are made for a million steps. For a thousand: averages over the
# last hundred steps, a lower threshold, a ramp while labels are still guesses, and enough
# Lambda-steps, on batches large enough, that most of U is visited.
_IMAGES = {
    "depth": 10, "width": 1, "base_filters": 16, "labeled_batch": 16, "unlabeled_ratio": 4,
    "ema_decay": 0.98, "batch_norm_decay": 0.98, "threshold": 0.8, "eval_every": 20, "checkpoint_every": 200,
    "inner_steps": 10, "lambda_batch": 256, "lambda_lr": 0.05, "lambda_max": 2.0, "lambda_warmup_steps": 100,
    "num_test": 1000, "log_every": 50,
}  # fmt: skip
FAMILIES = {
    "toy": {
        "datasets": ("linear", "circles", "moons"),
        "methods": TOY_METHODS,
        "options": _TOY,
    },
    "mnist": {
        "datasets": ("mnist",),
        "methods": IMAGE_METHODS,
        "options": _IMAGES
        | {"image_size": 14, "num_labeled": 20, "val_size": 20, "steps": 800, "flip": False},
    },
    "fashion_mnist": {
        "datasets": ("fashion_mnist",),
        "methods": IMAGE_METHODS,
        "options": _IMAGES
        | {
            "image_size": 14,
            "num_labeled": 40,
            "val_size": 40,
            "num_unlabeled": 4000,
            "steps": 800,
        },
    },
    "digits": {
        "datasets": ("digits",),
        "methods": IMAGE_METHODS,
        "options": _IMAGES
        | {"image_size": 16, "num_labeled": 20, "val_size": 20, "steps": 800, "flip": False},
    },
}
PROFILES = ("default",)


def configs(family: str, out: str) -> list[Config]:
    """Return the configurations of one family, seed by seed, each with its run folder.

    Args:
        family: a key of `FAMILIES`.
        out: results folder; runs go to OUT/runs/DATASET/METHOD/seed_N.

    Raises:
        ValueError: unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"--family must be one of {', '.join(FAMILIES)}. Received: {family!r}")
    chosen = FAMILIES[family]
    return [
        make_config(
            dataset=dataset,
            seed=seed,
            out=f"{out}/runs/{dataset}/{name}/seed_{seed}",
            **chosen["options"] | method,
        )
        for dataset in chosen["datasets"]
        for seed in SEEDS
        for name, method in chosen["methods"].items()
    ]

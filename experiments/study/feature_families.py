"""The families on frozen features: settings, base algorithms, and how much of them is run.

A linear head on principal components of a frozen net's features, solved to its optimum: Eq. 6 is
exact there, and a run takes seconds. Each seed draws its own V.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from experiments.study.methods import FEATURE_METHODS

PREFIX = "features_"
SEEDS = tuple(range(1, 11))
CPU_HOURS = 4.0  # of all features_* families: two hours of two cores
# CPU seconds of a run, as measured on three families, ten runs a method: what is assumed where
# none was made.
_PLAIN, _LEARNED, _CROSS_FIT, _IN_STEPS = 0.9, 2.4, 4.1, 5.8
_OF_VIEWS = 2.1  # times as many: four rows of each example of U
_TWO_CLASSES = 0.55  # times as many

# 24 exact solutions, 8 rounds of pseudo-labels of 3 each; a Lambda-step on all of U before each.
# Weight decay and `WU` are those of the least error of lambda = 1 on 1,000 training examples that
# are held out (--val_size=1000), the mean of seeds 11 to 13, among 0.01, 0.03, 0.1, 0.3, 1 and 0.5,
# 1, 2, 4: one weight decay for all, as the best ones were near each other.
FEATURE_OPTIONS = {
    "inner": "solve", "steps": 24, "eval_every": 24, "checkpoint_every": 24, "log_every": 24,
    "keep_checkpoints": 1, "ramp_steps": 0, "lambda_lr": 0.15, "lambda_max": 3.0,
    "weight_decay": 0.03, "threshold": 0.0, "num_unlabeled": 2500,
    # The exact H of the same head, without its matrix.
    "inverse_hessian": "conjugate_gradient",
}  # fmt: skip
_IMAGES = {
    "backbone": "efficientnet_lite0", "components": 60, "num_train": 6000, "num_test": 4000,
}  # fmt: skip
_TEXTS = {
    "backbone": "minilm", "components": 100, "max_len": 128, "num_train": 4000, "num_test": 2000,
    "num_unlabeled": 2000,
}  # fmt: skip
DATASETS = {
    "cifar10": _IMAGES,
    "fashion_mnist": _IMAGES,
    # Of 2,700 films with a label and as many without: no more foreign texts are there.
    "imdb": _TEXTS | {"num_train": 2700},
    "rotten_tomatoes": _TEXTS | {"max_len": 64, "num_test": 0},
}
# Strong views go through the backbone; all methods of a family see the features of one extraction.
_VIEWS = {"views": 3, "feature_views": "given"}
BASES = {
    "pseudo_label": {"algorithm": "pseudo_label"},
    "threshold": {"algorithm": "pseudo_label", "threshold": 0.8},
    "fixmatch": {"algorithm": "fixmatch"} | _VIEWS,
    "uda": {"algorithm": "uda", "uda_version": "fixmatch"} | _VIEWS,
    "fixmatch_wu2": {"algorithm": "fixmatch"} | _VIEWS,
}
BASE_NAMES = {
    "pseudo_label": "Pseudo-Label", "threshold": "Pseudo-Label, τ = 0.8",
    "fixmatch": "FixMatch", "uda": "UDA", "fixmatch_wu2": "FixMatch, wu = 2",
}  # fmt: skip
# (base, data set) -> coefficient of the unlabeled loss.
WU = {("fixmatch", "cifar10"): 0.5, ("fixmatch_wu2", "cifar10"): 2.0}  # 1 elsewhere
SETTINGS = {
    "clean": {"num_labeled": 40, "val_size": 40},
    "fifth": {"num_labeled": 40, "val_size": 10},  # a quarter: one of each class
    "labels_25": {"num_labeled": 250, "val_size": 250},
    "labels_100": {"num_labeled": 1000, "val_size": 1000},
    "corrupt": {"num_labeled": 40, "val_size": 40, "contamination": "corrupt"},
    "foreign": {"num_labeled": 20, "val_size": 20, "contamination": "foreign"},
    # Of all that V leaves: what is then left of U is as large as elsewhere.
    "imbalanced": {
        "num_labeled": 40, "val_size": 40, "contamination": "imbalanced", "num_unlabeled": 0,
    },
    "labeled_imbalance": {"num_labeled": 200, "val_size": 20, "labeled_imbalance": 10.0},
}  # fmt: skip
# Two classes: twenty labels of each, as four of each are too few for anything.
_OF_TEXTS = {
    "labels_100": {"num_labeled": 200, "val_size": 200},
    "labeled_imbalance": {"num_labeled": 44, "val_size": 20, "labeled_imbalance": 10.0},
}

_REDUCED = ("supervised", "fixed_1", "v_as_labels", "per_example_refit", "cross_fit_refit")
_CORE = (  # of the headline
    *_REDUCED, "supervised_v_as_labels", "oracle", "shuffled_refit", "cross_fit_refit_shuffled",
)  # fmt: skip
_BALANCED = ("v_as_labels_balanced", "per_example_refit_balanced", "cross_fit_refit_balanced")
_TUNED = ("fixed_0.3", "fixed_3")  # on views, which are dear, only where all methods are run
_WHOLE = (
    *_CORE, *_TUNED, "single", "confidence", "random", "oracle_v_as_labels",
    "cross_fit_fixed_v_as_labels",
)  # fmt: skip
# Where all methods are run.
_IN_WHOLE = (
    "cifar10_pseudo_label_clean", "cifar10_pseudo_label_foreign",
    "cifar10_pseudo_label_labeled_imbalance", "cifar10_fixmatch_clean",
    "fashion_mnist_pseudo_label_clean", "fashion_mnist_fixmatch_clean",
)  # fmt: skip
# The smallest text set has all but the sizes of four and of twenty-five labels a class.
_ALL_OF_TEXTS = [setting for setting in SETTINGS if setting not in ("fifth", "labels_25")]


def _family(dataset: str, base: str, setting: str, methods: Collection[str], **fields) -> dict:
    name = f"{dataset}_{base}_{setting}"
    methods = _WHOLE if name in _IN_WHOLE else methods
    if setting == "labeled_imbalance":
        methods = (*methods, *_BALANCED)
    sizes = SETTINGS[setting]
    sizes = sizes if DATASETS[dataset] is _IMAGES else _OF_TEXTS.get(setting, sizes)
    options = FEATURE_OPTIONS | {"dataset": dataset} | DATASETS[dataset] | BASES[base]
    options |= {"wu": WU.get((base, dataset), 1.0)} | sizes
    if base == "uda" and DATASETS[dataset] is _IMAGES:  # the supervised row's, too
        options["strong_augment"] = "randaugment"
    words = ", D imbalanced 10:1" if setting == "labeled_imbalance" else ""
    return {
        f"{PREFIX}{name}": {
            "methods": {one: FEATURE_METHODS[one] for one in FEATURE_METHODS if one in methods},
            "options": options,
            "seeds": SEEDS,
            "own_v": True,
            "variant": f"{BASE_NAMES[base]} on features{words}",
            **fields,
        }
    }


def _families() -> dict[str, dict]:
    found = {}
    for dataset, base, settings in (
        ("cifar10", "pseudo_label", SETTINGS),
        ("cifar10", "fixmatch", SETTINGS),
        ("fashion_mnist", "pseudo_label", SETTINGS),
        ("fashion_mnist", "fixmatch", ("clean", "foreign", "labeled_imbalance")),
    ):
        methods = (*_CORE, *_TUNED) if base == "pseudo_label" else _CORE
        for setting in settings:
            found |= _family(dataset, base, setting, methods)
    for dataset, settings in (
        ("imdb", ("clean", "corrupt", "foreign", "labeled_imbalance")),
        ("rotten_tomatoes", _ALL_OF_TEXTS),
    ):
        for setting in settings:
            found |= _family(dataset, "pseudo_label", setting, (*_CORE, *_TUNED))
    for dataset in ("cifar10", "fashion_mnist"):
        for base in ("threshold", "uda"):
            found |= _family(dataset, base, "clean", _REDUCED, secondary=True)
    for dataset in ("imdb", "rotten_tomatoes"):
        found |= _family(dataset, "uda", "clean", _REDUCED, secondary=True)
    shuffled = (*_REDUCED, "cross_fit_refit_shuffled")
    found |= _family("cifar10", "fixmatch_wu2", "clean", shuffled, secondary=True)
    return found


FEATURE_STUDY = _families()


def is_of_features(family: str) -> bool:
    """Return whether a family, by its name, is one on frozen features."""
    return family.startswith(PREFIX)


def setting_of(family: str) -> str:
    """Return the name in `SETTINGS` that a family on features ends with; "" if there is none."""
    ends = [name for name in SETTINGS if is_of_features(family) and family.endswith(f"_{name}")]
    return max(ends, key=len, default="")


def assumed_seconds(options: Mapping) -> float:
    """Return the CPU seconds that a run on features is assumed to take, by its options."""
    if options["inner"] == "steps":  # the ablations
        return _IN_STEPS
    times = _OF_VIEWS if options["feature_views"] == "given" else 1.0
    times *= 1.0 if DATASETS[options["dataset"]] is _IMAGES else _TWO_CLASSES
    if options["validation"] == "cross_fit":
        return _CROSS_FIT * times
    learns = options["weighting"] in ("single", "per_example", "shuffled", "random")
    return times * (_LEARNED if learns and options["algorithm"] != "supervised" else _PLAIN)

"""What the presets, algorithms and data sets change about the defaults of `Config`."""

from __future__ import annotations

import dataclasses

from experiments.options.backbone import NO_BACKBONE
from experiments.options.config import Config
from experiments.options.feature_recipes import feature_recipe, following
from experiments.options.smoke import shrunk
from experiments.options.text_recipes import shrunk as shrunk_text
from experiments.options.text_recipes import text_recipe
from ssl_weighting.training.derived import LEARNED
from ssl_weighting.training.recipes import (
    ALGORITHM_RECIPES,
    UDA_RECIPES,
    largest_decay,
    ramp_steps,
)

# Where the paper and its released code disagree: a test checks the README's table against these.
PRESETS = {
    "paper": {
        "madam_t": "per_example",
        "madam_mask": "nonzero",
        "madam_epsilon": 1e-60,
        "lambda_max": float("inf"),
        "lambda_at_start": False,
        "infl_fresh_batch": True,
        "stale_w": False,
        "hess_l2_coeff": -1.0,
        "hess_wu": True,
        "damping": 0.1,
        "theta_hat": "kernel_bias",
        "infl_mask_grad": True,
        "infl_bn": "batch",
        "val_replace": False,
        "val_size": 1024,
        "val_order": "drawn",
        "allow_overlap": False,
        "cta_update": True,
    },
    "released": {
        "madam_t": "per_example",
        "madam_mask": "membership",
        "madam_epsilon": 1e-8,
        "lambda_max": 2.0,
        "lambda_at_start": True,
        "infl_fresh_batch": False,
        "stale_w": True,
        "hess_l2_coeff": 1.0,
        "hess_wu": False,
        "damping": 0.0,
        "theta_hat": "kernel",
        "infl_mask_grad": False,
        "infl_bn": "batch",
        "val_replace": True,
        "val_size": 1000,
        "val_order": "first",
        "allow_overlap": True,
        "cta_update": False,
    },
}

# N of App. D (FixMatch 512, else 100); the release's flag default is 100, its README runs 512.
INNER_STEPS = {"paper": {"fixmatch": 512}, "released": {}}
DEFAULT_INNER_STEPS = 100
UPDATES_OF_A_SHORT_RUN = 20  # of Lambda, and evaluations: the median is over as many

# Each author's net has its own; as the library's `wrn_variants.VARIANTS`, without TensorFlow.
BATCH_NORM_DECAYS = {"fixmatch": 0.999, "uda": 0.9, "uda_2019": 0.9}
LR_WARMUP_SHARES = {"2019": 1 / 20}  # of the run: 20,000 of 400,000 steps
LAMBDA_INIT_OF_UDA = {250: 5.0}  # by number of labels (App. D)
# XLA: 1.4 times faster on the small net, 1.3 times slower on WRN-28-2 (2 CPU cores).
_SMALL = {
    "jit": True,
    "depth": 10,
    "width": 1,
    "labeled_batch": 16,
    "unlabeled_ratio": 4,
    "steps": 1000,
}
_SHORT = {"batch_norm_decay": 0.99, "ema_decay": 0.99, "eval_every": 50, "checkpoint_every": 200}
_DIGIT = {"flip": False, "num_labeled": 40, "val_size": 40, "lambda_warmup_steps": 0}
_TOY = {
    "model": "mlp", "optimizer": "adam", "learning_rate": 1e-3, "lr_schedule": "constant",
    "weight_decay": 0.0, "ema_decay": 0.0, "num_labeled": 10, "val_size": 30, "num_unlabeled": 1000,
    "labeled_batch": 10, "unlabeled_ratio": 100, "steps": 1000, "threshold": 0.0,
    "algorithm": "pseudo_label", "ramp_steps": 0, "lambda_warmup_steps": 0, "eval_every": 50,
    "checkpoint_every": 500, "num_test": 10_000,
}  # fmt: skip
DATASET_RECIPES = {
    "svhn_cropped": {"flip": False},
    "svhn_cropped_extra": {"flip": False},
    "digits": _SMALL | _SHORT | _DIGIT,
    "mnist": _SMALL | _SHORT | _DIGIT,
    "linear": _TOY,
    "circles": _TOY,
    "moons": _TOY,
}
_OF_INPUTS = ("flip", "max_len")  # what holds whatever net reads the data


def make_config(**given) -> Config:
    """Return the configuration in which later layers win.

    The layers: defaults, preset, algorithm (with UDA's version), what follows from other options
    (`_derived`), data set, `given`; in a run shorter than the recipe's, averages, evaluations
    and warm-ups in proportion. N = 0 becomes the preset's N, or steps / 20 in a run too short for
    twenty Lambda-steps.

    Raises:
        ValueError: an unknown option, or a value `Config` refuses.
    """
    if given.get("smoke"):  # what follows from the number of steps follows from the smaller one
        full = make_config(**given | {"smoke": False})
        given = given | (shrunk_text(full) if full.model == "bert" else shrunk(full))
    known = {field.name for field in dataclasses.fields(Config)}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ValueError(
            f"Unknown options: {', '.join(unknown)}. Known: {', '.join(sorted(known))}"
        )
    defaults = Config()
    preset = given.get("preset", defaults.preset)
    name = given.get("dataset", "")
    asked = given.get("algorithm", "")
    backbone = given.get("backbone", defaults.backbone)
    dataset = _recipe_of(name, asked, backbone, given.get("inner", defaults.inner))
    dataset = dataset | _recipe_in_time(dataset, given)
    algorithm = given.get("algorithm", dataset.get("algorithm", defaults.algorithm))
    version = given.get("uda_version", defaults.uda_version)
    several = given.get("devices", defaults.devices) != defaults.devices or given.get("workers")
    if several:  # XLA excludes several devices
        dataset = {option: value for option, value in dataset.items() if option != "jit"}
    if given.get("validation") == "cross_fit":  # reads no V; asked for, V is still kept out of U
        dataset = dataset | {"val_size": 0}
    above = dataset | given | {"preset": preset, "algorithm": algorithm, "uda_version": version}
    return resolved(preset, algorithm, version, above)


def _recipe_of(name, algorithm, backbone, inner):
    """Return what a data set changes; of a backbone's features what is said of its inputs."""
    inputs = DATASET_RECIPES.get(name, {}) | text_recipe(name, algorithm)
    if backbone != NO_BACKBONE:
        inputs = {option: inputs[option] for option in _OF_INPUTS if option in inputs}
    return inputs | feature_recipe(name, algorithm, backbone, inner)


def resolved(preset, algorithm, version, above):
    """Return the configuration of a recipe under the options `above`, which win."""
    recipe = PRESETS.get(preset, {}) | ALGORITHM_RECIPES.get(algorithm, {})
    if algorithm == "uda" and above.get("model") != "bert":
        recipe = recipe | UDA_RECIPES.get(version, {})
    layers = recipe | _derived(vars(Config()) | recipe | above) | above
    return _with_inner_steps(_with_ramp(Config(**layers)))


def following_steps(**given) -> dict:
    """Return the options that have other values than the recipe's because of --steps.

    Args:
        given: options of a command line that `make_config` takes.
    """
    if given.get("smoke"):
        return {}
    ours = vars(make_config(**given))
    try:
        whole = vars(make_config(**{name: one for name, one in given.items() if name != "steps"}))
    except ValueError:  # the recipe's steps do not go with the other options: nothing to hold it to
        return {}
    return {n: one for n, one in ours.items() if n not in given and one != whole[n]}


def _derived(options):
    """Return defaults that follow from other options."""
    found = {}
    if options["wrn_variant"] in BATCH_NORM_DECAYS:
        found["batch_norm_decay"] = BATCH_NORM_DECAYS[options["wrn_variant"]]
    if options["model"] == "wide_resnet" and not options["smoke"]:  # the others' are made for less
        found |= _in_time(options | found)
    if options["model"] == "bert":  # both a tenth of the run, as in App. D
        found["lambda_warmup_steps"] = options["steps"] // 10
        if options["lr_schedule"] != "constant":
            found["lr_warmup_steps"] = options["steps"] // 10
    elif options["model"] == "features":
        found |= following(options)
    elif options["algorithm"] == "mixmatch" and options["strong_augment"] == "ctaugment":
        found["mixup_beta"] = 0.75  # of upstream's file with CTAugment
    elif options["algorithm"] == "uda":
        if options["lr_schedule"] != "constant":
            share = LR_WARMUP_SHARES.get(options["uda_version"], 0)
            found["lr_warmup_steps"] = int(share * options["steps"])
        if options["weighting"] in LEARNED and options["preset"] == "paper":
            init = LAMBDA_INIT_OF_UDA.get(options["num_labeled"], options["lambda_init"])
            found["lambda_init"] = init
    return found


def _in_time(options):
    """Return what is made for a recipe's steps so that a shorter run has it in proportion."""
    updates = max(1, options["steps"] // UPDATES_OF_A_SHORT_RUN)
    decay = largest_decay(options["steps"])
    return {
        "ema_decay": min(options["ema_decay"], decay),
        "batch_norm_decay": min(options["batch_norm_decay"], decay),
        "eval_every": min(options["eval_every"], updates),
        "lambda_warmup_steps": min(options["lambda_warmup_steps"], updates),
    }


def _recipe_in_time(dataset, given):
    """Return what a data set's recipe, made for its own steps, is where `given` has fewer."""
    if "steps" not in dataset or given.get("smoke"):
        return {}
    found = _in_time(vars(Config()) | dataset | {"steps": given.get("steps", dataset["steps"])})
    return {name: value for name, value in found.items() if name in dataset}


def _with_ramp(config):
    if config.ramp_steps >= 0:
        return config
    return dataclasses.replace(config, ramp_steps=ramp_steps(config.algorithm, config.steps))


def _with_inner_steps(config):
    if not config.inner_steps:
        full = INNER_STEPS[config.preset].get(config.algorithm, DEFAULT_INNER_STEPS)
        short = max(1, config.steps // UPDATES_OF_A_SHORT_RUN)
        config = dataclasses.replace(config, inner_steps=min(full, short))
    # A stale step lies between the update and the window that is looked back on.
    window = config.inner_steps - config.stale_w
    unrolled = config.learns and config.inverse_hessian == "unrolled"
    if unrolled and config.solve_iterations > window:
        raise ValueError(
            "--inverse_hessian=unrolled looks back on at most the theta-steps since the last "
            f"Lambda-step, {window}. Received: --solve_iterations={config.solve_iterations}"
        )
    first = config.lambda_warmup_steps + (0 if config.lambda_at_start else config.inner_steps)
    if config.learns and first >= config.steps:
        raise ValueError(
            f"--weighting={config.weighting} would never move: the first Lambda-step falls due "
            f"after {first} of {config.steps} steps. Received: --lambda_warmup_steps="
            f"{config.lambda_warmup_steps}, --inner_steps={config.inner_steps}. Lower them."
        )
    return config

"""Options: one flag each, layers in order, every refusal by name."""

import dataclasses
import math
import re

import pytest
from absl import flags
from places import ROOT

from experiments.options import flags as own_flags
from experiments.options.config import ENTRIES, Config, options_as_json
from experiments.options.presets import DATASET_RECIPES, PRESETS, make_config
from experiments.study.deep_families import DEEP, TOP
from experiments.study.families import REFERENCE, SECONDARY
from experiments.study.feature_families import is_of_features
from experiments.study.profiles import PROFILES, configs
from ssl_weighting.algorithms import SETTINGS
from ssl_weighting.training.settings import TrainingSettings, fields_of

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
CHOICES = {name: entry.choices for name, entry in ENTRIES.items() if entry.choices}
NUMBERS = [name for name, f in FIELDS.items() if type(f.default) in (int, float)]


@pytest.fixture
def parse(monkeypatch):
    """Return what a command line gives: the options that stand on it."""

    def parse(*arguments):
        values = flags.FlagValues()
        own_flags.define(values)
        monkeypatch.setattr(flags, "FLAGS", values)
        values(["program", *arguments])
        return own_flags.given()

    return parse


def test_flags_and_config_are_one_to_one():
    values = flags.FlagValues()
    own_flags.define(values)
    assert set(values) == set(FIELDS)
    for name, field in FIELDS.items():
        assert values[name].default == field.default and values[name].help, name
        assert all(choice in values[name].help for choice in CHOICES.get(name, ())), name


@pytest.mark.parametrize("name", FIELDS)
def test_a_flag_arrives_as_its_option(parse, name):
    default = FIELDS[name].default
    if type(default) is bool:
        assert parse(f"--{'no' if default else ''}{name}") == {name: not default}
        assert parse(f"--{name}={str(default).lower()}") == {name: default}
        return
    value = next((c for c in CHOICES.get(name, ()) if c != default), None)
    value = value or {int: 22, float: 0.25, str: "text"}[type(default)]
    assert parse(f"--{name}={value}") == {name: value}
    assert type(parse(f"--{name}={value}")[name]) is type(default)


def test_what_does_not_stand_on_the_command_line_is_left_to_presets(parse):
    assert parse() == {}
    assert parse("--steps=1048576") == {"steps": 2**20}, "the default, but given"
    config = make_config(**parse("--dataset=digits", "--depth=28"))
    assert (config.depth, config.width) == (28, DATASET_RECIPES["digits"]["width"])


# Handed over by `settings.named`.
BY_NAME = SETTINGS | fields_of(TrainingSettings)
READ_BY_PROPERTIES = ("algorithm", "unlabeled_ratio", "strong_augment", "cta_update")


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_is_read_somewhere(name):
    """An option that does nothing is a defect."""
    files = [p for p in (ROOT / "experiments").rglob("*.py") if p.name != "config.py"]
    files += [ROOT / "experiments" / "options" / "config.py"] if name in READ_BY_PROPERTIES else []
    text = "\n".join(p.read_text() for p in files)
    if name == "preset":
        assert 'given.get("preset"' in text
    else:
        assert name in BY_NAME or re.search(rf"\b(config|c|self)\.{name}\b", text), name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fills_what_is_not_given(preset):
    config = make_config(preset=preset)
    for name, value in PRESETS[preset].items():
        assert getattr(config, name) == value, name


def test_the_presets_differ_where_paper_and_release_do():
    paper, released = make_config(), make_config(preset="released")
    different = {n for n in FIELDS if getattr(paper, n) != getattr(released, n)}
    assert different == {
        "preset", "inner_steps", "madam_mask", "madam_epsilon", "lambda_max", "lambda_at_start",
        "infl_fresh_batch", "stale_w", "hess_l2_coeff", "hess_wu", "damping", "theta_hat",
        "infl_mask_grad", "val_replace", "val_size", "val_order", "allow_overlap", "cta_update",
    }  # fmt: skip


def other(name, value):
    if name in CHOICES:
        return next(c for c in CHOICES[name] if c != value)
    if type(value) is bool:
        return not value
    if type(value) is int:
        return value + (6 if name == "depth" else 1)
    return 9.0 if not 0 <= value < math.inf else value / 2 + 0.125


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_given_wins_over_presets_and_recipes(preset):
    for dataset in ("", *DATASET_RECIPES):
        layers = PRESETS[preset] | DATASET_RECIPES.get(dataset, {})
        for name, value in layers.items():
            given = {name: other(name, value)}
            config = make_config(preset=preset, dataset=dataset, **given)
            assert getattr(config, name) == given[name]


def test_the_recipe_of_a_data_set_wins_over_those_of_preset_and_algorithm():
    config = make_config(preset="released", dataset="digits", algorithm="uda")
    recipe = DATASET_RECIPES["digits"]
    assert (config.steps, config.val_size) == (recipe["steps"], recipe["val_size"])
    assert (config.unlabeled_ratio, config.threshold) == (recipe["unlabeled_ratio"], 0.0)
    assert make_config(dataset="moons").algorithm == "pseudo_label"
    assert make_config(dataset="moons", algorithm="supervised").weighting == "fixed"
    uda = make_config(algorithm="uda")
    assert (uda.unlabeled_batch, uda.steps, uda.lambda_warmup_steps) == (320, 400_000, 20_000)


@pytest.mark.parametrize(
    "given, inner_steps",
    [
        ({}, 512),
        ({"algorithm": "uda"}, 100),
        ({"preset": "released"}, 100),
        ({"steps": 1000}, 50),
        ({"steps": 12}, 1),
        ({"steps": 12, "inner_steps": 9}, 9),
        ({"inner_steps": 3}, 3),
        ({"steps": 20 * 512}, 512),
        ({"steps": 20 * 512 - 20}, 511),
    ],
)
def test_inner_steps_are_the_preset_s_or_a_twentieth_of_a_short_run(given, inner_steps):
    assert make_config(**given).inner_steps == inner_steps


def test_rates_of_ctaugment_are_published_every_256_steps_or_a_twentieth_of_a_short_run():
    assert [make_config(steps=n).publish_every for n in (2, 1000, 2**20)] == [1, 50, 256]


def test_unknown_options_are_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown options: nope, stepz. Known: algorithm, .*, wu"):
        make_config(stepz=3, nope=1)


@pytest.mark.parametrize("name", CHOICES)
def test_unknown_values_list_the_known_ones(name):
    known = re.escape(", ".join(CHOICES[name]))
    with pytest.raises(ValueError, match=rf"^--{name} must be one of {known}. Received: 'nope'$"):
        make_config(**{name: "nope"})


OUT_OF_RANGE = {
    "greater than 0": (
        "minutes", "steps", "labeled_batch", "unlabeled_ratio", "learning_rate",
        "lambda_lr", "checkpoint_every", "keep_checkpoints", "eval_every", "log_every",
        "base_filters", "width", "temperature", "mixup_beta", "vat_epsilon",
        "solve_iterations", "solve_repeats", "solve_sample", "text_augment_p", "text_copies",
        "round_steps", "inner_tolerance",
    ),
    "0 or more": (
        "num_labeled", "image_size", "num_train", "num_unlabeled", "num_test", "threshold", "wu",
        "entropy_coefficient", "weight_decay",
        "damping", "lambda_warmup_steps", "val_batch", "madam_epsilon",
        "seed", "val_seed", "inner_steps", "val_size", "max_memory",
        "solve_tolerance", "solve_scale", "lr_warmup_steps", "devices", "threads",
        "bert_trainable_layers", "feature_noise", "feature_mixing", "views",
        "components",
    ),
    "1 or more": ("labeled_imbalance",),
    "2 or more": ("folds",),
    "at least 3: [CLS], a piece, [SEP]": ("max_len",),
    "6n + 4 with n >= 1 (10, 16, 22, 28)": ("depth",),
    r"in [0, 1)": (
        "batch_norm_decay", "ema_decay", "madam_beta1", "contamination_rate", "feature_dropout",
    ),
    "0 or more, or -1": ("hess_l2_coeff", "ramp_steps", "lambda_batch"),
}  # fmt: skip


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_values_out_of_range_are_refused_by_name(text):
    bad = {"greater than 0": (0, -1), "0 or more, or -1": (-2, -0.5), "in [0, 1)": (1, -0.1)}
    for name in OUT_OF_RANGE[text]:
        for value in bad.get(text, (-1, -3)):
            message = re.escape(f"--{name} must be {text}. Received: {value}")
            with pytest.raises(ValueError, match=f"^{message}$"):
                make_config(**{name: value})


def test_every_number_has_a_range():
    covered = {name for names in OUT_OF_RANGE.values() for name in names}
    assert set(NUMBERS) - covered == {"lambda_init", "lambda_max"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite(value):
    for name in NUMBERS:
        if (name, value) != ("lambda_max", math.inf):
            with pytest.raises(ValueError, match=rf"--{name}\b"):
                make_config(**{name: value})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"threshold": 1.01}, r"--threshold must be in \[0, 1\]. Received: 1.01"),
        ({"lambda_init": 3.0, "lambda_max": 2.0}, r"--lambda_init must lie .* 3.0 in \[0.0, 2.0\]"),
        ({"lambda_init": -0.5}, r"--lambda_init must be 0 or more. Received: -0.5"),
        ({"algorithm": "remixmatch", "model": "mlp"}, "needs images and a batch .* --model=mlp"),
        ({"algorithm": "remixmatch", "labeled_batch": 6}, "a multiple of 4. .* --labeled_batch=6"),
        (
            {"algorithm": "remixmatch", "influence_params": "all"},
            "--algorithm=remixmatch needs --influence_params=last_layer: .*_params=all",
        ),
        ({"lambda_batch": 9, "infl_fresh_batch": False}, r"--lambda_batch must be 0 .*_batch=true"),
        ({"lambda_batch": 9, "preset": "released"}, r"--lambda_batch must be 0 .*_batch=true"),
        *(
            (
                {"algorithm": "supervised", "weighting": mode},
                rf"--weighting={mode} needs an algorithm with unlabeled .*Use --weighting=fixed",
            )
            for mode in ("single", "per_example", "shuffled", "random", "confidence")
        ),
        ({"out": "r/caf\udce9"}, r"--out must be a name in UTF-8.*Received: r/caf\\udce9"),
        ({"steps": 10, "inner_steps": 10}, r"would never move: .* falls due after 10 of 10 steps"),
        ({"steps": 10, "lambda_warmup_steps": 9, "inner_steps": 1}, r"--inner_steps=1. Lower them"),
        (
            {"steps": 10, "lambda_warmup_steps": 10, "lambda_at_start": True},
            r"falls due after 10 of 10 steps. Received: --lambda_warmup_steps=10",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make_config(**given)


def test_options_as_json_are_strict():
    options = options_as_json(make_config())
    assert options["lambda_max"] == "inf" and options["hess_l2_coeff"] == -1
    assert set(options) == set(FIELDS)
    again = {k: float(v) if v == "inf" else v for k, v in options.items()}
    assert make_config(**again) == make_config()


ALL_FAMILIES = [(profile, family) for profile, found in PROFILES.items() for family in found]


@pytest.mark.parametrize(("profile", "family"), ALL_FAMILIES)
def test_a_family_gives_each_run_its_folder(profile, family):
    found = configs(profile, family, "results", "DATA")
    assert len({config.out for config in found}) == len(found) >= 6
    for config in found:
        of_images = config.backbone == "none"
        folder = f"runs/{config.dataset if of_images else family}"
        folder = folder if profile == "default" else f"study/{family}"
        assert config.out.startswith(f"results/{folder}/")
        assert config.out.endswith(f"/seed_{config.seed}")
        assert config.data_dir == "DATA"


@pytest.mark.parametrize("family", PROFILES["default"])
def test_a_family_of_the_default_profile_compares_on_equal_terms(family):
    varied = {"algorithm", "weighting", "validation_as_labels", "tsa", "threshold", "seed", "out"}
    varied |= {"validation", "refit", "ramp_steps", "influence_params", "inverse_hessian"}
    varied |= {"solve_iterations"}
    found = configs("default", family, "results")
    if family == "fashion_mnist_features":  # as in the study
        varied |= {"val_seed"}
        assert all(c.val_seed == c.seed for c in found)
    for config in found:
        assert {c.seed for c in found if c.dataset == config.dataset} == {1, 2, 3, 4, 5}
        # What is reported, the median of the last 20, is one of the run's second half.
        assert config.steps // config.eval_every >= 40 or config.inner == "solve"
        base = next(c for c in found if c.dataset == config.dataset)
        differing = {k for k, v in vars(config).items() if v != getattr(base, k)}
        assert differing <= varied


SWEPT = {
    "inner_steps", "lambda_optimizer", "inverse_hessian", "damping", "measure_noise", "infl_bn",
    "infl_mask_grad", "madam_mask",
}  # fmt: skip


def test_a_sweep_differs_from_its_reference_in_what_it_sweeps():
    (base,) = (c for c in configs("study", REFERENCE, "r") if c.out.endswith("/per_example/seed_1"))
    for family in ("n_eta", "optimizer", "hessian", "damping", "switches"):
        for config in configs("study", f"{REFERENCE}_{family}", "r"):
            changed = {k for k, v in vars(config).items() if v != getattr(base, k)}
            assert changed - {"out", "seed"} and changed <= {*SWEPT, "lambda_lr", "out", "seed"}


def test_the_study_compares_on_equal_terms():
    for family in (name for name in PROFILES["study"] if not is_of_features(name)):
        found = configs("study", family, "results")
        varied = {"weighting", "algorithm", "lambda_init", "validation_as_labels", "seed", "out"}
        varied |= {"score_every_step", "lambda_lr", "validation"}
        varied |= SWEPT if family in SECONDARY else set()
        # Of texts the supervised base anneals no signal, as upstream; and nothing is masked there.
        varied |= {"tsa", "threshold"} if family.startswith("imdb") else set()
        deep = {"influence_params", "inverse_hessian", "per_example_engine"}
        varied |= deep if family in (DEEP, TOP) else set()
        if family in ("imdb_v20", f"{REFERENCE}_other_v", TOP):  # as the page says
            varied |= {"val_seed"}
            assert all(c.val_seed == c.seed for c in found)
        shared = [{k: v for k, v in vars(c).items() if k not in varied} for c in found]
        assert all(options == shared[0] for options in shared)
        text = shared[0]["model"] == "bert"
        steps, every = shared[0]["steps"], shared[0]["eval_every"]
        assert steps // every == 40, "the page says that the last 20 are half of a run"
        assert shared[0]["steps"] >= (2000 if text else 1200 if family == TOP else 3000)
        few = text or family in SECONDARY or shared[0]["contamination"] != "none"
        few = few and family not in (DEEP, TOP)
        assert len({c.seed for c in found}) == (3 if few else 5)


def test_an_unknown_family_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"--family must be one of toy, .*Received: 'nope'"):
        configs("default", "nope", "results")


SIZES = [("mixmatch", 100, 96), ("remixmatch", 100, 96), ("remixmatch", 98, 96)]


@pytest.mark.parametrize(("algorithm", "size", "fitting"), SIZES)
def test_mixed_batches_of_the_lambda_step_are_groups_of_the_labeled_size(algorithm, size, fitting):
    given = {"dataset": "cifar10", "weighting": "per_example"}
    with pytest.raises(ValueError, match=rf"--algorithm={algorithm}.*--lambda_batch={size}"):
        make_config(**given, algorithm=algorithm, lambda_batch=size)
    assert make_config(**given, algorithm=algorithm, lambda_batch=fitting).lambda_batch == fitting
    assert make_config(**given, algorithm="fixmatch", lambda_batch=size).lambda_batch == size
    given["weighting"] = "fixed"
    assert make_config(**given, algorithm=algorithm, lambda_batch=size).lambda_batch == size

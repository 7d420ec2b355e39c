"""One entry an option: what it says is enforced from it, and nowhere else is a second list."""

import ast
import dataclasses
import math
import re

import pytest
from absl import flags
from places import ROOT
from ssl_weighting_upstream.uda_tsa import SCHEDULES

from experiments.options import flags as own_flags
from experiments.options import influence, presets
from experiments.options.combinations import ORACLE_ALGORITHMS, SPLIT_METHODS
from experiments.options.config import ENTRIES, RETIRED, Config
from experiments.options.effects import effect_of, refuse_without_effect, without_effect
from experiments.options.entry import EFFECTS, RESULT
from experiments.options.presets import make_config
from ssl_weighting import (
    algorithms,
    estimator,
    lambda_across,
    lambda_step_settings,
    madam,
    per_example_gradients,
    weight_store,
)
from ssl_weighting.inverse_hessian import METHODS
from ssl_weighting.models import LOGIT_MAPS, PRECISIONS
from ssl_weighting.models.bert import POOLINGS
from ssl_weighting.models.wrn_variants import VARIANTS
from ssl_weighting.theta import ema, schedules, weight_decay
from ssl_weighting.training import derived

# Runs of every kind: for each option one of them reads it and one does not.
BASES = [
    make_config(**options)
    for options in (
        {"dataset": "cifar10"},
        {"dataset": "cifar10", "weighting": "fixed", "lr_schedule": "constant", "ema_decay": 0.0},
        {"dataset": "cifar10", "weighting": "confidence", "strong_augment": "ctaugment"},
        {"dataset": "cifar10", "contamination": "corrupt", "labeled_set": "uda"},
        {"dataset": "cifar10", "algorithm": "supervised", "weight_decay": 0.0},
        {"dataset": "cifar10", "algorithm": "uda", "inverse_hessian": "neumann"},
        {"dataset": "cifar10", "algorithm": "vat", "inverse_hessian": "identity"},
        {"dataset": "cifar10", "algorithm": "mixmatch", "lambda_optimizer": "sgd"},
        {"dataset": "cifar10", "influence_params": "all", "inverse_hessian": "stochastic_cg"},
        {"dataset": "cifar10", "inverse_hessian": "conjugate_gradient"},
        {"dataset": "cifar10", "workers": "auto"},
        {"dataset": "folder:mine"},
        {"dataset": "folder:mine", "image_size": 8},
        {"dataset": "moons"},
        {"dataset": "moons", "validation": "cross_fit"},
        {"dataset": "imdb"},
        {"dataset": "imdb", "algorithm": "fixmatch", "back_translation_dir": "there"},
        {"dataset": "imdb", "text_augment": "none"},
        {"dataset": "csv:mine.csv"},
        {"dataset": "features:mine.npz", "algorithm": "fixmatch"},
        {"dataset": "features:mine.npz", "algorithm": "fixmatch", "feature_views": "mixed"},
        {"dataset": "cifar10", "backbone": "efficientnet_lite0", "algorithm": "fixmatch"},
        {"dataset": "features:mine.npz", "inner": "solve"},
        {"dataset": "imdb", "backbone": "minilm"},
        {"dataset": "folder:mine", "recipe": "own"},
    )
]
RANGES = [(name, k) for name, entry in ENTRIES.items() for k, _ in enumerate(entry.ranges)]
NEEDS = [name for name, entry in ENTRIES.items() if entry.needs]


def test_every_option_has_one_entry_and_one_flag():
    values = flags.FlagValues()
    own_flags.define(values)
    assert list(ENTRIES) == [field.name for field in dataclasses.fields(Config)]
    assert set(values) == set(ENTRIES) and not ENTRIES.keys() & RETIRED.keys()
    for name, entry in ENTRIES.items():
        assert values[name].help.startswith(f"[{entry.group}] {entry.help}")
        assert entry.effect in EFFECTS and effect_of(name) == entry.effect
    assert effect_of("an_option_of_an_older_run") == RESULT


@pytest.mark.parametrize(("name", "k"), RANGES)
def test_every_range_is_enforced_from_its_entry(name, k):
    one = ENTRIES[name].ranges[k]
    outside = [v for v in (-2, -0.5, 0, 0.5, 1, 1.5, 2) if not one.holds(v)]
    assert outside
    for value in outside:
        first = next(r for r in ENTRIES[name].ranges if not r.holds(value))
        with pytest.raises(ValueError, match=rf"^--{name} must be ") as caught:
            Config(**{name: value})
        assert str(caught.value) == f"--{name} must be {first.text}. Received: {value}"


def test_numbers_are_finite_where_their_entries_do_not_say_otherwise():
    for name, value in vars(Config()).items():
        if type(value) in (int, float):
            for wrong in (math.nan, -math.inf, 1e39):
                if name == "lambda_max" and wrong == 1e39:
                    continue
                with pytest.raises(ValueError, match=f"--{name} must be"):
                    Config(**{name: wrong})
    assert [name for name, entry in ENTRIES.items() if entry.infinite] == ["lambda_max"]


@pytest.mark.parametrize("name", NEEDS)
def test_every_need_is_enforced_from_its_entry(name):
    need = ENTRIES[name].needs
    idle = [config for config in BASES if not need.holds(config)]
    assert idle and len(idle) < len(BASES), "no run reads it, or every one"
    for config in BASES:
        assert (name in without_effect(config)) == (config in idle)
    for config in idle:
        with pytest.raises(ValueError, match=f"^--{name} would do nothing here") as caught:
            refuse_without_effect(config, [name])
        said = str(caught.value).partition(f"it needs {need.text}. Received: ")[2]
        named = set(re.findall(r"--(\w+)", need.text)) or {"dataset", "model", "algorithm"}
        for option in named:
            value = getattr(config, option)
            shown = str(value).lower() if isinstance(value, bool) else value
            assert f"--{option}={shown}" in said


def test_choices_are_the_library_s():
    """Written out, so that a mistyped name is refused before TensorFlow is imported."""
    library = {
        "algorithm": algorithms.ALGORITHMS,
        "weighting": (*weight_store.MODES, algorithms.ORACLE),
        "tsa": SCHEDULES,
        "lr_schedule": (*schedules.SCHEDULES, "constant"),
        "weight_decay_scope": weight_decay.SCOPES,
        "ema_scope": ema.SCOPES,
        "bert_pooling": POOLINGS,
        "reparam": ("auto", *LOGIT_MAPS),
        "wrn_variant": VARIANTS,
        "madam_t": madam.STEP_COUNTS,
        "madam_mask": madam.MASKS,
        "inverse_hessian": METHODS,
        "per_example_engine": per_example_gradients.ENGINES,
        "infl_bn": lambda_step_settings.BATCH_NORM_MODES,
        "curvature": lambda_step_settings.CURVATURES,
        "precision": PRECISIONS,
        "lambda_workers": ("auto", *lambda_across.STEPS),
    }
    for name, known in library.items():
        assert ENTRIES[name].choices == tuple(known), name
    assert derived.LEARNED == weight_store.LEARNED
    assert estimator.WEIGHTINGS == weight_store.MODES
    assert {*estimator.ALGORITHMS, "remixmatch"} == algorithms.ALGORITHMS.keys()
    assert influence.LAST_LAYER == lambda_step_settings.LAST_LAYER
    assert ORACLE_ALGORITHMS == algorithms.ORACLE_ALGORITHMS
    assert SPLIT_METHODS == lambda_across.METHODS
    decays = {name: variant.batch_norm_decay for name, variant in VARIANTS.items()}
    assert decays == presets.BATCH_NORM_DECAYS
    for name, kind in algorithms.ALGORITHMS.items():
        assert make_config(algorithm=name).uses_unlabeled == kind.uses_unlabeled


# Lists that mean something else than whether an option matters.
OTHER_LISTS = {
    ("experiments/run_cell.py", "seed", "out"),  # what the cell's program sets itself
    ("experiments/options/flags.py", "dataset", "out"),  # what must be given
    ("experiments/options/extraction.py", "dataset", "backbone", "out"),
    ("experiments/pack.py", "dataset", "out"),
    ("experiments/pack.py", "on_error", "jpeg_draft"),  # what is of files alone
    ("experiments/report/grouping.py", "seed", "val_seed"),  # what repeats a run
    ("experiments/runs/again.py", "seed", "val_seed"),  # and changes no compiled function
    # And what the recorded source and machine stand for.
    ("experiments/report/grouping.py", "data_dir", "threads"),
    # Which of the influence's switches score an example that no run has seen.
    (
        "experiments/runs/scorer.py",
        "influence_params", "theta_hat", "per_example_engine", "max_memory", "curvature",
        "infl_bn", "infl_mask_grad",
    ),
    ("experiments/run_cell.py", "smoke"),  # no departure from a cell
    # The recipe that the suite times, as attributes of its own.
    (
        "experiments/benchmarks/train_step.py",
        "learning_rate", "weight_decay", "ema_decay", "batch_norm_decay",
    ),
    # What extract_features has in common with training, and what its views alone need.
    (
        "experiments/options/extraction.py",
        "dataset", "data_dir", "on_error", "text_column", "label_column",
        "id_column", "delimiter", "max_len", "truncation", "num_test", "seed", "flip",
        "text_augment", "text_augment_p",
    ),
    ("experiments/options/extraction.py", "seed", "flip", "text_augment", "text_augment_p"),
    # What chose the others, and where the texts of one's own stand.
    ("experiments/options/own.py", "recipe", "minutes"),
    (
        "experiments/options/own_data.py",
        "text_column", "label_column", "id_column", "delimiter",
    ),
    # What holds whatever net reads the data.
    ("experiments/options/presets.py", "flip", "max_len"),
    # What a recipe hangs on.
    (
        "experiments/options/deviations.py",
        "preset", "algorithm", "uda_version", "num_labeled", "weighting",
    ),
}  # fmt: skip


def lists_of_options(text):
    """Return the tuples, lists and sets of two or more options in a source."""
    literals = (
        n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Tuple, ast.List, ast.Set))
    )
    found = [
        [e.value for e in one.elts if isinstance(e, ast.Constant)]
        for one in literals
        if len(one.elts) > 1 and all(isinstance(e, (ast.Constant, ast.Starred)) for e in one.elts)
    ]
    return [tuple(names) for names in found if names and {*names} <= ENTRIES.keys()]


def test_no_option_stands_in_a_second_list():
    found = {
        (path.relative_to(ROOT).as_posix(), *names)
        for path in (ROOT / "experiments").rglob("*.py")
        for names in lists_of_options(path.read_text())
    }
    assert found == OTHER_LISTS


def test_second_lists_are_found():
    assert lists_of_options('x = ("jit", "devices")\ny = ["jit"]\nz = {"jit": 1}') == [
        ("jit", "devices")
    ]


NUMBERS = [name for name in ENTRIES if type(getattr(Config(), name)) in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_would_run_over_are_refused(name):
    """Some earlier, by their own range; what is left fits float32 and int32."""
    whole = isinstance(getattr(Config(), name), int)
    for value in (2**31, 10**30, -(2**31)) if whole else (1.1e30, 1e38, 1e300, -1e38):
        with pytest.raises(ValueError, match=f"--{name} must be ") as caught:
            ENTRIES[name].check(name, value)
        assert f"Received: {value}" in str(caught.value)

"""An option and the library's argument that it sets have one name, or a reason stands here."""

import ast
import inspect

import pytest
from places import ROOT

from experiments.assemble.build import settings_of
from experiments.options.config import ENTRIES, Config
from experiments.options.presets import make_config
from ssl_weighting.algorithms import ALGORITHMS, SETTINGS
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.training.settings import TrainingSettings, feature_settings

CALLED = ("config", "settings", "s")
# (option, argument) -> why the names differ.
OTHER_NAMES = {
    **{
        (f"solve_{name}", name): "`SolveOptions` says solve already"
        for name in ("iterations", "tolerance", "scale", "repeats")
    },
    ("lambda_lr", "learning_rate"): "Keras's word; the class says whose",
    ("madam_beta1", "beta_1"): "Keras's word; the class says whose",
    ("madam_epsilon", "epsilon"): "Keras's word; the class says whose",
    ("madam_t", "step_count"): "`MAdam` says whose; t alone is no name in code",
    ("madam_mask", "mask"): "`MAdam` says whose",
}


def renamed_keywords():
    """Return (option, argument) of every `argument=config.option` where options become objects."""
    found = set()
    rooms = (ROOT / "experiments" / "assemble", ROOT / "ssl_weighting" / "training")
    for path in (path for room in rooms for path in room.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.keyword) else None
            if isinstance(value, ast.Attribute) and ast.unparse(value.value) in (
                "config",
                "settings",
                "s",
            ):
                found.add((value.attr, node.arg))
    return {(option, name) for option, name in found if option in ENTRIES and option != name}


def test_the_library_s_arguments_have_the_options_names():
    assert renamed_keywords() == OTHER_NAMES.keys()


def test_settings_are_options_by_name():
    """What are options arrive by `settings.named`; the others are made from options."""
    made = {"solve", "num_steps", "strict", "separate_weak", "broadcast_mask", "teacher"}
    fixed = {"num_classes", "xi", "kl_coefficient", "rotation_coefficient"}  # upstream's constants
    names = {*SETTINGS, *inspect.signature(BilevelSettings).parameters}
    names |= {*inspect.signature(LambdaStepSettings).parameters}
    assert names - ENTRIES.keys() == made | fixed


def test_a_trainer_s_settings_are_options_with_their_defaults():
    ours, theirs = vars(TrainingSettings()), vars(Config())
    different = {name for name, value in ours.items() if theirs.get(name) != value}
    # What -1 and 0 stand for in an option is known by then.
    assert different == {"ramp_steps", "inner_steps"}


@pytest.mark.parametrize("given", [{}, {"steps": 200, "threshold": 0.9}, {"head": "mlp"}])
@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"remixmatch"}))
def test_the_settings_of_a_head_on_features_are_the_programs(algorithm, given):
    config = make_config(dataset="features:x", algorithm=algorithm, **given)
    assert feature_settings(algorithm=algorithm, **given) == settings_of(config)

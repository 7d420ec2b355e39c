"""Options without effect are refused by name; options with one are not."""

import shlex
from types import SimpleNamespace

import pytest
from absl import flags

from experiments.options.config import options_as_json
from experiments.options.effects import refuse_without_effect, without_effect
from experiments.options.flags import define, given
from experiments.options.presets import make_config
from experiments.report.provenance import command
from experiments.study.profiles import PROFILES, configs

IMAGES = {"dataset": "digits"}
TOY = {"dataset": "moons"}


@pytest.mark.parametrize(
    "options, name, needed",
    [
        (TOY, "image_size", "images"),
        (IMAGES, "max_len", "texts"),
        (TOY, "depth", "--model=wide_resnet"),
        (TOY, "infl_bn", "--model=wide_resnet"),
        (IMAGES | {"weighting": "fixed"}, "infl_bn", "learned weights"),
        (IMAGES | {"algorithm": "supervised"}, "wu", "unlabeled losses"),
        (IMAGES | {"algorithm": "mixmatch"}, "threshold", "pseudo_label or uda or fixmatch"),
        (IMAGES, "temperature", "--algorithm=uda"),
        (IMAGES | {"weighting": "zero"}, "lambda_init", "learned or fixed weights"),
        (IMAGES | {"weighting": "confidence"}, "lambda_lr", "learned weights"),
        (IMAGES | {"weighting": "fixed"}, "lambda_max", "learned weights"),
        (IMAGES | {"lambda_optimizer": "adam"}, "madam_t", "--lambda_optimizer=madam"),
        (IMAGES | {"lambda_optimizer": "sgd"}, "madam_epsilon", "an Adam"),
        (IMAGES | {"lambda_optimizer": "sgd"}, "madam_beta1", "an Adam"),
        (IMAGES | {"inverse_hessian": "identity"}, "damping", "a method that reads H"),
        (IMAGES, "solve_iterations", "--inverse_hessian of conjugate_gradient"),
        (IMAGES | {"inverse_hessian": "neumann"}, "solve_repeats", "stochastic_cg"),
        (IMAGES, "per_example_engine", "other than last_layer"),
        (IMAGES | {"influence_params": "all"}, "theta_hat", "--influence_params=last_layer"),
    ],
)
def test_refused_by_name_with_what_it_needs(options, name, needed):
    config = make_config(**options)
    with pytest.raises(ValueError, match=f"--{name} would do nothing here: it needs .*{needed}"):
        refuse_without_effect(config, [*options, name])


@pytest.mark.parametrize(
    "options, names",
    [
        (IMAGES, ("depth", "damping", "madam_t", "threshold", "flip", "lambda_lr", "infl_bn")),
        (TOY, ("damping", "lambda_init", "unlabeled_ratio")),
        (IMAGES | {"algorithm": "uda"}, ("temperature", "wu")),
        (
            IMAGES | {"inverse_hessian": "neumann", "influence_params": "all"},
            ("solve_iterations", "solve_scale", "solve_tolerance", "max_memory", "damping"),
        ),
        (IMAGES | {"lambda_optimizer": "adam"}, ("madam_epsilon", "lambda_lr")),
        (IMAGES | {"algorithm": "supervised"}, ("seed", "depth", "learning_rate", "val_size")),
    ],
)
def test_options_with_an_effect_pass(options, names):
    refuse_without_effect(make_config(**options), [*options, *names])


def test_presets_and_recipes_may_set_what_a_run_does_not_read():
    config = make_config(dataset="digits", algorithm="supervised", preset="released")
    refuse_without_effect(config, ["dataset", "algorithm", "preset"])


@pytest.mark.parametrize("params", ["head|(", "*"])
def test_a_broken_expression_is_refused_before_anything_is_read(params):
    with pytest.raises(ValueError, match="--influence_params must be last_layer, all or a reg"):
        make_config(dataset="digits", influence_params=params)


@pytest.mark.parametrize("engine", ["serial", "vectorized_map"])
def test_engines_that_pass_examples_alone_need_moving_statistics(engine):
    options = {"influence_params": "all", "per_example_engine": engine}
    with pytest.raises(ValueError, match=rf"--per_example_engine={engine} .*--infl_bn=moving"):
        make_config(**IMAGES, **options)
    make_config(**IMAGES, **options, infl_bn="moving")
    make_config(**TOY, **options)  # has no statistics


@pytest.mark.parametrize("family", PROFILES["default"])
def test_the_command_in_a_report_is_taken_and_makes_the_same_run(family):
    for config in configs("default", family, "results/x")[:6]:
        idle = without_effect(config)
        saved = {"config": options_as_json(config), "without_effect": idle, "program": "train_text"}
        words = shlex.split(command(SimpleNamespace(config=saved, name="x")))[3:]
        values = flags.FlagValues()
        define(values)
        values(["program", *words])
        options = given(values)
        again = make_config(**options)
        refuse_without_effect(again, options)
        changed = {k for k, v in vars(again).items() if v != getattr(config, k)}
        assert changed - {"out"} <= set(idle)
        assert {"seed", "learning_rate"} - set(idle) < options.keys()  # a solved head takes no rate

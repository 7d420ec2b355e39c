"""Every recipe against the facts (2.2, 4.2, 4.5, 6) and our page; how a run is built from it."""

import re

import numpy as np
import pytest
from absl import flags
from places import ROOT

from experiments.assemble import build as building
from experiments.options.deviations import deviations
from experiments.options.effects import refuse_without_effect
from experiments.options.flags import config_from_flags, define
from experiments.options.presets import ALGORITHM_RECIPES, following_steps, make_config
from experiments.paper.cells import cells
from experiments.runs.state import variables
from ssl_weighting.training.optimizers import theta_optimizer
from ssl_weighting.training.settings import algorithm_settings

UDA = {
    "2019": {
        "labeled_batch": 64, "unlabeled_batch": 320, "steps": 400_000, "learning_rate": 0.03,
        "lr_schedule": "floored_cosine", "lr_warmup_steps": 20_000, "optimizer": "nesterov",
        "weight_decay": 5e-4, "weight_decay_scope": "all", "ema_decay": 0.0, "wu": 1.0,
        "threshold": 0.0, "temperature": 1.0, "tsa": "none", "entropy_coefficient": 0.0,
        "wrn_variant": "uda_2019", "batch_norm_decay": 0.9, "pixel_scaling": "standardized",
    },
    "2020": {
        "labeled_batch": 64, "unlabeled_batch": 448, "steps": 500_000, "learning_rate": 0.03,
        "lr_schedule": "cosine", "lr_warmup_steps": 0, "optimizer": "nesterov",
        "weight_decay": 5e-4, "weight_decay_scope": "all", "ema_decay": 0.9999,
        "ema_scope": "all", "wu": 1.0, "threshold": 0.8, "temperature": 0.4, "tsa": "none",
        "entropy_coefficient": 0.0, "wrn_variant": "uda", "batch_norm_decay": 0.9,
        "pixel_scaling": "standardized",
    },
    "fixmatch": {
        "labeled_batch": 64, "unlabeled_batch": 448, "steps": 2**20, "learning_rate": 0.03,
        "lr_schedule": "cosine", "lr_warmup_steps": 0, "optimizer": "nesterov",
        "weight_decay": 5e-4, "weight_decay_scope": "kernels", "ema_decay": 0.999,
        "ema_scope": "trainable", "wu": 1.0, "threshold": 0.95, "temperature": 1.0, "tsa": "none",
        "entropy_coefficient": 0.0, "wrn_variant": "fixmatch", "batch_norm_decay": 0.999,
        "pixel_scaling": "symmetric",
    },
}  # fmt: skip
OLDER = {
    "pseudo_label": {"wu": 1.0, "ramp_steps": round(0.4 * 2**20), "threshold": 0.95},
    "mean_teacher": {"wu": 50.0, "ramp_steps": round(0.4 * 2**20)},
    "vat": {
        "wu": 0.3, "ramp_steps": round(0.4 * 2**20), "entropy_coefficient": 0.06,
        "optimizer": "adamw", "learning_rate": 0.002, "lr_schedule": "constant",
        "weight_decay": 0.02, "vat_epsilon": 6.0,
    },
    "mixmatch": {"wu": 100.0, "ramp_steps": 16_384, "temperature": 0.5, "mixup_beta": 0.5},
    "remixmatch": {
        "wu": 1.5, "ramp_steps": 16_384, "temperature": 0.5, "mixup_beta": 0.75,
        "learning_rate": 0.002, "weight_decay": 0.02,
    },
}  # fmt: skip
SHARED = {
    "labeled_batch": 64, "unlabeled_batch": 64, "steps": 2**20, "learning_rate": 0.03,
    "lr_schedule": "cosine", "optimizer": "nesterov", "weight_decay": 5e-4, "ema_decay": 0.999,
    "weight_decay_scope": "kernels", "ema_scope": "trainable", "wrn_variant": "fixmatch",
}  # fmt: skip


def assert_is(config, expected):
    found = {name: getattr(config, name) for name in expected}
    assert found == expected


@pytest.mark.parametrize("version", UDA)
def test_uda_s_versions(version):
    config = make_config(algorithm="uda", uda_version=version, dataset="cifar10")
    assert_is(config, UDA[version])
    assert (config.lambda_warmup_steps, config.inner_steps) == (20_000, 100)
    views = "randaugment" if version == "fixmatch" else "uda_randaugment"
    assert config.strong_views == views, "facts 3.5 and 4.5"
    assert deviations(config) == []
    assert make_config(algorithm="uda") == make_config(algorithm="uda", uda_version="2019")


@pytest.mark.parametrize("name", OLDER)
def test_older_algorithms(name):
    assert_is(make_config(algorithm=name, dataset="cifar10"), SHARED | OLDER[name])


def test_fixmatch():
    expected = SHARED | {"unlabeled_batch": 448, "threshold": 0.95, "wu": 1.0, "ramp_steps": 0}
    assert_is(make_config(dataset="cifar10"), expected)


@pytest.mark.parametrize("dataset", ["svhn_cropped", "svhn_cropped_extra", "cifar10"])
def test_digits_are_not_mirrored(dataset):
    assert make_config(dataset=dataset).flip == (dataset == "cifar10")
    assert make_config(dataset=dataset).steps == 2**20


@pytest.mark.parametrize(
    ("given", "init"),
    [
        ({}, 5.0),
        ({"dataset": "svhn_cropped"}, 5.0),
        ({"weighting": "single"}, 5.0),
        ({"num_labeled": 500}, 1.0),
        ({"num_labeled": 4000}, 1.0),
        ({"weighting": "fixed"}, 1.0),  # the baseline has its coefficient of 1
        ({"preset": "released"}, 1.0),
        ({"lambda_init": 2.0}, 2.0),
        ({"algorithm": "fixmatch"}, 1.0),
    ],
)
def test_uda_with_250_labels_starts_at_5(given, init):
    assert make_config(**{"algorithm": "uda"} | given).lambda_init == init


def test_short_runs_warm_up_for_the_same_share():
    assert make_config(algorithm="uda", steps=1000, lambda_warmup_steps=0).lr_warmup_steps == 50
    assert make_config(algorithm="uda", lr_schedule="constant").lr_warmup_steps == 0
    assert make_config(algorithm="uda", lr_warmup_steps=7).lr_warmup_steps == 7
    with pytest.raises(ValueError, match=r"--lr_warmup_steps must be less than --steps=10. .* 10"):
        make_config(steps=10, lr_warmup_steps=10, inner_steps=2)


SHORT = {"ema_decay": 0.98, "batch_norm_decay": 0.98, "eval_every": 25, "inner_steps": 25}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, SHORT),
        ({"ema_decay": 0.5, "eval_every": 500}, SHORT | {"ema_decay": 0.5, "eval_every": 500}),
        (
            {"algorithm": "uda"},
            SHORT | {"ema_decay": 0.0, "batch_norm_decay": 0.9, "lambda_warmup_steps": 25},
        ),
        ({"algorithm": "uda", "lambda_warmup_steps": 7}, {"lambda_warmup_steps": 7}),
        (
            {"algorithm": "uda", "uda_version": "2020"},
            {"ema_decay": 0.98, "batch_norm_decay": 0.9, "lambda_warmup_steps": 25},
        ),
        ({"algorithm": "mean_teacher", "dataset": "svhn_cropped"}, SHORT),  # its teacher
        ({"steps": 7}, {"ema_decay": 0.0, "eval_every": 1}),
        ({"steps": 20_000}, {"ema_decay": 0.999, "eval_every": 1000}),
        ({"dataset": "mnist"}, {"ema_decay": 0.98, "eval_every": 25}),
        ({"dataset": "mnist", "steps": 2000}, {"ema_decay": 0.99, "eval_every": 50}),  # for 1,000
        ({"dataset": "moons"}, {"ema_decay": 0.0, "eval_every": 25}),
        (
            {"dataset": "imdb"},
            {"lambda_warmup_steps": 50, "lr_warmup_steps": 50, "eval_every": 25},
        ),
    ],
)
def test_a_short_run_has_in_proportion_what_is_made_for_a_million_steps(given, expected):
    assert_is(make_config(**{"dataset": "cifar10", "steps": 500} | given), expected)


def test_the_steps_of_a_recipe_follow_from_nothing_and_smoke_keeps_its_averages():
    for algorithm in ALGORITHM_RECIPES:
        given = {"dataset": "cifar10", "algorithm": algorithm}
        made = make_config(**given)
        assert following_steps(**given) == following_steps(**given, steps=made.steps) == {}
        smoke = make_config(**given, smoke=True)
        assert (smoke.ema_decay, smoke.batch_norm_decay) == (made.ema_decay, made.batch_norm_decay)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps=500"], "--steps=500 makes it --batch_norm_decay=0.98 --ema_decay=0.98 "
         "--inner_steps=25 --eval_every=25\n"),
        (["--steps=500", "--weighting=fixed", "--ema_decay=0.9"],
         "--steps=500 makes it --batch_norm_decay=0.98 --eval_every=25\n"),
        (["--steps=2000000", "--lambda_warmup_steps=1500000"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_command_line_says_what_follows_from_its_steps(capsys, monkeypatch, words, said):
    values = flags.FlagValues()
    define(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    values(["program", "--dataset=cifar10", "--out=x", *words])
    config_from_flags(["program"])
    assert capsys.readouterr().out == said


def test_the_net_s_decay_follows_its_variant():
    assert make_config(wrn_variant="uda").batch_norm_decay == 0.9
    assert make_config(wrn_variant="uda", batch_norm_decay=0.5).batch_norm_decay == 0.5
    assert make_config(algorithm="uda", wrn_variant="fixmatch").batch_norm_decay == 0.999


def test_a_departure_from_the_version_is_named():
    config = make_config(algorithm="uda", temperature=0.4, num_labeled=4000)
    assert "DEVIATION: temperature 0.4 instead of 1.0" in deviations(config)
    other = make_config(algorithm="uda", uda_version="2020", num_labeled=4000)
    assert not [d for d in deviations(other) if "temperature" in d]


def test_interleaving_needs_batches_that_can_be_dealt_out():
    assert make_config(interleave=True, lambda_batch=96).interleave
    with pytest.raises(ValueError, match=r"--interleave needs --labeled_batch=64 .*_batch=100"):
        make_config(interleave=True, lambda_batch=100)


@pytest.mark.parametrize(
    ("options", "name", "needed"),
    [
        ({}, "uda_version", "--algorithm=uda"),
        ({"algorithm": "vat"}, "interleave", "--algorithm=uda or fixmatch"),
        ({"lr_schedule": "constant"}, "lr_warmup_steps", "--lr_schedule other than constant"),
        ({"weight_decay": 0.0}, "weight_decay_scope", "--weight_decay greater than 0"),
        ({"ema_decay": 0.0}, "ema_scope", "--ema_decay greater than 0"),
        ({"preset": "released"}, "val_seed", "--val_order=drawn"),
        ({"dataset": "moons"}, "wrn_variant", "--model=wide_resnet"),
        ({"dataset": "moons"}, "pixel_scaling", "--model=wide_resnet"),
        ({"dataset": "moons"}, "labeled_set", "images"),
    ],
)
def test_options_without_effect_are_refused(options, name, needed):
    with pytest.raises(ValueError, match=f"--{name} would do nothing here: it needs .*{needed}"):
        refuse_without_effect(make_config(**options), [*options, name])


CELLS = {cell.name: cell.options for cell in cells()}
COLUMNS = {
    "FixMatch": {}, "UDA 2019": {"algorithm": "uda", "uda_version": "2019"},
    "UDA 2020": {"algorithm": "uda", "uda_version": "2020"},
    "UDA fixmatch": {"algorithm": "uda", "uda_version": "fixmatch"},
    "Pseudo-Label": {"algorithm": "pseudo_label"}, "Mean-Teacher": {"algorithm": "mean_teacher"},
    "VAT": {"algorithm": "vat"}, "MixMatch": {"algorithm": "mixmatch"},
    "ReMixMatch": {"algorithm": "remixmatch"}, "Supervised 128": CELLS["table2_128_supervised"],
    "UDA 128": CELLS["table2_128_uda_ours"],
    "UDA 512": CELLS["table2_512_uda"] | {"weighting": "per_example"},
    "Features": {"dataset": "features:mine.npz"},
}  # fmt: skip
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_page_of_recipes_tells_what_is_trained():
    tables = re.findall(r"^\| option \| (.*) \|\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    columns = [name for heading, _ in tables for name in heading.split(" | ")]
    assert columns == list(COLUMNS)
    for heading, body in tables:
        made = [make_config(**{"dataset": "cifar10"} | COLUMNS[c]) for c in heading.split(" | ")]
        for line in body.splitlines():
            flag, *cells = line.strip("| ").split(" | ")
            name = flag.strip("`-")
            for config, cell in zip(made, cells, strict=True):
                if cell != "–":
                    assert cell == str(getattr(config, name)), (name, config.algorithm)
                else:
                    with pytest.raises(ValueError, match=f"--{name} would do nothing"):
                        refuse_without_effect(config, [name])


TINY = {
    "dataset": "digits", "depth": 10, "width": 1, "base_filters": 2, "num_labeled": 20,
    "val_size": 40, "labeled_batch": 4, "unlabeled_ratio": 3, "steps": 1000, "jit": False,
    "algorithm": "uda", "lambda_warmup_steps": 0,
}  # fmt: skip


def build(**options):
    config = make_config(**TINY | options)
    return building.build(config, building.load_splits(config))


def schedule_of(run):
    saved = run.trainer.optimizer.get_config()["learning_rate"]
    return saved["class_name"], saved["config"]


def test_a_run_of_2020_is_built_as_its_recipe_says():
    run = build(uda_version="2020", ema_decay=0.99)
    trainer, model = run.trainer, run.trainer.model
    assert trainer.settings.weight_decay_scope == "all"
    assert len(trainer.ema.variables) == len(model.variables)
    names = [n for n in variables(run) if n.startswith("ema/")]
    assert len(names) == len(model.variables), "checkpoints hold the averaged statistics"
    pixels = run.splits.unlabeled.inputs / 255
    layer = model.get_layer("standardize")
    np.testing.assert_allclose(layer.scale, [0.5 / pixels.std()], rtol=1e-6)
    np.testing.assert_allclose(layer.offset, [(0.5 - pixels.mean()) / pixels.std()], rtol=1e-6)
    assert schedule_of(run)[0] == "FixMatchCosine"
    assert trainer.algorithm.strict and trainer.algorithm.temperature == 0.4


def test_a_run_of_2019_has_its_schedule_and_fixmatch_s_its_mask_and_annealing():
    run = build()
    name, settings = schedule_of(run)
    assert (name, settings["warmup_steps"], settings["num_steps"]) == ("FlooredCosine", 50, 1000)
    assert run.trainer.ema.statistics == [] and run.trainer.algorithm.strict
    assert run.trainer.parameters.l2_scope == "all"
    other = build(uda_version="fixmatch", tsa="log").trainer.algorithm
    assert not other.strict and other.num_steps == 250
    full = make_config(algorithm="uda", uda_version="fixmatch")
    assert algorithm_settings(building.settings_of(full))["num_steps"] == 2**16, (
        "upstream: 2^14 kimg, tsa_pos 8"
    )


@pytest.mark.parametrize(("scope", "decayed"), [("kernels", {"kernel"}), ("all", None)])
def test_vat_s_adam_decays_kernels_by_4e_5_a_step(scope, decayed):
    """theta <- theta (1 - 0.002 * 0.02), apart from the gradient's step."""
    config = make_config(algorithm="vat", weight_decay_scope=scope)
    optimizer = theta_optimizer(building.settings_of(config))
    model = building.wide_resnet((8, 8, 1), 2, depth=10, width=1, base_filters=2)
    for v in model.trainable_variables:
        v.assign(np.ones(v.shape))
    optimizer.apply([np.zeros(v.shape, "f") for v in model.trainable_variables],
                    model.trainable_variables)  # fmt: skip
    for v in model.trainable_variables:
        expected = 1 - 4e-5 if decayed is None or v.name in decayed else 1.0
        np.testing.assert_allclose(v, expected, rtol=1e-7, err_msg=v.path)
    assert optimizer.epsilon == 1e-8 and float(optimizer.learning_rate) == pytest.approx(0.002)

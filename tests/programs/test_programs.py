"""The programs: what they refuse, their help, how they end."""

import errno
import re
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import runs
from absl import flags
from layout_rules import TOPS
from places import ROOT
from runs import call

from experiments import (
    extract_features,
    fetch_data,
    make_report,
    predict,
    run_profile,
    train_images,
    train_synthetic,
)
from experiments.options.config import ENTRIES
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.runs.errors import friendly
from experiments.runs.record import is_complete
from experiments.runs.snapshots import steps_of_iterations
from ssl_weighting import checkpointing


@pytest.mark.parametrize(
    "program, arguments, message",
    [
        (train_images, ["--dataset=digits"], "--out must be given; --helpshort lists all"),
        (train_images, ["--out=x"], "--dataset must be given; --helpshort lists all"),
        (train_images, ["--out=x", "--dataset=imdb"], "Use python -m experiments.train_text"),
        (train_images, ["--dataset=digits", "--out=x", "y", "z"], "--NAME=VALUE. Received: y z"),
        (train_images, ["--dataset=nope", "--out=OUT"], "`dataset` must be one of cifar10, "),
        (train_images, ["--dataset=npz:", "--out=OUT"], "or packed:DIR. Received: "),
        (train_images, ["--dataset=npz:none.npz", "--out=OUT"], "none.npz"),
        (
            train_images,
            ["--dataset=folder:none", "--out=OUT"],
            "Received: folder:none, which is not there",
        ),
        (train_images, ["--dataset=moons", "--out=x"], "Use python -m experiments.train_synthetic"),
        (train_images, ["--dataset=digits", "--out=x", "--algorithm=nope"], "Received: 'nope'"),
        (
            train_images,
            ["--dataset=digits", "--out=OUT", "--model=mlp"],
            "--model=mlp takes points",
        ),
        (train_images, ["--dataset=digits", "--out=OUT", "--depth=11"], "--depth must be 6n + 4"),
        (
            train_images,
            ["--dataset=digits", "--out=OUT", "--num_labeled=3"],
            "`num_labeled` must be",
        ),
        (
            train_images,
            ["--dataset=digits", "--out=OUT", "--data_dir=x"],
            "`data_dir` must be left",
        ),
        (
            train_synthetic,
            ["--dataset=digits", "--out=x"],
            "one of linear, circles, moons. Received",
        ),
        (train_synthetic, ["--dataset=moons"], "--out must be given"),
        (
            train_synthetic,
            ["--dataset=moons", "--out=OUT", "--model=wide_resnet"],
            "--model=wide_resnet takes images; moons has inputs of shape (2,)",
        ),
    ],
)
def test_refusals_are_one_line_and_exit_code_1(
    monkeypatch, capsys, tmp_path, program, arguments, message
):
    arguments = [a.replace("=OUT", f"={tmp_path}") for a in arguments]
    with pytest.raises(SystemExit) as caught:
        call(program, monkeypatch, *arguments)
    assert caught.value.code == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and message in error[0]
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    "program", [extract_features, fetch_data, make_report, predict, run_profile, train_images]
)
def test_every_flag_of_a_program_has_a_help_text(program):
    values = flags.FlagValues()
    program.define_flags(values)
    assert len(values) >= 2 and all(len(values[name].help) > 5 for name in values)
    usage = program.__doc__.partition("python -m ")[2]
    assert usage.startswith(program.__name__)
    for name in re.findall(r"--(\w+)=", usage):
        assert name in values, f"--{name} of the usage is no flag"


def test_helpshort_shows_what_the_program_is_for_and_every_option():
    command = [sys.executable, "-m", "experiments.train_images", "--helpshort"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("Train one image classifier")
    assert " \\\n        --algorithm=fixmatch" in done.stdout, "the usage keeps its line breaks"
    for name, entry in ENTRIES.items():
        assert re.search(rf"^  --(\[no\])?{name}: \[{entry.group}\] \S", done.stdout, re.M), name
        assert all(choice in done.stdout for choice in entry.choices)
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("name", sorted(TOPS["experiments"] - {"__init__"}))
def test_a_mistyped_flag_is_answered_before_tensorflow_is_loaded(name):
    command = [sys.executable, "-X", "importtime", "-m", f"experiments.{name}", "--nope=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode and "Unknown command line flag 'nope'" in done.stderr + done.stdout
    assert not re.search(r"\| +(tensorflow|keras|pandas|matplotlib)$", done.stderr, re.M)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train_images --dataset=digits --out=x --algorithm=fixmach", "must be one of supervised"),
        ("train_images --dataset=digits --out=x --steps=0", "--steps must be greater than 0"),
        ("train_images --dataset=digits --out=x --max_len=9", "--max_len would do nothing here"),
        ("train_text --dataset=imdb --out=x --algorithm=vat", "--algorithm"),
        ("train_synthetic --dataset=moon --out=x", "--dataset must be one of linear"),
        ("run_cell --cell=mine --weighting=perexample", "--weighting must be one of zero"),
        ("extract_features --dataset=digits --backbone=nope --out=x.npz", "--backbone must be"),
        ("predict --run=nowhere --input=csv:x", "--run must be a finished run"),
        ("make_gallery --run=nowhere", "--run must be the folder of a finished run"),
        ("make_gallery --run=nowhere --out=nowhere/a.html", "--out must be a file NAME.html in"),
    ],
)
def test_a_refused_value_is_answered_before_tensorflow_is_loaded(words, message):
    command = [sys.executable, "-X", "importtime", "-m", *f"experiments.{words}".split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr
    assert not re.search(r"\| +(tensorflow|keras)$", done.stderr, re.M)


# How they end.

TOY = [f"--{name}={value}" for name, value in runs.MOONS.items()]


@pytest.fixture(scope="module")
def workshop():
    return runs.Workshop()


@pytest.fixture
def toy(workshop, monkeypatch):
    """Call train_synthetic on a tiny set."""

    def toy(*options):
        with runs.built_by(workshop.build):
            return call(train_synthetic, monkeypatch, *TOY, *options)

    return toy


def test_a_toy_run_writes_all_files_and_pictures_of_its_iterations(toy, tmp_path, capsys):
    assert toy("--inner_steps=2", "--steps=24", f"--out={tmp_path}") == 0
    out = capsys.readouterr().out
    sizes = "10 labeled, 40 unlabeled, 30 validation, 40 test"
    assert f"Pseudo-Label + Λ on moons, {sizes}; 24 steps\n  2 classes (labeled/validation/" in out
    assert "finished " in out and "(median of the last 3 evaluations)" in out
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "metrics.jsonl", "timing.jsonl", "example_weights.parquet", "model.keras",
        "snapshots.npz", "summary.json", "checkpoints", "tensorboard", "lambda_history.npz",
    }  # fmt: skip
    with np.load(tmp_path / "snapshots.npz") as file:
        found = dict(file)
    # Iteration k is shown after (k + 1) N steps: 1 at step 4; 20 and 30 lie beyond step 24.
    assert found["iterations"].tolist() == [1, 11]
    assert found["probability"].shape == (2, 120, 120) and found["lam"].shape == (2, 40)
    assert (found["lam"][0] != 1).any() and (found["lam"][0] != found["lam"][1]).any()
    assert found["unlabeled"].shape == (40, 2) and found["labeled_label"].shape == (10,)
    assert found["grid_x"].min() < found["unlabeled"][:, 0].min()
    table = pd.read_parquet(tmp_path / "example_weights.parquet")
    np.testing.assert_array_equal(found["lam"][1], table.lam)
    assert_surface(found, keras.models.load_model(tmp_path / "model.keras", compile=False))


def assert_surface(found, model):
    """The last picture is the averaged model's P(class 1) at (y, x)."""
    for row, column in ((0, 0), (5, 90), (110, 20)):
        point = np.array([[found["grid_x"][column], found["grid_y"][row]]])
        logits = model(point)["logits"].numpy()[0]
        expected = np.exp(logits[1]) / np.exp(logits).sum()
        assert found["probability"][-1, row, column] == pytest.approx(expected, abs=1e-5)


def test_pictures_survive_a_kill(toy, monkeypatch, tmp_path):
    options = ["--inner_steps=1", "--steps=24"]
    toy(*options, f"--out={tmp_path / 'a'}")
    with monkeypatch.context() as patched:
        runs.at_line("train", 17, runs.before)(patched)
        with pytest.raises(runs.Killed):
            toy(*options, f"--out={tmp_path / 'b'}")
    toy(*options, f"--out={tmp_path / 'b'}")
    with np.load(tmp_path / "a/snapshots.npz") as a, np.load(tmp_path / "b/snapshots.npz") as b:
        assert a["iterations"].tolist() == [1, 20, 23]
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"inner_steps": 10, "steps": 600}, {20: 1, 210: 20, 310: 30, 600: 59}),
        ({"inner_steps": 10, "steps": 310}, {20: 1, 210: 20, 310: 30}),
        ({"inner_steps": 5, "steps": 40, "lambda_warmup_steps": 20}, {30: 1, 40: 3}),
    ],
)
def test_steps_of_the_figure_s_iterations(given, expected):
    assert steps_of_iterations(make_config(dataset="moons", **given)) == expected


TOO_FAR = {
    "the training loss": (
        ["--learning_rate=1e30"],
        r"The training loss is not finite at step [12]: ",
    ),
    "the last evaluation": (
        ["--learning_rate=1e30", "--steps=1", "--weighting=fixed"],
        r"The test and validation loss is not finite at step 1. Lambda is untouched. Lower",
    ),
    "the Lambda-step": (
        ["--learning_rate=1e12", "--inner_steps=1"],
        r"The Lambda-step at step [12] met a non-finite value: .*Lambda is untouched. Raise",
    ),
}


@pytest.mark.parametrize("name", TOO_FAR)
def test_what_is_not_finite_ends_with_a_message_and_exit_code_1(
    monkeypatch, capsys, tmp_path, name
):
    options, message = TOO_FAR[name]
    unused = ("inner_steps", "lambda_lr") if "--weighting=fixed" in options else ()
    toy = [o for o in TOY if not any(name in o for name in unused)]
    command = [*toy, "--optimizer=nesterov", *options, f"--out={tmp_path}"]
    with runs.built_by(runs.Workshop().build), pytest.raises(SystemExit) as caught:
        call(train_synthetic, monkeypatch, *command)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert re.search(f"^NonFiniteError: {message}", error, re.M), error
    assert "Traceback" not in error
    assert not (tmp_path / "summary.json").exists()
    assert not list(tmp_path.glob("checkpoints/*"))
    runs.lines(tmp_path)  # still strict JSON


def test_a_full_disk_ends_with_a_message(toy, monkeypatch, capsys, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpointing.np, "savez", full)
    with pytest.raises(SystemExit):
        toy(f"--out={tmp_path}")
    error = capsys.readouterr().err
    assert re.search(r"could not write checkpoint .*ckpt-000000006.npz .*No space left", error)
    assert "Traceback" not in error


@pytest.fixture
def profile(monkeypatch, tmp_path):
    """Return run_profile's main on a family of two tiny runs, and their folders."""
    options = runs.MOONS | {"steps": 6, "weighting": "fixed"}
    configs = [make_config(out=str(tmp_path / str(seed)), seed=seed, **options) for seed in (1, 2)]
    monkeypatch.setattr(run_profile, "configs", lambda *arguments: configs)
    workshop = runs.Workshop()
    monkeypatch.setattr(running, "build", workshop.build)
    return lambda: call(run_profile, monkeypatch, "--family=toy", f"--out={tmp_path}")


def test_a_profile_skips_what_is_finished(profile, tmp_path, capsys, monkeypatch):
    execute = running.execute

    def stopped(config, *args, **kwargs):
        return execute(config, *args, **kwargs) if config.seed == 1 else None

    with monkeypatch.context() as patched:
        patched.setattr(train_synthetic, "execute", stopped)
        assert profile() == 143
    assert (tmp_path / "1/summary.json").exists() and not (tmp_path / "2").exists()
    (tmp_path / "1/model.keras").unlink()
    assert profile() == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}/1: finished before, skipped" in out
    assert not (tmp_path / "1/model.keras").exists(), "it was not run again"
    assert (tmp_path / "2/model.keras").exists()


def test_a_profile_refuses_a_finished_run_with_other_options(profile, tmp_path, capsys):
    assert profile() == 0
    path = tmp_path / "2" / "config.json"
    path.write_text(path.read_text().replace('"learning_rate": 0.001', '"learning_rate": 0.01'))
    with pytest.raises(SystemExit) as caught:
        profile()
    assert caught.value.code == 1
    assert "other options: learning_rate: 0.01 there, 0.001 now. Delete" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, complete",
    [
        ('{"status": "complete"}', True), ('{"status": "running"}', False), ("{}", False),
        ("[]", False), ('{"status": "comp', False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_a_run_is_complete_when_its_summary_says_so(tmp_path, content, complete):
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    assert is_complete(tmp_path) is complete


def test_an_error_that_nobody_expects_keeps_its_traceback():
    with pytest.raises(KeyError), friendly():
        raise KeyError("a bug")

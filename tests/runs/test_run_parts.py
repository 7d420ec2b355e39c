"""Parts of a run: sizes of its sets, its log, its progress line."""

import io
import json
import math
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from runs import DIGITS, lines

from experiments.assemble import build as building
from experiments.assemble.build import load_splits
from experiments.options.presets import DATASET_RECIPES, make_config
from experiments.pages.wording import clock
from experiments.runs import evaluation, example_blocks, results
from experiments.runs import execute as running
from experiments.runs import log as run_log
from experiments.runs.clock import Clock
from experiments.runs.errors import friendly
from experiments.runs.lock import held
from ssl_weighting.bilevel import Event


def test_sizes_come_from_the_options():
    options = DIGITS | {"num_test": 25, "num_unlabeled": 33, "validation_as_labels": True}
    splits = load_splits(make_config(**options))
    sizes = [len(getattr(splits, p)) for p in ("labeled", "unlabeled", "validation", "test")]
    assert sizes == [60, 33, 40, 25]
    whole = load_splits(make_config(**DIGITS | {"num_test": 0, "num_unlabeled": 0}))
    assert len(whole.test) == 360 and len(whole.unlabeled) == 1797 - 360 - 40
    again = load_splits(make_config(**options))
    assert again.split_hash == splits.split_hash
    rows = {row.tobytes() for row in whole.test.inputs}
    assert all(row.tobytes() in rows for row in splits.test.inputs)


def test_files_that_are_left_out_are_listed_in_the_run_s_folder(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8)).astype(np.uint8)
    for k, image in enumerate(noise):
        path = tmp_path / "set" / ("=cat", "dog", "unlabeled")[k % 3] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for part in ("=cat", "unlabeled"):
        (tmp_path / "set" / part / "=bad.png").write_bytes(b"")
    options = {"dataset": f"folder:{tmp_path / 'set'}", "num_labeled": 2, "val_size": 2}
    with pytest.raises(ValueError, match=r"=cat/=bad.png must be .* --on_error=skip"):
        load_splits(make_config(**options))
    config = make_config(**options, on_error="skip", out=str(tmp_path))
    trainer = SimpleNamespace(step=0)
    run = SimpleNamespace(config=config, splits=load_splits(config), inputs={}, trainer=trainer)
    results.write_config(run, "train_images")
    assert (tmp_path / "skipped.csv").read_text().splitlines() == [
        "name,problem",
        "'=cat/=bad.png,content of none of these formats",
        "unlabeled/=bad.png,content of none of these formats",
    ]
    said = "2 files could not be read and are left out: see skipped.csv"
    assert json.loads((tmp_path / "config.json").read_text())["notes"][0] == said


def test_one_run_at_a_time_trains_in_a_folder(tmp_path):
    config = make_config(**DIGITS | {"out": str(tmp_path / "one")})
    with held(tmp_path / "one"), held(tmp_path / "two"):
        with pytest.raises(ValueError, match=r"no other run is using. Received: .*one, which"):
            running.execute(config, "train_images")
        assert not list((tmp_path / "one").iterdir())
    with pytest.raises(KeyError), held(tmp_path / "refused"):
        raise KeyError
    assert not (tmp_path / "refused").exists()
    with pytest.raises(KeyError), held(tmp_path / "begun"):
        (tmp_path / "begun" / "config.json").touch()
        raise KeyError
    assert (tmp_path / "begun" / "config.json").exists()
    with pytest.raises(KeyError), held(tmp_path / "one"):
        raise KeyError
    with held(tmp_path / "one"):
        pass


def test_v_is_the_same_for_every_seed_and_d_is_not():
    one, two = (load_splits(make_config(**DIGITS | {"seed": s})) for s in (1, 2))
    np.testing.assert_array_equal(one.validation.inputs, two.validation.inputs)
    assert (one.labeled.inputs != two.labeled.inputs).any()


def test_recipes_build_the_net_they_name():
    config = make_config(dataset="digits", num_test=5)
    recipe = DATASET_RECIPES["digits"]
    model = building._model(config, load_splits(config), config.seed)
    assert model.name == f"wide_resnet_{recipe['depth']}_{recipe['width']}"
    assert model.input_shape == (None, 32, 32, 1)


def test_log_lines_are_strict_json_and_tell_what_is_not_finite_as_null(tmp_path):
    with run_log.RunLog(tmp_path, 10) as log:
        log.write("train", 3, loss=math.nan, other=math.inf, fine=1.5)
        log.timing(3)
    assert lines(tmp_path) == [
        {"kind": "train", "step": 3, "loss": None, "other": None, "fine": 1.5}
    ]


def test_progress_tells_time_left_losses_weights_and_their_share(tmp_path, capsys):
    with run_log.RunLog(tmp_path, 100) as log:
        log.progress(0, "seed_1")
        log.write("train", 50, loss=1.25, loss_labeled=1.0, loss_unlabeled=0.25, mask_rate=0.5)
        log.write("eval", 50, test_error=12.34)
        log.write("lambda", 50, lam_quantiles=[0, 0.1, 0.2, 1.0, 1.2, 1.9, 2.0], coverage=0.75)
        log.spent("theta", 9.0)  # the first call compiles
        log.spent("theta", 3.0)
        log.spent("lambda", 5.0)
        log.spent("lambda", 1.0)
        log.started_steps -= 61
        log.progress(50, "seed_1", every=0)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        "seed_1  50/100  ETA 1:01  loss 1.250  labeled 1.000  unlabeled 0.250  mask 50%  "
        "test error 12.3 %  coverage 75%  λ 5/50/95 % 0.10/1.00/1.90  Λ 25.0% of the time"
    )


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (61, "1:01"), (3600, "1:00:00"), (math.nan, "--:--")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    "method, advice",
    [
        ("exact", "Raise --damping."),
        ("neumann", "Raise --damping or lower --solve_scale."),
        ("unrolled", "Lower --solve_iterations or --learning_rate."),  # it reads no --damping
    ],
)
def test_a_refused_solve_is_told_with_what_may_help(monkeypatch, capsys, tmp_path, method, advice):
    report = {"solve": "diverged", "residual": 3.5, "least_eigenvalue": -0.25, "skipped": True}
    config = make_config(**DIGITS, inverse_hessian=method, solve_iterations=1)
    run = SimpleNamespace(trainer=SimpleNamespace(store=None), config=config)
    monkeypatch.setattr(example_blocks, "weight_statistics", lambda store: {})
    with run_log.RunLog(tmp_path, 10) as log:
        evaluation.log_lambda(run, log, Event("lambda", 7, report))
    line = capsys.readouterr().out.strip()
    assert line == (
        f"step 7: {method} found no solution (diverged, residual 3.5, least eigenvalue -0.25); "
        f"Lambda is left as it is. {advice}"
    )


def test_a_theta_step_that_a_lambda_step_takes_along_counts_as_long_as_those_before():
    spent = []
    clock = Clock(SimpleNamespace(spent=lambda *what: spent.append(what)), 4)
    clock.count(Event("train", 8, {}), 2.0, 8)  # half a second a step
    clock.count(Event("lambda", 8, {}), 3.0, 8)  # alone
    clock.count(Event("lambda", 8, {}), 3.0, 9)  # with a theta-step
    clock.count(Event("train", 9, {}), 0.0, 9)
    clock.count(Event("lambda", 9, {}), 0.25, 10)  # it cannot take longer than both
    assert spent == [
        ("theta", 2.0), ("lambda", 3.0), ("lambda", 2.5), ("theta", 0.5), ("lambda", 0.0),
    ]  # fmt: skip
    assert [(event, seconds < 1) for event, seconds in clock.timed(iter("ab"))] == [
        ("a", True), ("b", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("decay", "step", "averages", "raw"),
    [
        (0.0, 14, [True], [12.5]), (0.9, 14, [True, False], [25.0]), (0.9, 13, [True], []),
        (0.9, 7, [True, False], [25.0]),  # where a refit begins
    ],
)  # fmt: skip
def test_beside_an_average_the_parameters_are_evaluated_at_the_end_alone(
    decay, step, averages, raw
):
    asked, written = [], {}

    def error_and_loss(examples, use_ema=True):
        asked.append(use_ema)
        return (12.5 if use_ema else 25.0), 0.5

    sample = SimpleNamespace(lam=np.ones(3, np.float32))
    trainer = SimpleNamespace(step=step, store=SimpleNamespace(sample=sample))
    run = SimpleNamespace(
        config=SimpleNamespace(ema_decay=decay, steps=7), members=(),
        splits=SimpleNamespace(test=None),
        evaluator=SimpleNamespace(error_and_loss=error_and_loss), validate=lambda: (1.0, 0.1),
        trainer=trainer, learning=None,
    )  # fmt: skip
    run.now = run
    log = SimpleNamespace(
        write=lambda kind, step, **values: written.update(values), histogram=lambda *_: None
    )
    evaluation.evaluate(run, log, None)
    assert asked == averages
    assert written["test_error"] == 12.5
    assert [written[name] for name in written if name == "raw_test_error"] == raw


def test_a_program_prints_any_name(monkeypatch):
    """A terminal that is not UTF-8, and a name that is not."""
    for encoding, shown in (("ascii", b"\\u03bb caf\\udce9"), ("utf-8", "λ caf\\udce9".encode())):
        screen = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding=encoding))
        with friendly():
            print("λ", os.fsdecode(b"caf\xe9"), flush=True)
        assert screen.getvalue() == shown + b"\n"

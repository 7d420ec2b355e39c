"""Stopped anywhere and resumed, a run equals the one that was never stopped, bit for bit."""

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import runs
from places import ROOT
from runs import DIGITS, Killed, after, at_line, before, lines

from experiments.compare_runs import differences, newest_checkpoint
from experiments.runs import execute as running
from experiments.runs import results
from experiments.runs import state as run_state
from ssl_weighting import checkpointing
from ssl_weighting.checkpointing import Checkpoints, CorruptError, MismatchError
from ssl_weighting.data.examples import Examples
from ssl_weighting.lambda_step import LambdaStep
from ssl_weighting.theta.step import NonFiniteError


def changed_groups(state, start):
    """Return the groups of variables in which every array has moved since the start."""
    groups = {}
    for name, value in state.items():
        if "/" in name:
            moved = value.tobytes() != start[name].tobytes()
            groups.setdefault(name.split("/")[0], []).append(moved)
    return {group for group, moved in groups.items() if all(moved)}


def test_the_unbroken_run_moves_everything(workshop, unbroken):
    """Otherwise equality below would say little."""
    step, state = newest_checkpoint(unbroken)
    assert step == 24
    assert {"params", "non_trainable", "ema"} <= changed_groups(state, workshop.start)
    by_role = {name.split("/")[-1]: value for name, value in state.items() if "weights/" in name}
    lam, visits = by_role["lam"], by_role["visits"]
    assert (lam != 1).mean() > 0.8 and len(np.unique(lam)) > 10
    assert lam.min() < 0.9 and lam.max() > 1
    assert visits.max() > 1 and state["lambda_steps"] == 7
    for role in ("lam_m", "lam_v", "lam_t", "last_influence"):
        assert (by_role[role][visits > 0] != 0).all(), role
    np.testing.assert_array_equal(by_role["lam_t"], visits)


def test_metrics_tell_every_step_once_in_order(unbroken):
    found = lines(unbroken)
    steps = {
        kind: [x["step"] for x in found if x["kind"] == kind]
        for kind in ("train", "lambda", "eval")
    }
    # Every 4 (log), 8 (evaluation), 6 (checkpoint) and 3 (Lambda) steps.
    assert steps["train"] == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20, 21, 24]
    assert steps["lambda"] == [3, 6, 9, 12, 15, 18, 21]
    assert steps["eval"] == [8, 16, 24]
    assert not any(x.get("skipped") for x in found)


def amid(write, log):
    with open(log.path, "a") as file:
        file.write('{"kind": "train", "ste')
    with open(log.folder / "timing.jsonl", "a") as file:
        file.write('{"step": 9, "elapsed_sec')
    raise Killed


def at_call(owner, name, count=1, also=lambda *a, **k: None):
    """Kill at the `count`-th call of a function, after doing `also`."""

    def patch(monkeypatch):
        original, calls = getattr(owner, name), []

        def counted(*args, **kwargs):
            calls.append(1)
            if len(calls) == count:
                also(*args, **kwargs)
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    return patch


# In the order in which one run dies of them, and the step at which it is resumed each time.
DEATHS = {
    "before the first checkpoint": (at_line("train", 4, before), None),
    "after moving Lambda, before its line": (at_line("lambda", 6, before), None),
    "amid a line": (at_line("train", 9, amid), 6),
    "while a checkpoint is written": (
        at_call(checkpointing.np, "savez", also=lambda file, **_: file.write(b"half")),
        6,
    ),
    "after a theta-step, before its line": (at_line("train", 15, before), 6),
    "after its line": (at_line("train", 15, after), 12),
    "after an evaluation": (at_line("eval", 16, after), 12),
    "between measuring and moving Lambda": (at_call(LambdaStep, "apply", 3), 12),
    "after a Lambda-step": (at_line("lambda", 21, after), 18),
    "after the last checkpoint": (at_call(results, "write_results"), 18),
    "while the results are written": (at_call(results, "_save_averaged_model"), 24),
}


def test_killed_again_and_again_and_resumed_equals_unbroken(
    workshop, unbroken, tmp_path, monkeypatch, capsys
):
    for name, (death, resumed) in DEATHS.items():
        with monkeypatch.context() as patched:
            death(patched)
            with pytest.raises(Killed):
                runs.run(tmp_path, workshop, **DIGITS)
        assert not (tmp_path / "summary.json").exists(), name
        said = [x for x in capsys.readouterr().out.splitlines() if x.startswith("resuming")]
        assert said == ([] if resumed is None else [f"resuming at step {resumed}"]), name
    assert runs.run(tmp_path, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, tmp_path) == []
    history = [(run / "lambda_history.npz").read_bytes() for run in (unbroken, tmp_path)]
    assert history[0] == history[1]
    lines(tmp_path, "timing.jsonl")  # no line of it is cut


def test_killed_twice_and_resumed_by_fresh_objects(unbroken, tmp_path, monkeypatch, capsys):
    """Models, optimizers and sources are not those of the unbroken run; layer names count on."""
    fresh = runs.Workshop(own_sources=True)
    for step in (8, 24):
        with monkeypatch.context() as patched:
            at_line("eval", step, after)(patched)
            with pytest.raises(Killed):
                runs.run(tmp_path, fresh, **DIGITS)
    runs.run(tmp_path, fresh, **DIGITS)
    assert differences(unbroken, tmp_path) == []
    resumed = [x for x in capsys.readouterr().out.splitlines() if x.startswith("resuming")]
    assert resumed == [f"resuming at step {s}" for s in (6, 18)]


def test_a_finished_run_stays_as_it_is(workshop, unbroken, copy):
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, copy) == []
    old, new = (json.loads((f / "summary.json").read_text()) for f in (unbroken, copy))
    assert old | {"seconds": 0} == new | {"seconds": 0}


def test_corrupt_newest_checkpoint_falls_back_and_says_so(workshop, unbroken, copy, capsys):
    newest = Checkpoints(copy / "checkpoints", {}).paths()[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    out = capsys.readouterr().out
    assert f"{newest} is corrupt" in out and "Falling back" in out and "resuming at step 18" in out
    assert differences(unbroken, copy) == []


def test_all_checkpoints_corrupt_is_an_error_that_leaves_the_files(workshop, copy):
    for path in Checkpoints(copy / "checkpoints", {}).paths():
        path.write_bytes(b"")
    metrics = (copy / "metrics.jsonl").read_bytes()
    with pytest.raises(CorruptError, match=r"No checkpoint in .* is intact"):
        runs.run(copy, workshop, **DIGITS)
    assert (copy / "metrics.jsonl").read_bytes() == metrics
    assert (copy / "summary.json").exists()


@pytest.mark.parametrize(
    "options, named",
    [
        ({"threshold": 0.5}, ["threshold: the checkpoint has 0.0, this run 0.5"]),
        ({"steps": 25}, ["steps: the checkpoint has 24, this run 25"]),
        ({"seed": 2}, ["seed: the checkpoint has 1, this run 2", "split_hash: the checkpoint"]),
        ({"val_seed": 5}, ["val_seed: the checkpoint has 0, this run 5", "split_hash: "]),
        ({"num_unlabeled": 41}, ["num_unlabeled: the checkpoint has 40", "split_hash: "]),
        ({"lambda_max": 3.0}, ["lambda_max: the checkpoint has 'inf', this run 3.0"]),
        ({"weighting": "fixed", "wu": 3.0}, ["wu: ", "weighting: the checkpoint has 'per_exa"]),
    ],
)
def test_another_option_or_split_is_refused_by_name(workshop, unbroken, copy, options, named):
    with pytest.raises(MismatchError) as caught:
        runs.run(copy, workshop, **DIGITS | options)
    message = str(caught.value)
    assert all(text in message for text in named)
    assert message.count("the checkpoint has") == len(named)
    assert (copy / "summary.json").exists() and differences(unbroken, copy) == []


def test_other_data_under_the_same_name_is_refused(workshop, copy, monkeypatch):
    def one_pixel_changed(config, cache_dir):
        splits = load(config, cache_dir)
        inputs = splits.test.inputs.copy()
        inputs[0, 0, 0, 0] ^= 1
        return dataclasses.replace(splits, test=Examples(inputs, splits.test.labels))

    load = running.load_splits
    monkeypatch.setattr(running, "load_splits", one_pixel_changed)
    with pytest.raises(MismatchError, match=r"refusing to resume. split_hash: the checkpoint has"):
        runs.run(copy, workshop, **DIGITS)


def test_another_model_is_refused_by_its_size(workshop, copy, monkeypatch):
    true = run_state.fingerprint
    monkeypatch.setattr(run_state, "fingerprint", lambda *a: true(*a) | {"model_parameters": 7})
    with pytest.raises(
        MismatchError, match=r"model_parameters: the checkpoint has \d+, this run 7"
    ):
        runs.run(copy, workshop, **DIGITS)


def test_where_the_data_lay_does_not_matter(workshop, copy, monkeypatch):
    """The same bytes from another folder are the same split."""
    load = running.load_splits
    monkeypatch.setattr(
        running, "load_splits", lambda c, d: dataclasses.replace(load(c, d), source="elsewhere")
    )
    assert runs.run(copy, workshop, **DIGITS)["source"] == "elsewhere"


def test_resume_false_refuses_a_folder_with_checkpoints(workshop, copy, tmp_path):
    with pytest.raises(ValueError, match=r"already holds checkpoints and --resume=false. Give"):
        runs.run(copy, workshop, **DIGITS, resume=False)


def test_a_shortened_log_is_refused(workshop, copy):
    path = copy / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"metrics.jsonl has \d+ bytes, .* the log has been cut"):
        runs.run(copy, workshop, **DIGITS)


def test_a_log_that_is_gone_is_refused(workshop, copy):
    (copy / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match=r"metrics.jsonl has 0 bytes, .* Restore it, or give a"):
        runs.run(copy, workshop, **DIGITS)
    assert (copy / "summary.json").exists()


def test_a_log_edited_at_equal_length_is_refused(workshop, copy):
    path = copy / "metrics.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"test_error": ', b'"test_error":1', 1))
    edited, config = path.read_bytes(), (copy / "config.json").stat().st_mtime_ns
    assert len(edited) == len(content)
    with pytest.raises(
        ValueError, match=r"was changed: its first \d+ bytes .* step 24. Restore it"
    ):
        runs.run(copy, workshop, **DIGITS)
    assert path.read_bytes() == edited and (copy / "summary.json").exists()
    assert (copy / "config.json").stat().st_mtime_ns == config


def test_a_checkpoint_older_than_the_digest_goes_on(workshop, unbroken, copy):
    _, state = newest_checkpoint(copy)
    del state["metrics_sha256"]
    runs.rewrite(copy, state)
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, copy) == []


@pytest.mark.parametrize("change", ["missing", "reshaped", "retyped"])
def test_a_state_that_does_not_fit_the_run_is_refused(workshop, unbroken, change):
    _, state = newest_checkpoint(unbroken)
    name = next(k for k in state if k.startswith("params/0003"))
    if change == "missing":
        del state[name]
    else:
        state[name] = state[name][None] if change == "reshaped" else state[name].astype("f8")
    with pytest.raises(ValueError, match=rf"Checkpoint entry {name} must be .*Received: "):
        run_state.restore(workshop.run, 24, state)


@pytest.mark.parametrize("group", ["params/", "non_trainable/", "ema/"])
def test_no_checkpoint_holds_what_is_not_finite(workshop, group):
    """Or resuming would never get past it."""
    run = dataclasses.replace(workshop.run)
    name = next(k for k in run_state.variables(run) if k.startswith(group))
    variable = run_state.variables(run)[name]
    good = variable.numpy()
    variable.assign(np.full_like(good, np.inf))
    with pytest.raises(NonFiniteError, match=rf"Not finite after step \d+: {name}. No checkpoint"):
        run_state.capture(run)
    variable.assign(good)
    run_state.capture(run)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_sigkill_at_a_random_step_and_resume_from_the_command_line(tmp_path, seed):
    """The whole path, compiled, in processes of their own; nothing runs after SIGKILL."""
    command = [
        sys.executable, "-m", "experiments.train_images", "--dataset=digits",
        "--algorithm=fixmatch", "--weighting=per_example", "--steps=60", "--checkpoint_every=10",
        "--seed=1",
    ]  # fmt: skip
    a, b = tmp_path / "a", tmp_path / "b"
    subprocess.run([*command, f"--out={a}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wanted = random.Random(seed).randrange(11, 58)
    process = subprocess.Popen([*command, f"--out={b}"], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while last_step(b) < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it had ended by itself"
    assert not (b / "summary.json").exists() and last_step(b) >= wanted
    assert newest_checkpoint(b)[0] >= 10
    done = subprocess.run(
        [*command, f"--out={b}"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "resuming at step " in done.stdout
    compare = [sys.executable, "-m", "experiments.compare_runs", str(a), str(b)]
    assert subprocess.run(compare, cwd=ROOT).returncode == 0
    _, state = newest_checkpoint(b)
    runs.rewrite(b, state | {"lambda_steps": state["lambda_steps"] + 1})
    assert subprocess.run(compare, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 1


def last_step(folder):
    path = folder / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0

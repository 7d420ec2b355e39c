"""--workers=auto: processes on this machine against the devices of one."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
from runs import DIGITS, MOONS
from text_runs import tiny_options
from two_workers import alone, ended, environments, started, together

from experiments.compare_runs import differences, newest_checkpoint
from experiments.runs.errors import LOST
from ssl_weighting.checkpointing import Checkpoints

OPTIONS = MOONS | {"labeled_batch": 4, "unlabeled_ratio": 3, "threshold": 0.0}
OPTIONS |= {"algorithm": "fixmatch", "score_every_step": True}


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """A run that nobody stopped, on two devices of one process."""
    folder = tmp_path_factory.mktemp("devices")
    done = alone("train_synthetic", OPTIONS | {"devices": 2, "out": folder})
    assert done.code == 0, done.err
    return folder


def test_two_workers_do_to_the_bit_what_two_devices_do(two_devices, tmp_path):
    chief, other = together("train_synthetic", OPTIONS | {"out": tmp_path / "run"})
    assert (chief.code, other.code) == (0, 0), chief.err + other.err
    assert differences(two_devices, tmp_path / "run") == []
    assert "finished" in chief.out and other.out == ""


def without_its_end(folder, copy):
    """Copy a run and take its last checkpoint away."""
    shutil.copytree(folder, copy)
    Checkpoints(copy / "checkpoints", {}).paths()[-1].unlink()
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_worker_that_dies_ends_the_other_and_both_go_on(two_devices, tmp_path, dies):
    options = OPTIONS | {"out": tmp_path / "run"}
    each = [{}, {}]
    each[dies] = {"DIE_AT": "9"}
    found = together("train_synthetic", options, each=each)
    assert found[dies].code == -signal.SIGKILL
    left = found[1 - dies]
    assert left.code == LOST
    assert f"worker {1 - dies}: WorkerLost: A worker was lost at about step " in left.err
    chief, other = together("train_synthetic", options)
    assert (chief.code, other.code) == (0, 0), chief.err + other.err
    assert "resuming at step 6" in chief.out
    assert differences(two_devices, tmp_path / "run") == []


@pytest.mark.slow
def test_a_run_goes_on_with_workers_and_again_with_devices(two_devices, tmp_path):
    out = without_its_end(two_devices, tmp_path / "workers")
    chief, other = together("train_synthetic", OPTIONS | {"out": out})
    assert (chief.code, other.code) == (0, 0), chief.err + other.err
    assert differences(two_devices, out) == []
    out = without_its_end(out, tmp_path / "devices")
    done = alone("train_synthetic", OPTIONS | {"devices": 2, "out": out})
    assert done.code == 0, done.err
    assert differences(two_devices, out) == []


@pytest.mark.slow
def test_another_number_of_devices_has_to_be_asked_for(two_devices, tmp_path):
    out = without_its_end(two_devices, tmp_path / "one")
    done = alone("train_synthetic", OPTIONS | {"out": out})
    assert done.code == 1 and "devices: the checkpoint has 2, this run 1" in done.err
    done = alone("train_synthetic", OPTIONS | {"out": out, "resume_with_devices": True})
    assert done.code == 0, done.err
    (step, one), (_, two) = newest_checkpoint(out), newest_checkpoint(two_devices)
    assert step == 12 and "resuming at step 6" in done.out
    name = next(name for name in one if name.startswith("params/"))
    assert abs(one[name] - two[name]).max() < 1e-5


@pytest.mark.slow
def test_a_signal_to_one_worker_saves_and_stops_all(tmp_path):
    options = OPTIONS | {"out": tmp_path, "workers": "auto", "steps": 100_000}
    options |= {"eval_every": 100_000, "checkpoint_every": 100_000}
    chief, other = (started("train_synthetic", options, one) for one in environments(2))
    until = time.monotonic() + 300
    while not (tmp_path / "metrics.jsonl").exists() or not (tmp_path / "metrics.jsonl").read_text():
        assert time.monotonic() < until and chief.poll() is None
        time.sleep(0.2)
    other.send_signal(signal.SIGTERM)
    chief, other = ended([chief, other])
    assert (chief.code, other.code) == (143, 143), chief.err + other.err
    assert "received SIGTERM" in other.err and "received" not in chief.err
    assert 0 < newest_checkpoint(tmp_path)[0] < 100_000


@pytest.mark.slow
def test_workers_with_other_data_are_refused_by_all(tmp_path):
    processes = [
        started("train_synthetic", OPTIONS | {"workers": "auto", "out": tmp_path} | more, environ)
        for more, environ in zip([{}, {"num_unlabeled": 44}], environments(2), strict=True)
    ]
    chief, other = ended(processes)
    assert (chief.code, other.code) == (1, 1)
    for one, number, value in ((chief, 0, 40), (other, 1, 44)):
        assert f"worker {number}: ValueError: All workers must have the same --num_un" in one.err
        assert "Received: another one on worker 1 than on worker 0" in one.err
        assert f"{value} on this one, worker {number}" in one.err
    assert not list(tmp_path.iterdir())


def check_workers_and_devices(program, options, folder):
    """Run on two devices of one process and of two, and see that the bits are the same."""
    done = alone(program, options | {"devices": 2, "out": folder / "devices"})
    assert done.code == 0, done.err
    chief, other = together(program, options | {"out": folder / "workers"})
    assert (chief.code, other.code) == (0, 0), chief.err + other.err
    assert differences(folder / "devices", folder / "workers") == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [
    {"algorithm": "fixmatch", "strong_augment": "ctaugment"}, {"algorithm": "mean_teacher"},
    {"algorithm": "mixmatch", "validation": "cross_fit", "val_size": 0, "folds": 2,
     "threshold": 0.95},
], ids=lambda options: options["algorithm"])  # fmt: skip
def test_images_too(tmp_path, options):
    """CTAugment's rates learn; a teacher has a pass of its own; mixed inputs are made whole."""
    check_workers_and_devices("train_images", DIGITS | {"steps": 12} | options, tmp_path)


@pytest.mark.slow
def test_texts_on_two_devices_of_one_process_or_two(tmp_path):
    """Dropout, decay, warm-up and clipped gradients: beside one device without dropout alone."""
    options = tiny_options(tmp_path) | {"labeled_batch": 4}
    check_workers_and_devices("train_text", options, tmp_path)
    config = tmp_path / "bert" / "config.json"
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | still))
    for devices in (1, 2):
        out = tmp_path / f"still-{devices}"
        done = alone("train_text", options | {"devices": devices, "out": out})
        assert done.code == 0, done.err
    (_, one), (_, two) = (newest_checkpoint(tmp_path / f"still-{k}") for k in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if value.dtype.kind == "f" and value.size:
            np.testing.assert_allclose(value, two[name], rtol=2e-3, atol=2e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["each", "chief"])
def test_a_worker_that_rounds_otherwise_is_noticed_or_does_not_matter(two_devices, tmp_path, how):
    options = OPTIONS | {"out": tmp_path, "lambda_workers": how}
    chief, other = together("train_synthetic", options, each=[{}, {"ROUNDS_OTHERWISE": "1"}])
    if how == "chief":
        assert (chief.code, other.code) == (0, 0), chief.err + other.err
        assert differences(two_devices, tmp_path) == []
    else:
        assert (chief.code, other.code) == (1, 1), chief.err + other.err
        assert "`lambda_workers` must be chief, or split" in chief.err
        options["lambda_workers"] = "chief"  # as the message says
        chief, other = together("train_synthetic", options, each=[{}, {"ROUNDS_OTHERWISE": "1"}])
        assert (chief.code, other.code) == (0, 0), chief.err + other.err
        assert differences(two_devices, tmp_path) == []


@pytest.mark.slow
def test_a_shared_lambda_step_ends_near_the_whole_one(two_devices, tmp_path):
    options = OPTIONS | {"influence_params": "all", "inverse_hessian": "conjugate_gradient"}
    options |= {"infl_bn": "moving", "score_every_step": False, "val_size": 20, "steps": 6}
    found = {}
    for how in ("each", "split"):
        out = tmp_path / how
        chief, other = together("train_synthetic", options | {"out": out, "lambda_workers": how})
        assert (chief.code, other.code) == (0, 0), chief.err + other.err
        found[how] = newest_checkpoint(out)[1]
    moved = [name for name in found["each"] if name.startswith("weights/0000")]
    assert len(moved) == 1
    one, two = (found[how][moved[0]] for how in ("each", "split"))
    assert (one != 1).any() and abs(one - two).max() < 1e-4

"""--devices: two logical devices of one CPU, in a process of their own, against one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import threadpoolctl
from places import ROOT
from ssl_weighting_upstream.fixmatch_interleave import interleave_order
from tiny import make_trainer

from experiments.assemble import hardware
from experiments.options.config import Config
from experiments.options.presets import make_config
from ssl_weighting.theta.devices import (
    Devices,
    average,
    check_devices,
    clipped_together,
    divided,
    fail_together,
    is_first,
    loss_per_device,
)


def two_devices(cases, folder):
    """Return what `tests/helpers/two_devices.py` finds."""
    script = ROOT / "tests" / "helpers" / "two_devices.py"
    command = [sys.executable, str(script), cases, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return two_devices("network,clipping,split,programs", tmp_path_factory.mktemp("two"))


def test_each_device_normalises_its_slice_and_gradients_are_those_of_the_slices(found):
    net = found["network"]
    assert net["outputs"] < 1e-5 < net["gradient_of_inputs"]
    assert net["moving"] < 1e-6 and net["copies"] == 2


def test_the_gradients_of_all_devices_are_clipped_together(found):
    """By hand: the sums are (2, 0.3) and 0.75, of norms sqrt(4.09), 0.75, together sqrt(4.6525)."""
    clipped = found["clipping"]
    whole, first = np.sqrt(4.6525), np.sqrt(4.09)
    expected = {
        "global_clipnorm": [[2 / whole, 0.3 / whole], [0.75 / whole]],
        "clipnorm": [[1 / first, 0.15 / first], [0.5]],
        "clipvalue": [[0.25, 0.25], [0.25]],
        "": [[2, 0.3], [0.75]],
    }
    for name, parts in expected.items():
        for found_part, part in zip(clipped[name], parts, strict=True):
            np.testing.assert_allclose(found_part, part, rtol=1e-6, err_msg=name)


def test_a_shared_lambda_step_is_the_whole_one(found):
    """Of the last layer in float64 to its rounding, of the whole net in float32."""
    assert len(found["split"]) == 8
    for name, apart in found["split"].items():
        closed = "last_layer" in name
        assert apart["influence"] <= (1e-7 if closed else 1e-5), name
        assert apart["report"] <= (1e-10 if closed else 1e-5), name


def test_two_devices_do_what_one_does(found):
    runs = found["programs"]
    assert runs["step"] == 12
    groups = {"params", "ema", "theta_optimizer", "weights", "scores"}
    assert groups <= runs["one_and_two"].keys()
    assert max(runs["one_and_two"].values()) < 1e-5, runs["one_and_two"]


def test_a_resumed_run_on_two_devices_equals_the_unbroken_one(found):
    assert found["programs"]["resumed"] == []
    assert "devices: the checkpoint has 2, this run 1" in found["programs"]["refused"]


@pytest.mark.slow
def test_convolutions_mixed_rows_and_half_precision_agree_too(tmp_path):
    images = two_devices("images", tmp_path)["images"]
    assert max(images["fixmatch"].values()) < 1e-5, images
    assert max(images["mixmatch"].values()) < 1e-5, images
    assert images["half"]["params"] < 0.02 and images["scale"] == 2.0**15


def test_one_device_is_no_strategy_at_all():
    devices, x = Devices(), tf.constant([1.0, 2.0])
    assert devices.count == 1 and devices.strategy is None and Devices(["CPU:0"]).count == 1
    assert devices.run(lambda a: a, x) is x and loss_per_device(x) is x and is_first()
    assert fail_together([x])[0] is x
    outputs = {"logits": x}
    assert divided(lambda part, **switches: outputs, 7)(x, makes_rows=False) is outputs
    assert average([]) is None
    assert clipped_together([x], None) == [x]
    assert (devices.worker, devices.workers, devices.local, devices.is_chief) == (0, 1, 1, True)
    assert devices.gathered(np.arange(3)).tolist() == [[0, 1, 2]]
    assert devices.from_chief([outputs])[0] is outputs and devices.barrier() is None


def test_interleaving_deals_out_every_kind_of_row():
    assert interleave_order(6, 3).tolist() == [0, 3, 1, 4, 2, 5]
    kinds = np.repeat([0, 1, 2], [64, 448, 448])[interleave_order(960, 15)]
    first = [int((kinds[:480] == k).sum()) for k in range(3)]
    assert first == [36, 236, 208]  # facts of upstream: roughly balanced
    with pytest.raises(ValueError, match=r"multiple of `groups`. Received: size=7, groups=2"):
        interleave_order(7, 2)


@pytest.mark.parametrize(("options", "message"), [
    ({"devices": -1}, "--devices must be 0 or more"),
    ({"devices": 2, "jit": True}, "needs --jit=false"),
    ({"devices": 0, "inverse_hessian": "unrolled"}, "another --inverse_hessian than unrolled"),
    ({"workers": "auto", "jit": True}, "--workers=auto needs --jit=false"),
    ({"workers": "auto", "devices": 2}, "--devices must be left out beside --workers=auto"),
    ({"workers": "auto", "lambda_workers": "split"}, "--infl_bn=moving .* --infl_bn=batch"),
    ({"devices": 3}, "--labeled_batch must be a multiple of --devices. .* --labeled_batch=64"),
])  # fmt: skip
def test_what_cannot_be_divided_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_the_recipe_of_a_data_set_asks_for_no_xla_where_devices_meet():
    assert make_config(dataset="digits").jit and not make_config(dataset="digits", devices=2).jit
    with pytest.raises(ValueError, match="needs --jit=false"):
        make_config(dataset="digits", devices=2, jit=True)


def test_more_devices_than_there_are_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"at most 1, the CPUs at hand. Received: --devices=2"):
        hardware.open_devices(Config(devices=2))
    tf.constant(0)  # TensorFlow runs
    with pytest.raises(ValueError, match="--devices=2 without GPUs must be the first use"):
        hardware.divide_the_cpu(Config(devices=2))
    assert hardware.open_devices(Config(devices=0)).count == 1
    gpus = {"GPU": ["GPU:0", "GPU:1", "GPU:2"], "CPU": ["CPU:0"]}
    monkeypatch.setattr(tf.config, "list_physical_devices", gpus.get)
    with pytest.raises(ValueError, match=r"at most 3, the GPUs at hand. Received: --devices=4"):
        hardware.open_devices(Config(devices=4))
    with pytest.raises(ValueError, match="--labeled_batch=64 and 3 GPUs"):
        hardware.open_devices(Config(devices=0))
    with pytest.raises(ValueError, match="Received: --interleave=true and 2 devices"):
        hardware.open_devices(Config(devices=2, interleave=True))


def test_a_run_takes_the_threads_it_is_told_to(monkeypatch):
    tf.constant(0)  # TensorFlow runs
    now = tf.config.threading.get_intra_op_parallelism_threads()
    hardware.limit_threads(Config(threads=now))
    with pytest.raises(ValueError, match=rf"--threads={now + 1} must be the first .* with {now} "):
        hardware.limit_threads(Config(threads=now + 1))
    told = []
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", told.append)
    with threadpoolctl.threadpool_limits(2):  # undone at the end
        hardware.limit_threads(Config(threads=1))
        pools = threadpoolctl.threadpool_info()
        assert {pool["num_threads"] for pool in pools} == {1}
        assert "blas" in {pool["user_api"] for pool in pools}
    assert told == ([] if now == 1 else [1])


def test_the_trainer_refuses_what_several_devices_cannot_do():
    class Two:
        count = 2

    for jit, method in ((True, "exact"), (False, "unrolled")):
        with pytest.raises(ValueError, match=f"jit={jit}, inverse_hessian='{method}'"):
            check_devices(Two(), jit, method)
    assert make_trainer().devices.count == 1

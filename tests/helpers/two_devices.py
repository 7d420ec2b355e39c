"""What `test_devices` asks of two logical devices of one CPU, in a process of its own.

    python tests/helpers/two_devices.py CASE FOLDER

prints one JSON object of figures as its last line. The devices have to be made before TensorFlow
does anything, so that no test can do it.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import runs
import tensorflow as tf
from tiny import TinySource

from experiments.assemble import build as building
from experiments.assemble import hardware, views
from experiments.compare_runs import differences, newest_checkpoint
from experiments.options.presets import make_config
from experiments.runs import state as run_state
from experiments.runs.execute import execute
from ssl_weighting import lambda_across
from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.checkpointing import Checkpoints
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStep
from ssl_weighting.lambda_step_settings import LambdaStepSettings
from ssl_weighting.madam import MAdam
from ssl_weighting.models import mlp
from ssl_weighting.theta.devices import (
    Devices,
    average,
    clipped_together,
    divided,
    is_first,
    loss_per_device,
)
from ssl_weighting.weight_store import WeightStore

SHARED = {"labeled_batch": 4, "unlabeled_ratio": 3}


ORDER = np.arange(12).reshape(4, 3).T.reshape(-1)  # of 12 rows, interleaved by fours


def network(folder):
    """A net with BatchNorm: outputs, gradients and moving statistics, divided and by hand."""
    del folder
    devices = Devices(["CPU:0", "CPU:1"])
    with devices.scope():
        model = _net()
    twin, (x, cotangent) = _net(), _numbers()

    def on_each():
        forward = divided(lambda part: {"logits": model(part, training=True)}, 4)
        z, of_inputs, loss, gradients = _passes(model, forward, x, cotangent)
        summed = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        average(model.non_trainable_variables)
        return z, of_inputs, loss, summed, tf.constant(is_first())

    def by_hand(inputs):
        halves = tf.split(tf.gather(inputs, ORDER), 2)
        joined = tf.concat([twin(part, training=True) for part in halves], 0)
        return {"logits": tf.gather(joined, np.argsort(ORDER))}

    found = tf.function(lambda: devices.run(on_each), autograph=False)()
    expected = (*_passes(twin, by_hand, x, cotangent), tf.constant(True))
    moving = model.layers[1].moving_mean.value
    copies = [v.numpy() for v in devices.strategy.experimental_local_results(moving)]
    return {
        "outputs": _apart(found, expected),
        "moving": max(_apart(copy, _moving_mean(twin, x)) for copy in copies),
        "copies": len(copies),
        "gradient_of_inputs": float(np.abs(expected[1]).max()),
    }


def _numbers():
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=[12, n]), tf.float32) for n in (3, 2)]


def _passes(net, forward, x, cotangent):
    """Logits, a gradient in the inputs (as VAT's), the loss and its gradients in theta."""
    params = [v.value for v in net.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        whole = tf.reduce_sum(forward(x)["logits"] ** 2 * cotangent)
    of_inputs = tf.convert_to_tensor(tape.gradient(whole, x))
    with tf.GradientTape() as tape:
        z = forward(x)["logits"]
        loss = tf.reduce_sum(z**2 * cotangent) + tf.reduce_sum(params[0] ** 2)
        mine = loss_per_device(loss)
    return z, of_inputs, loss, tape.gradient(mine, params)


def _moving_mean(net, x):
    """The mean over the slices of m <- 0.5 m + 0.5 s, taken twice from 0."""
    slices = tf.split(tf.gather(x, ORDER), 2)
    hidden = [tf.matmul(part, net.layers[0].kernel.value) for part in slices]
    return np.mean([0.75 * tf.reduce_mean(h, 0).numpy() for h in hidden], axis=0)


def clipping(folder):
    """What two devices make of gradients that Keras would clip one by one: [bound, device]."""
    del folder
    devices = Devices(["CPU:0", "CPU:1"])
    found = {}
    for name, bound in (("global_clipnorm", 1.0), ("clipnorm", 0.5), ("clipvalue", 0.25), ("", 0)):
        optimizer = keras.optimizers.SGD(**({name: bound} if name else {}))

        def on_each(optimizer=optimizer):
            place = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = [tf.gather(tf.constant(part), place) for part in GRADIENTS]
            clipped = clipped_together([*mine[:1], None, *mine[1:]], optimizer)
            assert clipped[1] is None
            return tf.distribute.get_replica_context().all_reduce("SUM", clipped[::2])

        summed = tf.function(lambda call=on_each: devices.run(call), autograph=False)()
        found[name] = [part.numpy().tolist() for part in summed]
    return found


def split(folder):
    """Lambda-steps shared by two devices against those of one: how far apart, of the largest."""
    del folder
    devices, found = Devices(["CPU:0", "CPU:1"]), {}
    with devices.scope():
        model = mlp(2, 2, width=8, seed=3)
    labeled, unlabeled = TinySource().at(0)
    unlabeled = unlabeled._replace(ids=unlabeled.ids % 7)  # some stand in both parts, and twice
    validation = TinySource().validation_at(0)
    for method in lambda_across.METHODS:
        for params in ("last_layer", "all"):
            solve = SolveOptions(damping=0.5, iterations=12)
            settings = LambdaStepSettings(
                influence_params=params, inverse_hessian=method, solve=solve, infl_bn="moving"
            )
            store = WeightStore(60, "per_example", MAdam(0.1))
            parts = model, make_algorithm("fixmatch", threshold=0.6), store, settings, 0.01
            whole = LambdaStep(*parts).measure(labeled, unlabeled, validation, 3)
            mine = lambda_across.Split(*parts, devices=devices)
            shared = mine.measure(labeled, unlabeled, validation, 3)
            one, two = (
                dict(zip(m.ids.numpy().tolist(), m.lam_gradient.numpy().tolist(), strict=True))
                for m in (whole, shared)
            )
            assert one.keys() == two.keys() and len(one) == 7
            most = max(map(abs, one.values()))
            reports = {
                key: abs(value - shared.report[key]) / abs(value)
                for key, value in whole.report.items()
                if isinstance(value, float) and key not in ("residual", "least_eigenvalue")
                and value and np.isfinite(value)
            }  # fmt: skip
            assert whole.report["solve"] == shared.report["solve"]
            apart = max(abs(one[key] - two[key]) for key in one) / most
            found[f"{method} {params}"] = {"influence": apart, "report": max(reports.values())}
    return found


GRADIENTS = (np.array([[3.0, 0.1], [-1.0, 0.2]], "f"), np.array([[0.5], [0.25]], "f"))


def programs(folder):
    """Runs on a toy set: one device, two, and two with their second half taken again."""
    options = runs.MOONS | SHARED | {"score_every_step": True}
    for name, devices in (("one", 1), ("two", 2)):
        execute(make_config(out=f"{folder}/{name}", devices=devices, **options), "train_synthetic")
    shutil.copytree(f"{folder}/two", f"{folder}/again")
    newest = Checkpoints(Path(folder, "again/checkpoints"), {}).paths()[-1]
    newest.unlink()
    execute(make_config(out=f"{folder}/again", devices=2, **options), "train_synthetic")
    try:
        execute(make_config(out=f"{folder}/two", devices=1, **options), "train_synthetic")
        refused = ""
    except ValueError as error:
        refused = str(error)
    (step, one), (_, two) = (newest_checkpoint(Path(folder, name)) for name in ("one", "two"))
    return {
        "step": step,
        "one_and_two": _states_apart(one, two),
        "resumed": differences(Path(folder, "two"), Path(folder, "again")),
        "refused": refused,
    }


def images(folder):
    """Two devices against one on a Wide-ResNet whose BatchNorm is frozen, half precision too."""
    del folder
    plain = building._model
    splits, found = None, {}

    def frozen(config, splits, seed):
        model = plain(config, splits, seed)
        for layer in model.layers:
            layer.trainable = "norm" not in layer.name
        return model

    building._model, views.Augmentation = frozen, runs._WeakViews
    for name, extra in (
        ("fixmatch", {}),
        ("mixmatch", {"algorithm": "mixmatch", "threshold": 0.95}),
        ("half", {"precision": "mixed_float16"}),
    ):
        states = []
        for devices in (1, 2):
            config = make_config(out="none", devices=devices, **runs.DIGITS | SHARED | extra)
            splits = splits or building.load_splits(config)
            run = building.build(config, splits)
            run.trainer.lambda_step()
            run.trainer.train(3)
            if extra.get("precision"):
                found["scale"] = float(run.trainer.optimizer.dynamic_scale.numpy())
            states.append(run_state.capture(run))
        found[name] = _states_apart(*states)
    return found


def _net():
    keras.utils.set_random_seed(3)
    return keras.Sequential([
        keras.Input([3]),
        keras.layers.Dense(4, use_bias=False),
        keras.layers.BatchNormalization(momentum=0.5),
        keras.layers.Dense(2, activation="tanh"),
    ])  # fmt: skip


def _apart(a, b):
    pairs = zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True)
    return max(float(np.abs(np.float64(x) - np.float64(y)).max()) for x, y in pairs)


def _states_apart(one, two):
    """Group of variables -> the largest difference; integers have to be equal."""
    assert one.keys() == two.keys()
    groups = {}
    for name, value in one.items():
        if value.dtype.kind != "f":
            assert name.startswith("metrics_") or np.array_equal(value, two[name]), name
        elif value.size:
            apart = np.nanmax(np.abs(value - two[name]), initial=0.0)
            assert np.array_equal(np.isnan(value), np.isnan(two[name])), name
            group = name.split("/")[0]
            groups[group] = max(groups.get(group, 0.0), float(apart))
    return groups


if __name__ == "__main__":
    hardware.divide_the_cpu(make_config(dataset="moons", out="none", devices=2, labeled_batch=4))
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    cases = {one.__name__: one for one in (network, clipping, split, programs, images)}
    chosen = sys.argv[1].split(",")
    print(json.dumps({name: cases[name](sys.argv[2]) for name in chosen}))

"""Every op of training has a kernel for GPUs, by the registry of TensorFlow's CUDA wheel.

`tests/helpers/gpu_kernels.json` is that registry. An op without a kernel runs on the CPU, and takes
the variable that it reads, or a copy of its input, there; this machine cannot show it otherwise.
"""

import collections
import dataclasses
import json

import gpu_kernels
import keras
import pytest
import tensorflow as tf
from places import ROOT

from experiments.device_check.cases import CASES, FLOAT32, Case
from experiments.device_check.play import trainer_of
from ssl_weighting.evaluation import Evaluator
from ssl_weighting.theta.deferred import DeferredBlock

KERNELS = gpu_kernels.load()
POOL = 1009  # |U|; no other size here is as large
# (op, types) -> why it may stay on the host.
ALLOWED = {
    ("Const", "string"): "the text of an assertion",
    ("BroadcastGradientArgs", "int32"): "the axes of a sum, told from two shapes",
}


def small(name: str, **options) -> Case:
    """Return a case with a net and a pool that are no larger than its graphs need."""
    case = CASES[name]
    if case.bert:
        return dataclasses.replace(case, shape=(6,), bert=(2, 64), pool=POOL)
    return dataclasses.replace(case, pool=POOL, options=dict(case.options) | options)


def functions(trainer):
    """Yield (name, graph) of all that a run compiles, but for its batches."""
    batch = _specs(trainer.source.at(0))
    number, size = tf.TensorSpec([], tf.int64), trainer.parameters.size
    losses = dict.fromkeys(("loss", "loss_labeled", "loss_unlabeled", "mask_rate"))
    losses = {name: tf.TensorSpec([]) for name in losses}
    batches = tf.data.IteratorSpec(trainer.source.dataset(0).element_spec)
    block = DeferredBlock(trainer.devices, trainer.theta._block.step)  # a GPU's
    yield "theta-step", block.loop.get_concrete_function(batches, number, number, losses).graph
    if trainer.store.learns:
        step, validation = trainer._lambda_step, _specs(trainer.validation_at(0))
        measured = step._measure.get_concrete_function(*batch, validation, number, None)
        yield "measurement", measured.graph
        moved = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None]), tf.TensorSpec([size])
        met = tf.TensorSpec([None], tf.int64) if trainer.scores else None
        update = step._apply.get_concrete_function(*moved, trainer.scores, met)
        yield "update of Lambda", update.graph
    evaluator = Evaluator(trainer.model, trainer.ema, lambda x: x, 4, jit=False)
    groups = trainer.model.trainable_variables, trainer.model.non_trainable_variables
    values = [[tf.TensorSpec(v.shape, v.dtype) for v in group] for group in groups]
    inputs = batch[0].inputs
    yield "evaluation", evaluator._logits.get_concrete_function(*values, inputs).graph


def _specs(batch):
    return tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), batch)


def findings(graph):
    """Return Counter of (op, types) that no GPU runs, or that the host does on data of U's size."""
    found = collections.Counter()
    for node in gpu_kernels.nodes(graph):
        if "CPU" in node.device:
            continue  # by our own word
        place = gpu_kernels.fits(node, KERNELS)
        types = {
            tf.as_dtype(value.type).name
            for value in node.attr.values()
            if value.WhichOneof("value") == "type"
        }
        on_data = place == gpu_kernels.ON_HOST and "resource" not in types and _is_large(node)
        if place is None or on_data:
            found[node.op, " ".join(sorted(types))] += 1
    return found


def _is_large(node):
    """Whether an output has as many entries as U, or a number that only a batch will tell."""
    for shape in node.attr["_output_shapes"].list.shape:
        sizes = [dim.size for dim in shape.dim]
        if not shape.unknown_rank and any(size < 0 or size >= POOL for size in sizes):
            return True
    return False


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fixmatch", {"score_every_step": True}),
        ("uda", {}),
        ("mlp_fixmatch", {"influence_params": "all", "inverse_hessian": "conjugate_gradient"}),
        pytest.param("mean_teacher", {"algorithm": "vat"}, marks=pytest.mark.slow),
        ("mean_teacher", {}),
        pytest.param("mixmatch", {}, marks=pytest.mark.slow),
        pytest.param("remixmatch", {}, marks=pytest.mark.slow),
        ("mlp_uda", {"score_every_step": True}),
        ("bert", {}),
    ],
)
def test_every_op_has_a_kernel_for_gpus(name, options):
    seen = collections.Counter()
    for what, graph in functions(trainer_of(small(name, **options), FLOAT32)):
        seen[what] += sum(1 for _ in gpu_kernels.nodes(graph))
        left = {key: count for key, count in findings(graph).items() if key not in ALLOWED}
        assert not left, f"{what} of {name}"
    assert len(seen) == 4 and min(seen.values()) > 10 and seen["theta-step"] > 400


def test_counters_of_int32_are_found():
    visits = keras.Variable(tf.zeros([POOL], "int32"), dtype="int32")

    def count(ids):
        more = tf.gather(visits.value, ids) + 1
        visits.value.scatter_update(tf.IndexedSlices(more, ids))
        return tf.maximum(more, 2)

    spec = tf.TensorSpec([None], tf.int64)
    found = findings(tf.function(count, autograph=False).get_concrete_function(spec).graph)
    assert found["ResourceGather", "int32 int64"] and found["ResourceScatterUpdate", "int32 int64"]
    assert found["Maximum", "int32"]  # of the visits of a batch: not of a shape


def test_the_list_is_of_the_tensorflow_of_the_lock_file():
    listed = json.loads(gpu_kernels.LIST.read_text())["tensorflow"]
    lines = (ROOT / "requirements-gpu.lock").read_text().splitlines()
    assert f"tensorflow=={listed}" in lines and listed == tf.__version__


def test_a_registry_without_gpus_is_refused_and_kernels_are_merged():
    with pytest.raises(ValueError, match=r"tensorflow must be the wheel with CUDA\. Received: "):
        gpu_kernels.listed()
    one, two = {"T": {"float32"}, "I": {"int32"}}, {"T": {"float64"}, "I": {"int32"}}
    other = {"T": {"float32", "float64"}, "I": {"int64"}}
    both = {"T": {"float32", "float64"}, "I": {"int32", "int64"}}
    assert gpu_kernels._merged([one, two]) == [{"T": {"float32", "float64"}, "I": {"int32"}}]
    assert gpu_kernels._merged([one, two, other]) == [both]
    assert gpu_kernels._merged([one, other, {}]) == [one, other, {}]

"""This repository's own dot products and batch gradient, in a process like those of its peers."""

from __future__ import annotations

import functools
from importlib.metadata import version

import tensorflow as tf

from experiments.benchmarks import exchange, influence_engines
from experiments.benchmarks.suite import run_as_programs_do
from ssl_weighting.models.network import Network


def build(row: str, arrays: dict):
    """Return (call, answer) of a row WORK_graph or WORK_xla; see `worker` and `WORKS`.

    Raises:
        ValueError: unknown row.
    """
    name, _, way = row.rpartition("_")
    if name not in WORKS or way not in ("graph", "xla"):
        raise ValueError(
            f"`row` must be {' or '.join(WORKS)}, then _graph or _xla. Received: {row}"
        )
    run_as_programs_do()
    model = exchange.load(arrays)
    network = Network(model)
    keys = {id(v): key for key, v in exchange.keyed_variables(model).items()}
    vector = [
        tf.constant(arrays[keys[id(v)].replace("params/", "vector/")]) for v in network.variables
    ]
    images, cotangent = tf.constant(arrays["images"]), tf.constant(arrays["cotangent"])
    work = functools.partial(WORKS[name], network)
    function = tf.function(work, autograph=False, jit_compile=way == "xla")

    def call():
        return function(images, cotangent, vector)

    def answer():
        logits = model(images, training=False)["logits"].numpy()
        found = call()
        if name != "batch_gradient":
            return {"logits": logits.tolist(), "dot": found.numpy().tolist()}
        total = sum(float(tf.reduce_sum(g * v)) for g, v in zip(found, vector, strict=True))
        return {"logits": logits.tolist(), "dot_sum": total}

    return call, answer


def versions() -> dict[str, str]:
    """Return the versions of TensorFlow and Keras."""
    return {"tensorflow": tf.__version__, "keras": version("keras")}


WORKS = {
    "batch_gradient": influence_engines.batch_gradient,
    "forward": functools.partial(influence_engines.dot_products, "forward"),
    "ghost": functools.partial(influence_engines.dot_products, "ghost"),
}

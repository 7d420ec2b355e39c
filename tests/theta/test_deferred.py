"""A block of theta-steps that is asked once, as on a GPU, against one that is asked every step."""

import gpu_kernels
import numpy as np
import pytest
import tensorflow as tf
from tiny import TinySource, make_trainer

from ssl_weighting.structs import LabeledBatch
from ssl_weighting.theta import deferred
from ssl_weighting.theta.block import Block
from ssl_weighting.theta.deferred import DeferredBlock, block_of, made_ahead
from ssl_weighting.theta.devices import Devices
from ssl_weighting.theta.step import NonFiniteError


class Spoilt(TinySource):
    """Batches of which one has no finite input."""

    BAD = 6

    def at(self, step):
        labeled, unlabeled = super().at(step)
        bad = tf.where(tf.cast(step, tf.int64) == self.BAD, float("inf"), 0.0)
        return labeled._replace(inputs=labeled.inputs + bad), unlabeled


@pytest.fixture(scope="module")
def both():
    """Return two trainers, alike but for the block, and what each said of its steps."""
    found = []
    for kind in (Block, DeferredBlock):
        trainer = make_trainer()
        theta = trainer.theta
        theta.source = Spoilt()
        theta._block = kind(theta.devices, theta._block.step)
        theta.advance(0, 3)
        theta.advance(3, 2)
        means = theta.report()
        state = [v.numpy() for v in (*theta.params, *trainer.ema.variables)]
        theta.advance(5, 1)
        with pytest.raises(NonFiniteError) as error:
            theta.advance(6, 4)
        found.append((trainer, means, state, str(error.value), theta.unreported))
    return found


def test_theta_and_sums_are_those_of_a_block_that_is_asked_every_step(both):
    (_, means, state, _, _), (_, other_means, other_state, _, _) = both
    assert means == other_means and np.isfinite(means["loss"])
    assert all(map(np.array_equal, state, other_state))


def test_the_step_of_a_loss_that_is_not_finite_is_told_in_the_same_words(both):
    (_, _, _, words, _), (_, _, _, other_words, _) = both
    assert "is not finite at step 6: {'loss': nan" in words
    assert words == other_words


def test_the_loop_waits_for_no_result_of_a_step(both):
    asked_each_step, asked_once = (_condition(trainer.theta) for trainer, *_ in both)
    assert [node.op for node in asked_once] == ["Less", "Identity"]
    assert gpu_kernels.fits(asked_once[0], gpu_kernels.load()) == "host"
    assert "LogicalAnd" in [node.op for node in asked_each_step]  # of what a step computed


def _condition(theta):
    graph = theta._block.loop.get_concrete_function(*_specs(theta)).graph.as_graph_def()
    loop = next(node for node in graph.node if node.op.endswith("While"))
    name = loop.attr["cond"].func.name
    return next(f.node_def for f in graph.library.function if f.signature.name == name)


def _specs(theta):
    number, loss = tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.float32)
    names = ("loss", "loss_labeled", "loss_unlabeled", "mask_rate")
    batches = tf.data.IteratorSpec(theta.source.dataset(0).element_spec)
    return batches, number, number, dict.fromkeys(names, loss)


def test_a_gpu_takes_the_deferred_one_and_its_batches_ahead(monkeypatch):
    step, batches = (lambda *batch: None), TinySource().dataset(3)
    assert type(block_of(Devices(), step)) is Block and made_ahead(batches, Devices()) is batches
    monkeypatch.setattr(tf.config, "list_logical_devices", {"GPU": ["GPU:0"]}.get)
    monkeypatch.setattr(deferred, "GPU", "CPU:0")
    assert type(block_of(Devices(), step)) is DeferredBlock
    ahead = made_ahead(batches, Devices())
    assert ahead is not batches and ahead.element_spec == batches.element_spec
    for ours, theirs in zip(ahead.take(3), batches, strict=False):
        assert isinstance(ours[0], LabeledBatch)
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)

    class Two:
        count = 2

    assert made_ahead(batches, Two()) is batches  # each takes its slice of the whole

"""Suite augment: strong views on whole batches against a loop with Pillow, and cores to feed them.

Ours runs as training runs it: in tf.data, one thread a batch. Both sides get the same draws, and
before the clock starts their views are compared.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf
from ssl_weighting_upstream import fixmatch_ctaugment as cta
from ssl_weighting_upstream import fixmatch_randaugment

from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio
from experiments.benchmarks.suite import Case, Options
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.pipeline import BatchSource

RATIO = 7  # unlabeled images of a step, for each labeled one
STEPS_PER_SECOND = (1, 5, 10)


def cases(options: Options) -> dict[str, Case]:
    """Return the rows: each augmenter by us and by Pillow, and whole batches of FixMatch."""
    strong = {"images": RATIO * options.labeled_batch, "image_size": options.image_size}
    step = strong | {"labeled": options.labeled_batch}
    rows = {
        f"{name}{suffix}": Case(strong, functools.partial(_strong, name, by_pillow, strong))
        for name in ("randaugment", "ctaugment")
        for suffix, by_pillow in (("", False), ("_pillow", True))
    }
    return rows | {
        f"batch_{name}": Case(step, functools.partial(_batch, name, step))
        for name in ("randaugment", "ctaugment")
    }


def ratios(timings: dict[str, Timing], peaks: dict, options: Options) -> dict[str, Ratio]:
    """Return images per CPU-second, ours over Pillow's; and cores for some steps a second."""
    del peaks, options
    found = {}
    for name in ("randaugment", "ctaugment"):
        if timings.keys() >= {name, f"{name}_pillow"}:
            pair = timings[f"{name}_pillow"], timings[name]
            found[f"{name}_over_pillow"] = cpu_ratio(*pair)
        if f"batch_{name}" in timings:
            seconds = float(np.median(timings[f"batch_{name}"].cpu))
            for rate in STEPS_PER_SECOND:
                found[f"cores_for_{rate}_steps_{name}"] = Ratio(rate * seconds)
    return found


def strong_views(name: str, images: np.ndarray, seed: int = 0):
    """Return (ours, by Pillow): calls without arguments that give the views of float32 images."""
    rng = np.random.default_rng(seed)
    if name == "randaugment":
        return _randaugment(images, rng)
    return _ctaugment(images, rng)


def _randaugment(images, rng):
    from experiments.benchmarks import augment_pillow as pillow

    side, shape = images.shape[1], (len(images), fixmatch_randaugment.STRONG_DRAWS)
    draws = rng.random(shape, dtype=np.float32)
    ops = pillow.randaugment_ops(draws, side)
    centers = (draws[:, -2:] * np.float32(side)).astype(int)
    ours = _in_tf_data(fixmatch_randaugment.randaugment, images, draws)
    return ours, functools.partial(pillow.randaugment_loop, images, ops, centers)


def _ctaugment(images, rng):
    from experiments.benchmarks import augment_pillow as pillow

    side, rates = images.shape[1], cta.initial_rates()
    draws = rng.random((len(images), cta.STRONG_DRAWS), dtype=np.float32)

    def view(batch, uniforms):
        policy = cta.training_policy(uniforms[:, : cta.PROBE_DRAWS], rates)
        return cta.ctaugment_with_cutout(batch, policy, uniforms[:, -2:])

    ops = pillow.ctaugment_ops_of(cta.training_policy(draws[:, : cta.PROBE_DRAWS], rates), side)
    corners = (draws[:, -2:] * np.float32(side)).astype(int)
    ours = _in_tf_data(view, images, draws)
    return ours, functools.partial(pillow.ctaugment_loop, images, ops, corners)


def _in_tf_data(view, images, draws):
    """The call that makes one batch, in this thread."""
    images, draws = tf.constant(images), tf.constant(draws)
    return _calls(tf.data.Dataset.counter().map(lambda _: view(images, draws)))


def _calls(data):
    """One call, one batch: nothing is made ahead, so that a row's time is its own."""
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    iterator = iter(data.with_options(options))
    return lambda: next(iterator)


def _strong(name, by_pillow, sizes, tiny):
    count, side = (2, 8) if tiny else (sizes["images"], sizes["image_size"])
    images = _bytes(count, side).astype(np.float32) * np.float32(2 / 255) - 1
    ours, pillow = strong_views(name, images)
    if not np.array_equal(ours().numpy(), pillow()):
        raise AssertionError(f"Pillow's views of {name} differ from ours: nothing to compare")
    return pillow if by_pillow else ours


def _batch(name, sizes, tiny):
    """Whole batches as `BatchSource` makes them: labeled weak, unlabeled weak and strong."""
    count, side = (2, 8) if tiny else (sizes["labeled"], sizes["image_size"])
    images = _bytes(10 * count, side)
    examples = Examples(images, np.zeros(len(images), np.int32))
    splits = DataSplits("noise", *[examples] * 4, ("a", "b"), "memory")
    augmentation = Augmentation.fixmatch(flip=True)
    if name == "ctaugment":
        ones = functools.partial(tf.constant, cta.initial_rates())
        augmentation = Augmentation.ctaugment(True, ones, probes=False)
    source = BatchSource(splits, count, RATIO * count, 0, augmentation)
    return _calls(tf.data.Dataset.counter().map(source.at))


def _bytes(count, side):
    """Images of soft noise, [count, side, side, 3] uint8."""
    noise = np.random.default_rng(0).random((count, side, side, 3))
    for axis in (1, 2):
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / 3
    return (noise * 255).astype(np.uint8)

"""Suite train_step: FixMatch's step on the Wide-ResNet, ours beside the same step in PyTorch.

One file of arrays (`exchange`) holds net, batch and settings. Each row takes the first three steps
from it, and its losses must be those of plain TensorFlow written out below; then all take turns.
The batch stays in memory and nothing is augmented.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.benchmarks import exchange, peer_rows
from experiments.benchmarks.measure import Ratio, Timing
from experiments.benchmarks.peer_rows import Contest
from experiments.benchmarks.suite import Options
from experiments.options.config import Config
from ssl_weighting.data.files import replacing

STEPS = 3  # the first tests the forward pass, the others what it led to
TOLERANCE = 1e-4
TORCH = "torch_train_step"
PEERS = {f"torch_step{layout}": (TORCH, f"step{layout}") for layout in peer_rows.LAYOUTS}
OURS = {f"ours_step_{way}": ("ours_train_step", f"step_{way}") for way in ("graph", "xla")}
SIZES = ("labeled_batch", "unlabeled_batch", "depth", "width", "image_size", "num_classes")


def contest() -> Contest:
    """Return the comparison that `peer_rows.compare` runs."""
    return Contest("train_step", PEERS | OURS, SIZES, prepare, disagreement, agrees, ratios)


def prepare(path: Path, options: Options) -> dict:
    """Write the problem to an .npz file and return its answers by plain TensorFlow."""
    count = options.labeled_batch + 2 * options.unlabeled_batch
    arrays = exchange.write(path, options, count)
    rng, config = np.random.default_rng(1), Config()
    arrays["label"] = rng.integers(options.num_classes, size=options.labeled_batch, dtype=np.int32)
    for name in ("learning_rate", "weight_decay", "ema_decay", "batch_norm_decay"):
        arrays[name] = np.float64(getattr(config, name))
    arrays["steps"] = np.int64(STEPS)
    arrays["threshold"] = np.float32(0)
    arrays["threshold"] = _threshold(_forward(exchange.load(arrays), arrays))
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)
    return reference(arrays)


def reference(arrays: dict[str, np.ndarray]) -> dict:
    """Return losses [STEPS, 2] (labeled, unlabeled) and how far the average moved, summed."""
    model = exchange.load(arrays)
    params = model.trainable_variables
    start = [p.numpy() for p in params]
    velocity, average = [np.zeros_like(p) for p in start], [p.copy() for p in start]
    rate, decay = float(arrays["learning_rate"]), np.float32(arrays["ema_decay"])
    losses = []
    for _ in range(int(arrays["steps"])):
        with tf.GradientTape() as tape:
            both = _losses(_forward(model, arrays), arrays)
            penalty = tf.add_n([tf.nn.l2_loss(p.value) for p in params if p.name == "kernel"])
            total = sum(both) + float(arrays["weight_decay"]) * penalty
        gradients = tape.gradient(total, [p.value for p in params])
        for k, (p, g) in enumerate(zip(params, gradients, strict=True)):
            velocity[k] = 0.9 * velocity[k] + g.numpy()
            p.assign(p.numpy() - rate * (g.numpy() + 0.9 * velocity[k]))
            average[k] = decay * average[k] + (1 - decay) * p.numpy()
        losses.append([float(loss) for loss in both])
    moved = sum(float(np.abs(a - b).sum()) for a, b in zip(average, start, strict=True))
    return {"losses": losses, "average_moved": moved}


def disagreement(answer: dict, expected: dict) -> dict[str, exchange.Error]:
    """Return relative errors, typical and worst, of losses and average; inf if not of its shape."""
    found = {}
    for name, right in expected.items():
        value, right = np.asarray(answer.get(name), float), np.asarray(right)
        if value.shape != right.shape or not np.isfinite(value).all():
            found[name] = exchange.Error(np.inf, np.inf)
            continue
        error = np.abs(value - right) / np.abs(right).max()
        found[name] = exchange.Error(float(np.median(error)), float(error.max()))
    return found


def agrees(errors: dict[str, exchange.Error]) -> bool:
    """Return whether the losses agree to `TOLERANCE`, and the averages to ten times that."""
    return errors["losses"].worst <= TOLERANCE and errors["average_moved"].worst <= 10 * TOLERANCE


def ratios(timings: dict[str, Timing]) -> dict[str, Ratio]:
    """Return torch's fastest row over our fastest, and eager torch over each of ours."""
    found = peer_rows.fastest_ratios(timings, PEERS, OURS, "torch_over_ours")
    for name in OURS:
        if name in timings and "torch_step" in timings:
            ratio = peer_rows.cpu_ratio(timings["torch_step"], timings[name])
            found[f"torch_eager_over_{name}"] = ratio
    return found


def _forward(model, arrays):
    return model(tf.constant(arrays["images"]), training=True)["logits"]


def _losses(z, arrays):
    b = len(arrays["label"])
    weak, strong = tf.split(z[b:], 2)
    q = tf.nn.softmax(tf.stop_gradient(weak))
    mask = tf.cast(tf.reduce_max(q, 1) >= arrays["threshold"], tf.float32)
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    labeled = tf.reduce_mean(cross_entropy(arrays["label"], z[:b]))
    return labeled, tf.reduce_mean(mask * cross_entropy(tf.argmax(q, 1), strong))


def _threshold(z):
    """The middle of the widest gap in the lower half of the confidences: no mask is a near miss."""
    confidence = np.sort(tf.reduce_max(tf.nn.softmax(z), 1).numpy())[: (len(z) + 1) // 2]
    gap = int(np.diff(confidence).argmax()) if len(confidence) > 1 else 0
    return np.float32(confidence[gap : gap + 2].mean())

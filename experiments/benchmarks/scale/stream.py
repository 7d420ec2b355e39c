"""Part stream: runs on packs beside runs in memory, and what decoding costs.

resident_*   a process that trains on a pack of synthetic pixels, small and large: the memory
             that it holds and that no file backs
step_*       theta-steps of FixMatch on the same images as an array, as a pack of pixels and as
             one of encoded files, in turns
decode_*     pictures that a core decodes, and the cores that a number of steps needs
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import Ratio, Timing, cpu_ratio, interleave
from experiments.benchmarks.scale import child
from experiments.benchmarks.suite import Options, Result, as_row, run_as_programs_do
from ssl_weighting.data.images.picture import decode
from ssl_weighting.data.packed.manifest import ENCODED, PIXELS
from ssl_weighting.data.packed.packed_set import load_packed
from ssl_weighting.data.packed.source import Block, PackSource
from ssl_weighting.data.packed.write import pack

CLASSES = 10
LABELED, TEST = 2_000, 1_000
SMALL, LARGE = 10**5, 5 * 10**6
STEPS = 200
LAMBDA_BYTES = 36  # of a row of Lambda: memory that grows with |U| whatever the pixels do
STEPS_A_TIMING = 20
IN_MEMORY = 6_000  # images of the rows step_*
SIDE, LARGER = 32, 256
DECODED = {"decode_224": (224, False), "decode_96": (96, False), "decode_96_draft": (96, True)}
PICTURES = 1_024
RATES = (1, 5, 10)  # steps a second
BATCH = 64 + 448  # examples that a step of the paper's FixMatch reads


def measure(options: Options, say: Callable[[str], object]) -> Result:
    """Return the rows of the three parts and two ratios.

    Args:
        options: `scratch` is the folder for the packs, `smoke` takes small ones.
        say: told about progress.
    """
    folder = Path(options.scratch)
    rows, ratios = _resident(options, folder, say)
    for found in (_steps(options, folder, say), _decoding(options, folder, say)):
        rows += found[0]
        ratios |= found[1]
    return Result(rows, ratios, {})


class Synthetic(PackSource):
    """Images of noise as a `PackSource`; those of a part and row are always the same.

    Args:
        parts: part -> how many.
        side: of an image; its files hold a picture of `stored`, which is decoded to that.
        stored: None: as `side`.
        draft: as of `decode`.
    """

    name, class_names = "synthetic", tuple(str(c) for c in range(CLASSES))
    source, stores = "noise", (PIXELS, ENCODED)

    def __init__(
        self, parts: Mapping[str, int], side: int, stored: int | None = None, draft: bool = False
    ):
        self.parts, self._side, self._stored = dict(parts), side, stored or side
        self.image_size, self.jpeg_draft = side, draft
        self.identity = f"{self.parts} {side} {stored} {draft}"

    def shape(self) -> tuple[int, int, int]:
        """Return (H, W, C)."""
        return self._side, self._side, 3

    def as_grey(self) -> None:
        """See `PackSource`; noise is in colour."""

    def blocks(self, part: str, start: int, stop: int, store: str) -> Iterator[Block]:
        """Yield images; see `PackSource`."""
        for first in range(start, stop, 1024):
            rows = np.arange(first, min(first + 1024, stop))
            rng = np.random.default_rng([len(part), first])
            shape = (len(rows), self._side, self._side, 3)
            contents, images = [], rng.integers(0, 256, shape, np.uint8)
            if store == ENCODED or self._stored != self._side:
                contents = [self._file(rng) for _ in rows]
                read = functools.partial(
                    decode, name=part, image_size=self._side, draft=self.jpeg_draft
                )
                images = np.stack([read(io.BytesIO(one)) for one in contents])
            labels = np.full(len(rows), -1) if part == "unlabeled" else rows % CLASSES
            names = [f"{part}[{row}]" for row in rows]
            kept = contents if store == ENCODED else []
            yield Block(images, kept, labels.astype(np.int32), names, [], True)

    def _file(self, rng) -> bytes:
        """Return a JPEG of coarse noise, which takes about the room of a photograph."""
        from PIL import Image

        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        size = (self._stored, self._stored)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        grain = rng.integers(-8, 9, smooth.shape)
        stream = io.BytesIO()
        noisy = np.clip(smooth.astype(int) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(stream, "jpeg", quality=75)
        return stream.getvalue()


def _resident(options, folder, say):
    sizes = (3_000, 6_000) if options.smoke else (SMALL, LARGE)
    rows, held = [], []
    for count in sizes:
        path = folder / f"pixels-{count}"
        try:
            say(f"packing {count} images")
            parts = {"train": LABELED // (10 if options.smoke else 1), "test": TEST}
            pack(Synthetic({**parts, "unlabeled": count}, SIDE), path, PIXELS)
            say(f"training on {count} images")
            steps = 2 if options.smoke else STEPS
            spent = child.run(f"{__name__}:train", {"path": str(path), "steps": steps})
        finally:
            shutil.rmtree(path, ignore_errors=True)
        held.append(spent.anonymous_mb - LAMBDA_BYTES * count / 1e6)
        row = {"suite": "scale", "name": f"resident_{count}", "images": count}
        row["pixels_mb"] = count * SIDE * SIDE * 3 / 1e6
        row["without_lambda_mb"] = held[-1]
        taken = ("anonymous_mb", "file_mb", "peak_mb", "cpu_seconds")
        rows.append(row | {name: getattr(spent, name) for name in taken})
    return rows, {"resident_5e6_over_1e5": Ratio(held[1] / held[0])}


def train(path: str, steps: int) -> None:
    """Train on a pack in this process; what it holds is measured when this returns."""
    from experiments.assemble.build import build, load_splits

    run_as_programs_do()
    config = _config(path, steps, depth=10, width=1, base_filters=8)
    train.run = build(config, load_splits(config))  # held until the memory has been read
    for _ in train.run.trainer.steps(steps):
        pass


def _config(path, steps, labeled_batch=16, unlabeled_ratio=7, **net):
    from experiments.options.presets import make_config

    return make_config(
        dataset=f"packed:{path}", recipe="paper", algorithm="fixmatch", steps=steps, val_size=100,
        num_labeled=100, inner_steps=max(steps // 4, 1), lambda_warmup_steps=0, jit=False,
        labeled_batch=labeled_batch, unlabeled_ratio=unlabeled_ratio, **net,
    )  # fmt: skip


def _steps(options, folder, say):
    count = 400 if options.smoke else IN_MEMORY
    paths = {store: folder / f"steps-{store}" for store in (PIXELS, ENCODED)}
    try:
        for store, path in paths.items():
            say(f"packing {count} images, {store}")
            parts = {"train": 400, "test": 100, "unlabeled": count}
            pack(Synthetic(parts, SIDE), path, store)
        say("theta-steps on an array and on packs, in turns")
        sizes = ("repetitions", "labeled_batch", "unlabeled_batch", "depth", "width")
        known = {name: getattr(options, name) for name in sizes} | {"smoke": options.smoke}
        asked = {store: str(path) for store, path in paths.items()}
        spent = child.run(f"{__name__}:time_steps", {"paths": asked, "options": known})
    finally:
        for path in paths.values():
            shutil.rmtree(path, ignore_errors=True)
    timings = {
        name: Timing(*(np.array(found[key]) for key in ("wall", "cpu")), *found["rest"])
        for name, found in spent.answer.items()
    }
    each = known | {"steps": 1 if options.smoke else STEPS_A_TIMING, "images": count}
    rows = [as_row("scale", f"step_{k}", each, timing, None) for k, timing in timings.items()]
    ratios = {
        f"stream_over_array_{store}": cpu_ratio(timings["array"], timings[store]) for store in paths
    }
    return rows, ratios


def time_steps(paths: dict[str, str], options: dict) -> dict:
    """Time theta-steps in this process; return what `Timing` is made of, by store.

    Args:
        paths: store -> pack; the array is of the encoded one's images.
        options: of `Options`.
    """
    from experiments.assemble.build import build, load_splits

    run_as_programs_do()
    asked = Options(**options)
    count = 1 if asked.smoke else STEPS_A_TIMING
    ratio = asked.unlabeled_batch // asked.labeled_batch
    net = {"depth": 10, "width": 1, "base_filters": 8} if asked.smoke else {}
    net = {"depth": asked.depth, "width": asked.width} | net
    tasks = {}
    for name in ("array", *paths):
        config = _config(paths.get(name, paths[ENCODED]), 10**6, asked.labeled_batch, ratio, **net)
        splits = load_splits(config)
        if name == "array":
            splits = dataclasses.replace(splits, unlabeled=splits.unlabeled.loaded())
        theta = build(config, splits).trainer.theta
        tasks[name] = functools.partial(_take, theta, itertools.count(0, count), count)
    found = interleave(tasks, 1 if asked.smoke else asked.repetitions, 0.0)
    return {
        name: {
            "wall": one.wall.tolist(), "cpu": one.cpu.tolist(),
            "rest": [one.calls, one.first_seconds],
        }
        for name, one in found.items()
    }  # fmt: skip


def _take(theta, starts, count):
    theta.take(next(starts), count)


def _decoding(options, folder, say):
    count = 64 if options.smoke else PICTURES
    tables, paths = {}, []
    try:
        for name, (side, draft) in DECODED.items():
            say(f"packing {count} pictures of {LARGER}x{LARGER} for {name}")
            paths.append(folder / name)
            parts = {"train": 20, "test": 20, "unlabeled": count}
            pack(Synthetic(parts, side, LARGER, draft), paths[-1], ENCODED)
            table = load_packed(paths[-1]).unlabeled.inputs
            order = np.random.default_rng(0).permutation(count)
            tables[name] = functools.partial(table.gather, order)
        say("decoding, in turns")
        timings = interleave(tables, 1 if options.smoke else options.repetitions, 0.0)
    finally:
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
    rows = []
    for name, timing in timings.items():
        speed = count / float(np.median(timing.cpu))
        cores = {f"cores_for_{rate}_steps_a_second": rate * BATCH / speed for rate in RATES}
        sizes = {"images": count}
        row = as_row("scale", name, sizes, timing, None)
        rows.append(row | {"images_a_cpu_second": speed} | cores)
    return rows, {}

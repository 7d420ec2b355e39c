"""Part memory: the peak of a run on images in memory, over the bytes of the images.

A file of random images is written; a fresh process reads it, cuts it into D, U, V and the test set,
builds a run of FixMatch and takes two theta-steps with a Lambda-step between them. The figure is
its peak minus what it held after a run on a small file, whose imports, net and compiled functions
are those of the large one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import Ratio
from experiments.benchmarks.memory import forget_peak, resident_mb
from experiments.benchmarks.scale import child
from experiments.benchmarks.suite import Options, Result, run_as_programs_do

SHAPE = (32, 32, 3)
CLASSES = 10
COUNT, SMALL = 10**6, 6_000
_BLOCK = 10_000  # images that are made at a time
# Of a file: how many images have a label. From these a fifth is held out for testing.
LAYOUTS: dict[str, Callable[[int], int]] = {
    "all_labeled": lambda count: count,
    "most_unlabeled": lambda count: 4_000,
}


def measure(options: Options, say: Callable[[str], object]) -> Result:
    """Return a row a layout, and the larger of their ratios to the pixels.

    Args:
        options: `scratch` is the folder for the files, `smoke` takes small ones.
        say: told about progress.
    """
    count = SMALL if options.smoke else COUNT
    rows = [_row(name, count, Path(options.scratch), say) for name in LAYOUTS]
    most = max(row["peak_mb"] / row["pixels_mb"] for row in rows)
    return Result(rows, {"memory_over_pixels_1e6": Ratio(most)}, {})


def _row(name, count, folder, say) -> dict:
    paths = {"small": folder / f"{name}-small.npz", "large": folder / f"{name}.npz"}
    try:
        for path, size in zip(paths.values(), (SMALL, count), strict=True):
            say(f"writing {size} images, {name}")
            write_images(path, size, LAYOUTS[name](size))
        say(f"a run on {count} images, {name}")
        arguments = {role: str(path) for role, path in paths.items()}
        spent = child.run(f"{__name__}:run_in_memory", arguments)
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
    stages = {f"{stage}_mb": level for stage, level in spent.answer["stages"].items()}
    return {
        "suite": "scale",
        "name": f"memory_{name}",
        "images": count,
        "pixels_mb": count * int(np.prod(SHAPE)) / 1e6,
        "peak_mb": spent.peak_mb - spent.answer["before"],
        **stages,
        "cpu_seconds": spent.cpu_seconds,
    }


def write_images(path: Path, count: int, labeled: int, seed: int = 0) -> None:
    """Write random images as `np.savez` would, a block at a time.

    Args:
        path: of the .npz file.
        count: of all images; labeled: how many of them stand in x_train, the others in x_unlabeled.
        seed: of pixels; classes take turns.
    """
    rng = np.random.default_rng(seed)
    sizes = {"x_train": labeled, "x_unlabeled": count - labeled}
    with zipfile.ZipFile(path, "w") as archive:
        for name, size in sizes.items():
            if size:
                _write_member(archive, name, size, rng)
        with archive.open("y_train.npy", "w") as file:
            np.lib.format.write_array(file, (np.arange(labeled) % CLASSES).astype(np.int32))


def _write_member(archive, name, size, rng):
    head = {"descr": "|u1", "fortran_order": False, "shape": (size, *SHAPE)}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, size, _BLOCK):
            shape = (min(_BLOCK, size - start), *SHAPE)
            file.write(rng.integers(0, 256, shape, np.uint8).data)


def run_in_memory(small: str, large: str) -> dict:
    """Run on both files in this process; return the memory after the first and what was added, MB.

    Args:
        small: path of the .npz file that readies the process; large: of the one that is measured.
    """
    run_as_programs_do()
    for _ in _stages(small):
        pass
    before = forget_peak()
    stages = {stage: resident_mb("peak") - before for stage in _stages(large)}
    return {"before": before, "stages": stages}


def _stages(path):
    """Yield the name of each stage of a run when it is over."""
    from experiments.assemble.build import build, load_splits
    from experiments.options.presets import make_config

    config = make_config(
        dataset=f"npz:{path}", recipe="paper", algorithm="fixmatch", depth=10, width=1,
        base_filters=8, steps=2, inner_steps=1, lambda_warmup_steps=0, num_labeled=100,
        val_size=100, labeled_batch=16, unlabeled_ratio=7, jit=False,
    )  # fmt: skip
    splits = load_splits(config)
    yield "read_and_cut"
    run = build(config, splits)
    yield "built"
    kinds = [event.kind for event in run.trainer.steps(2)]
    if kinds.count("lambda") != 1:
        raise RuntimeError(f"One Lambda-step was to be measured. Received: {kinds}")
    yield "stepped"

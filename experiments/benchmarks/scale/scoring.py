"""Part scoring: what `score` does to an image beside the passes through the net that it needs.

A run that learned nothing yet leaves its scorer, a file of random images is scored by the program
in a fresh process, and a second process passes as many through the compiled forward of the same
net. An image of FixMatch passes twice, in the weak and in the strong view: the ratio counts passes.
Both processes are run on a small and on a large pile, and the difference counts, so that
imports and compilation do not.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import Ratio
from experiments.benchmarks.scale import child
from experiments.benchmarks.scale.memory import SHAPE, write_images
from experiments.benchmarks.suite import Options, Result, run_as_programs_do
from ssl_weighting.data.array_rows import npz_rows

NETS = {"wrn_10_1": (10, 1, 16), "wrn_28_2": (28, 2, 16)}  # depth, width, filters
SMALL, LARGE = 1024, {"wrn_10_1": 50_176, "wrn_28_2": 7_168}  # images; multiples of a batch
PASSES, BATCH, ROUNDS = 2, 256, 3
_TRAINED = 600  # images of the set that the run is of


def measure(options: Options, say: Callable[[str], object]) -> Result:
    """Return a row a net, and the least of their ratios to the compiled forward.

    Args:
        options: `scratch` is the folder for the files, `smoke` takes one net and few images.
        say: told about progress.
    """
    folder = Path(options.scratch) / "scoring"
    folder.mkdir(parents=True, exist_ok=True)
    names = list(NETS)[:1] if options.smoke else list(NETS)
    try:
        write_images(folder / "set.npz", _TRAINED, _TRAINED // 2)
        rows = [_row(name, options.smoke, folder, say) for name in names]
    finally:
        shutil.rmtree(folder)
    least = min(row["over_forward"] for row in rows)
    return Result(rows, {"score_over_forward": Ratio(least)}, {})


def _row(name, smoke, folder, say) -> dict:
    rounds, sizes = (1, (256, 512)) if smoke else (ROUNDS, (SMALL, LARGE[name]))
    run = folder / name
    say(f"a run of {name}")
    given = {"net": name, "data": str(folder / "set.npz"), "out": str(run)}
    child.run(f"{__name__}:leave_a_scorer", given)
    spent = {"score": 0.0, "forward": 0.0}
    for size in sizes:
        _write_pile(folder / f"{size}.npz", size)
    for k in range(rounds):  # taken in turns, on a machine that others use too
        for sign, size in zip((-1, 1), sizes, strict=True):
            say(f"{name}, {size} images, round {k + 1} of {rounds}")
            pile, out = str(folder / f"{size}.npz"), str(folder / f"{name}-{size}-{k}")
            given = {"run": str(run), "pile": pile}
            scored = child.run(f"{__name__}:score", given | {"out": out}).cpu_seconds
            passed = child.run(f"{__name__}:forward", given).cpu_seconds
            spent["score"] += sign * scored
            spent["forward"] += sign * passed
    images = rounds * (sizes[1] - sizes[0])
    scored, passed = images / spent["score"], images / spent["forward"]
    return {
        "suite": "scale",
        "name": f"scoring_{name}",
        "images": images,
        "scored_a_cpu_second": scored,
        "forward_a_cpu_second": passed,
        "passes": PASSES,
        "over_forward": PASSES * scored / passed,
    }


def _write_pile(path, count):
    rng = np.random.default_rng(1)
    np.savez(path, x=rng.integers(0, 256, (count, *SHAPE), np.uint8))


def leave_a_scorer(net: str, data: str, out: str) -> None:
    """Train for two steps, with a Lambda-step between them, and write the run to `out`."""
    run_as_programs_do()
    from experiments.options.presets import make_config
    from experiments.runs.execute import execute

    depth, width, filters = NETS[net]
    sizes = {"num_labeled": 50, "val_size": 50, "labeled_batch": 16, "num_test": 10}
    steps = {"steps": 2, "inner_steps": 1, "eval_every": 2, "checkpoint_every": 2, "log_every": 2}
    options = {"depth": depth, "width": width, "base_filters": filters, **sizes, **steps}
    execute(make_config(dataset=f"npz:{data}", out=out, **options), "train_images")


def score(run: str, pile: str, out: str) -> None:
    """Score a pile by the program, in a process that this one waits for."""
    given = [f"--run={run}", f"--input=npz:{pile}", f"--out={out}"]
    command = [sys.executable, "-m", "experiments.score", *given]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def forward(run: str, pile: str) -> None:
    """Pass a pile once through the compiled raw model of a run, in its batches."""
    import keras
    import tensorflow as tf

    from experiments.runs.scorer_files import FOLDER, MODEL
    from ssl_weighting.data.images.augmentation import clean_view

    model = keras.models.load_model(Path(run) / FOLDER / MODEL, compile=False)
    compiled = tf.function(lambda x: model(clean_view(x), training=False), autograph=False)
    for batch in npz_rows(pile)["x"].blocks(BATCH):
        compiled(batch)["logits"].numpy()

"""Part workers: the CPU of a theta-step on two workers over that on two devices of one process.

Two runs of different lengths, each in processes of its own; the difference is that of the steps
between. What workers add is what they send each other, and what each of them does for itself: the
average of theta, Lambda, the order of batches.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from experiments.benchmarks.measure import Ratio
from experiments.benchmarks.scale import child, memory
from experiments.benchmarks.suite import Options, Result

IMAGES, LABELED = 4_000, 500
STEPS, SMOKE_STEPS = (20, 60), (12, 22)
PAIRS = 3
KINDS = {"two_workers": 2, "two_devices": 1}  # processes of each


def measure(options: Options, say: Callable[[str], object]) -> Result:
    """Return a row a kind, and the ratio of their medians.

    Args:
        options: `scratch` is the folder for images and runs, `smoke` takes fewer steps, once.
        say: told about progress.
    """
    lengths, pairs = (SMOKE_STEPS, 1) if options.smoke else (STEPS, PAIRS)
    folder = Path(options.scratch)
    path = folder / "workers.npz"
    each = {kind: [] for kind in KINDS}
    try:
        memory.write_images(path, IMAGES, LABELED)
        for pair in range(pairs):
            for kind in KINDS:
                say(f"{kind}, {pair + 1} of {pairs}")
                run = {"kind": kind, "images": str(path), "folder": str(folder)}
                short, long = (
                    child.run(f"{__name__}:train", run | {"steps": steps}).cpu_seconds
                    for steps in lengths
                )
                each[kind].append((long - short) / (lengths[1] - lengths[0]))
    finally:
        path.unlink(missing_ok=True)
    medians = {kind: float(np.median(seconds)) for kind, seconds in each.items()}
    rows = [
        {"suite": "scale", "name": kind, "cpu_seconds_a_step": median, "repetitions": pairs}
        for kind, median in medians.items()
    ]
    ratio = medians["two_workers"] / medians["two_devices"]
    return Result(rows, {"two_workers_over_two_devices": Ratio(ratio)}, {})


def train(kind: str, images: str, folder: str, steps: int) -> None:
    """Train FixMatch on a small Wide-ResNet, and wait for all processes.

    Raises:
        ChildProcessError: one of them failed; with the end of what it wrote.
    """

    with tempfile.TemporaryDirectory(dir=folder) as out:
        flags = [
            f"--dataset=npz:{images}", f"--out={out}/run", f"--steps={steps}", "--recipe=paper",
            "--algorithm=fixmatch", "--depth=10", "--width=1", "--labeled_batch=16",
            "--unlabeled_ratio=7", "--num_labeled=100", "--val_size=100", "--num_test=100",
            "--inner_steps=10", "--lambda_warmup_steps=0", "--jit=false", f"--eval_every={steps}",
            f"--checkpoint_every={steps}", f"--log_every={steps}",
        ]  # fmt: skip
        flags.append("--workers=auto" if kind == "two_workers" else "--devices=2")
        command = [sys.executable, "-m", "experiments.train_images", *flags]
        started = [
            subprocess.Popen(
                command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for environ in _environments(KINDS[kind])
        ]
        for process in started:
            _, err = process.communicate()
            if process.returncode:
                raise ChildProcessError(
                    f"{' '.join(command)} must exit with 0. Received: {process.returncode}, its "
                    f"last output:\n{err.decode(errors='replace')[-child.QUOTED :]}"
                )


def _environments(count) -> Iterator[dict[str, str]]:
    """Yield the environment of each of `count` processes that share a run."""
    if count == 1:
        yield dict(os.environ)
        return
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        yield os.environ | {"TF_CONFIG": json.dumps(config)}

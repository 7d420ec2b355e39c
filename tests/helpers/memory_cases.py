"""Work of known size for the test of peak memory; imported by a process of its own."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from experiments.benchmarks.memory import forget_peak, resident_mb


def allocate(megabytes):
    """Return (warm_up, work): a megabyte each, then `megabytes` at once, written to and dropped."""
    np.ones(80 * 10**6, np.uint8).sum()  # a peak before the measurement must not count
    return lambda: np.ones(10**6, np.uint8).sum(), lambda: np.ones(megabytes * 10**6, np.uint8)


def fail():
    """Fail while building."""
    raise MemoryError("nothing left")


def hold(megabytes, path):
    """Hold anonymous memory and a mapped file of `megabytes` each, after a peak that is forgotten.

    A child of this process takes as much CPU as it does.
    """
    np.ones(300 * 10**6, np.uint8).sum()
    before = forget_peak()
    held = np.ones(megabytes * 10**6, np.uint8)
    Path(path).write_bytes(held.tobytes())
    with Path(path).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    global kept
    kept = held, mapped, int(np.frombuffer(mapped, np.uint8).sum())
    subprocess.run([sys.executable, "-c", BUSY.format(0.3)], check=True)
    exec(BUSY.format(0.1))
    return {"before": before, "held": resident_mb("anonymous"), "variable": os.environ["MARK"]}


BUSY = "import time\nwhile time.process_time() < {}: pass"


def leave_a_process(path):
    """Start a process that would live on, write its number to `path` and fail."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(child.pid))
    raise MemoryError("nothing left")

"""One library's row in a process of its own, asked in JSON lines: the far end of `workers`.

    python -m PACKAGE.worker MODULE ROW ARRAYS.npz

MODULE, beside this file, has build(ROW, arrays), which gives `call()`, the work to time, returning
when it is done, and `answer()`, what to check, as lists; and versions(). Requests are {"do": ...}:

    build  -> versions                            check -> what `answer` returns
    run    -> wall, cpu (seconds, all threads)    peak  -> peak_mb, of one more call

An exception gives {"error": ...}. The end of stdin ends the process. Nothing here imports the
packages above `benchmarks`: they need TensorFlow, which the peers' environment does not have.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from .. import memory
from ..measure import timed


class Work:
    """The row of a worker, built when asked for.

    Args:
        module: name of a module of this package; row: passed on; arrays: path of an .npz file.
    """

    def __init__(self, module: str, row: str, arrays: str):
        self.module, self.row, self.arrays = module, row, arrays

    def build(self) -> dict:
        """Import the library and build the row."""
        module = importlib.import_module(f".{self.module}", __package__)
        with np.load(self.arrays) as file:
            self.call, self.answer = module.build(self.row, dict(file))
        self.level = memory.resident_mb() if memory.STATUS.exists() else None
        return {"versions": module.versions()}

    def check(self) -> dict:
        """Return the row's answers."""
        return self.answer()

    def run(self) -> dict:
        """Time one call."""
        return dict(zip(("wall", "cpu"), timed(self.call), strict=True))

    def peak(self) -> dict:
        """Return the peak of a warm call above the level after `build`, in MB; None without /proc.

        What the library keeps between calls counts: some allocators never give memory back.
        """
        if self.level is None:
            return {"peak_mb": None}
        with contextlib.suppress(OSError):  # forget the peak of compiling, where that is allowed
            memory.CLEAR_REFS.write_text("5")
        self.call()
        return {"peak_mb": memory.resident_mb("peak") - self.level}


def serve(work: Work, requests, replies) -> None:
    """Answer every request line with one line, until there are no more."""
    for line in requests:
        try:
            reply = getattr(work, json.loads(line)["do"])()
        except Exception as error:  # any failure of a peer is its answer
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main(module: str, row: str, arrays: str) -> None:
    """Serve stdin and stdout; what libraries print goes to stderr instead."""
    with contextlib.suppress(OSError):  # where memory runs out, a worker goes and nothing else
        Path("/proc/self/oom_score_adj").write_text("1000")
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(Work(module, row, arrays), sys.stdin, replies)


if __name__ == "__main__":
    main(*sys.argv[1:])

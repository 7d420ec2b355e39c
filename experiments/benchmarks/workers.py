"""Processes that wait for work: one for each row of a comparison, asked in JSON lines.

They live as long as the comparison, so that its rounds interleave them as `measure.interleave` does
tasks of one process. `peers.worker` is the far end and lists the requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
MOST_WORDS = 300  # characters of an error that are quoted; some libraries write pages
PARTING = 10.0  # s: for a process to end by itself and take its own helpers along


class WorkerError(RuntimeError):
    """A worker that failed, died or did not answer in time; the message says why."""


class Worker:
    """A process that reads requests and writes replies, a JSON object a line each.

    Args:
        command: what to start, its first word the Python of its environment.
        cwd: folder to start it in.
        threads: that each of its thread pools may have.
        timeout: seconds that one answer may take.

    Raises:
        WorkerError: it cannot be started.
    """

    def __init__(self, command: list[str], cwd: Path, threads: int, timeout: float = 1200.0):
        self.timeout = timeout
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        try:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=_environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
            )
        except OSError as error:
            self._stderr.close()
            raise WorkerError(f"cannot be started: {error}") from None

    def ask(self, do: str) -> dict:
        """Return the reply to {"do": do}.

        Raises:
            WorkerError: it answered with an error, died, or took longer than `timeout`.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._death(do)) from None
        if not select.select([self._process.stdout], [], [], self.timeout)[0]:
            self._process.kill()  # it may be far from reading its next request
            raise WorkerError(f"no answer to {do!r} in {self.timeout:.3g} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._death(do))
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(" ".join(reply["error"].split())[:MOST_WORDS])
        return reply

    def close(self) -> None:
        """End the process, by force if it does not end within `PARTING`."""
        with contextlib.suppress(OSError):  # a request that the dead worker never read
            self._process.stdin.close()
        try:
            self._process.wait(PARTING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def _death(self, do):
        code = self._process.wait()
        self._stderr.seek(0)
        words = " ".join(self._stderr.read().decode(errors="replace").split())[-MOST_WORDS:]
        how = f"exit code {code} (-9: out of memory)"
        return f"ended at {do!r} with {how}. Its last output: {words}"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _environment(threads):
    """Same number of threads for all, no GPU, none of our packages on the path."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS")
    return kept | dict.fromkeys(names, str(threads)) | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # torch's threads wait for each other in a loop, which counts as CPU time; where another
        # process holds a core they can wait 100 times as long as they work. Let them sleep.
        "OMP_WAIT_POLICY": "passive",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # a first call compiles, whatever ran before
    }  # fmt: skip

"""A function in a fresh process: what it returned, the memory it held and all the CPU it took.

    python -m experiments.benchmarks.scale.child MODULE:FUNCTION JSON

is that process: FUNCTION(**JSON) returns what JSON can carry. Within it `memory.resident_mb` and
`memory.forget_peak` mark the stages.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.memory import called, resident_mb, same_path

QUOTED = 2000  # characters of a failed child's last words
LOCK = "ssl_weighting_scale.lock"


class Spent(NamedTuple):
    """What a process answered and what it took; MB of 10^6 bytes."""

    answer: Any
    peak_mb: float  # VmHWM, of its whole life or since its last `forget_peak`
    anonymous_mb: float  # RssAnon when the function had returned
    file_mb: float  # RssFile then: mapped files, its libraries among them
    cpu_seconds: float  # user and system, of all its threads and of the processes it waited for
    wall_seconds: float


def run(
    target: str, arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Spent:
    """Call a function in a fresh process, one at a time on this machine, and wait for its end.

    Args:
        target: "module:function", importable from this process' `sys.path`.
        arguments: its keyword arguments, as JSON can carry them.
        environment: variables beside this process' own.

    Raises:
        ChildProcessError: it failed; with the end of what it wrote.
    """
    command = [sys.executable, "-m", __name__, target, json.dumps(arguments)]
    known = os.environ | same_path() | dict(environment or {})
    with _alone(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        # A session of its own, so that all that it starts can be ended with it.
        child = subprocess.Popen(command, env=known, stdout=out, stderr=err, start_new_session=True)
        code, cpu = _ended(child)
        wall = time.monotonic() - started
        if code:
            raise ChildProcessError(
                f"The process that measures {target} {dict(arguments)} must exit with 0. Received: "
                f"exit code {code} (-9: out of memory), its last output:\n{_text(err)[-QUOTED:]}"
            )
        found = json.loads(_text(out).splitlines()[-1])
    return Spent(**found, cpu_seconds=cpu, wall_seconds=wall)


def main(target: str, arguments: str) -> None:
    """Call the function in this process and print what `run` reads as the last line."""
    answer = called(target, arguments)
    memory = {f"{name}_mb": resident_mb(name) for name in ("peak", "anonymous", "file")}
    print("\n" + json.dumps({"answer": answer} | memory), flush=True)


def _ended(child) -> tuple[int, float]:
    """Wait for a process; return its exit code and the CPU seconds of it and of its children."""
    try:
        _, status, used = os.wait4(child.pid, 0)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    child.returncode = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(ProcessLookupError):  # what it left behind
        os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other such process runs: two that need gigabytes would end each other."""
    with Path(tempfile.gettempdir(), LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Peak memory of one piece of work, in a process of its own so that nothing else is counted.

    python -m experiments.benchmarks.memory MODULE:FUNCTION JSON

is that process: FUNCTION(**JSON) imports and builds, and returns the calls (warm_up, work). The
figure is the peak resident set size during `work` minus the size after `warm_up`. MB = 10^6 bytes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
# Anonymous pages are what a process holds; those of files (mapped packs) can be taken from it.
FIELDS = {"now": "VmRSS", "peak": "VmHWM", "anonymous": "RssAnon", "file": "RssFile"}


def resident_mb(which: str = "now") -> float:
    """Return the resident set size of this process in MB, "now" or at its "peak".

    "anonymous" and "file" are the two parts of what is resident now.

    Read from /proc, not from `getrusage`: a child's ru_maxrss starts at its parent's size.

    Raises:
        ValueError: `which` is neither.
    """
    if which not in FIELDS:
        raise ValueError(f"`which` must be one of {', '.join(FIELDS)}. Received: which={which!r}")
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[FIELDS[which]].split()[0]) * 1024 / 1e6


def added_peak_mb(warm_up, work) -> float:
    """Call `warm_up`, then `work`; return how far memory rose above its level in between, MB."""
    warm_up()
    before = forget_peak()
    work()
    return max(0.0, resident_mb("peak") - before)


def forget_peak() -> float:
    """Let "peak" start anew and return what is resident now, MB.

    Where a process may not, its peak of importing and building stays.
    """
    gc.collect()
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")
    return resident_mb()


def peak_of_child_mb(target: str, arguments: dict) -> float | None:
    """Return `added_peak_mb` of `target` in a fresh process; None where there is no /proc.

    Args:
        target: "module:function", importable from this process' `sys.path`; see above.
        arguments: its keyword arguments, as JSON can carry them.

    Raises:
        ChildProcessError: the child failed; with the end of what it wrote.
    """
    if not STATUS.exists():
        return None
    command = [sys.executable, "-m", __name__, target, json.dumps(arguments)]
    child = subprocess.run(command, env=os.environ | same_path(), capture_output=True, text=True)
    if child.returncode:
        raise ChildProcessError(
            f"The process that measures the memory of {target} {arguments} must exit with 0. "
            f"Received: exit code {child.returncode} (-9: out of memory), its last output:\n"
            + child.stderr[-2000:]
        )
    return json.loads(child.stdout.splitlines()[-1])["peak_mb"]


def same_path() -> dict[str, str]:
    """Return the variable by which a child's Python finds what this one does."""
    return {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}


def called(target: str, arguments: str):
    """Return what the function "module:function" returns when it is given JSON's arguments."""
    module, function = target.split(":")
    return getattr(importlib.import_module(module), function)(**json.loads(arguments))


def main(target: str, arguments: str) -> None:
    """Measure `target` in this process and print {"peak_mb": ...} as the last line."""
    warm_up, work = called(target, arguments)
    print(json.dumps({"peak_mb": added_peak_mb(warm_up, work)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

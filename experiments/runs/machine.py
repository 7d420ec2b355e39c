"""The machine that a run is made on, as far as its bits depend on it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from experiments.runs.run_files import Objects, RunError, check_fields, parse_object, read_text

DECISIVE = ("threads", "cpu", "gpu")  # with another one sums are rounded otherwise
_CPUINFO = Path("/proc/cpuinfo")
_KIND = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
# Instruction sets between which TensorFlow, Eigen and oneDNN choose when they run.
_SETS = (
    "fma", "f16c", "avx", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "sve", "sve2", "bf16",
)  # fmt: skip
_SWITCHES = ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS")  # of the environment
_XLA = re.compile(r"--xla_cpu_max_isa=\w+")  # in XLA_FLAGS, whose other flags may name folders


class _Machines(TypedDict):
    machines: Objects | None


def this_machine() -> dict[str, Any]:
    """Return what decides the bits of a run here: "threads", "cpu" and, where there is one, "gpu".

    Threads are those that a single operation of TensorFlow is divided among.
    """
    import tensorflow as tf

    found = {"threads": _threads(tf), "cpu": _cpu()}
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(g).get("device_name", "GPU") for g in gpus]
    return found | ({"gpu": ", ".join(names)} if names else {})


def _threads(tf):
    """Return the number in the order in which TensorFlow asks: program, environment, machine."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    named = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if asked > 0 or (named.isdigit() and int(named)):
        return asked or int(named)
    usable = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(usable(0)) if usable else os.cpu_count() or 1


def _cpu():
    """Return vendor, model and instruction sets of the first core in a short text."""
    try:
        lines = _CPUINFO.read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    pairs = (line.partition(":") for line in lines)
    known = {name.strip(): value.strip() for name, _, value in pairs}
    kind = " ".join(known[name] for name in _KIND if known.get(name))
    has = set((known.get("flags") or known.get("Features") or "").split())
    switches = [f"{name}={os.environ[name]}" for name in _SWITCHES if name in os.environ]
    switches += _XLA.findall(os.environ.get("XLA_FLAGS", ""))
    parts = (kind or f"{platform.machine()} {platform.processor()}".strip(), *switches)
    return "; ".join((*parts, " ".join(one for one in _SETS if one in has))).removesuffix("; ")


def _aloud(line):
    print(line, flush=True)


def continued(folder: Path, step: int, say: Callable[[str], None] = _aloud) -> list[dict[str, Any]]:
    """Return the machines of a run that goes on here, each with the step from which it trained.

    Args:
        folder: of the run; its config.json is still that of the sitting before.
        step: the step at which it goes on; 0: it begins.
        say: told, loudly, in what this machine differs from the one before.
    """
    now, earlier = this_machine(), []
    if step:
        # Of an older run, or one whose file is lost, nothing is known.
        earlier = [m for m in machines_of(folder) if m.get("from_step", 0) < step] or [
            {"from_step": 0}
        ]
        for name in DECISIVE:
            before = earlier[-1].get(name, now.get(name))
            if before != now.get(name):
                say(
                    f"WARNING: {name} differ from step {step} on: {before} before, {now.get(name)} "
                    "now. The run goes on, but it is no longer bit for bit the unbroken one."
                )
        if {**earlier[-1], **now} == earlier[-1]:
            return earlier
    return [*earlier, {"from_step": step} | now]


def machines_of(folder: Path) -> list[Mapping[str, Any]]:
    """Return the machines that config.json names; [] if it names none or cannot be read."""
    try:
        found = parse_object(read_text(folder / "config.json"), "config.json")
        check_fields(found, _Machines, "config.json")
    except RunError:
        return []
    return found.get("machines") or []


def changes(machines: Sequence[Mapping[str, Any]]) -> str:
    """Return in what a run's machines differ, in words: "threads 2, 4 from step 100"."""
    known = [name for name in DECISIVE if any(name in m for m in machines)]
    values = {name: [str(m.get(name) or _missing(name, m)) for m in machines] for name in known}
    return "; ".join(
        f"{name} {_in_turn(found, machines)}"
        for name, found in values.items()
        if len(set(found)) > 1
    )


def _missing(name, machine):
    # Of an older run nothing is known; one that names its threads names its GPU too.
    return "none" if name == "gpu" and "threads" in machine else "unknown"


def threads_of(machines: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Return the threads of a run's machines in words; None: unknown, or a GPU decides the bits."""
    found = [m.get("threads") if "gpu" not in m else None for m in machines or ()]
    return None if not found or None in found else _in_turn(found, machines)


def _in_turn(values, machines):
    """Return the first of the machines' values, and each that differs from the one before."""
    later = zip(values, values[1:], machines[1:], strict=False)
    told = (f"{value} from step {m.get('from_step')}" for last, value, m in later if value != last)
    return ", ".join((str(values[0]), *told))

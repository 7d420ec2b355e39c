"""Does this device compute what it should? Minutes, before days of training on it.

    python -m experiments.check_device
    python -m experiments.check_device --cases='mlp_*,fixmatch_paper' --seconds=20
    python -m experiments.check_device --devices=2 --cases='mlp_*'
    python -m experiments.check_device --record --cases=uda --traces=DIR    # on a CPU

Plays short runs (every base algorithm on a small net, FixMatch and UDA at the paper's shapes, a
BERT) on the GPU, or on the CPU where there is none, as the training programs run, with
deterministic kernels. Losses, norms of gradients, influences and weights have to be those of traces
that were recorded on a CPU and ship with the repository, within what docs/scale.md states: in
float32, with TF32 where a GPU has it, in mixed precision, with XLA and on several devices. Prints a
table with seconds a step and memory, and the hours that each cell of the paper's tables would take.
Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags

from experiments.benchmarks.suite import chosen
from experiments.device_check.cases import CASES, SHARES, Case
from experiments.device_check.records import FOLDER
from experiments.runs.errors import friendly


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("cases", "*", "Patterns of case names, separated by commas.", values)
    text = (
        "Share a step among 2, 4 or 8 GPUs, or parts of a CPU; 0: of 1, 2, 4 and 8 the most that "
        "there are GPUs for."
    )
    flags.DEFINE_integer("devices", 0, text, lower_bound=0, flag_values=values)
    text = "Seconds that each timing may take beside the trace."
    flags.DEFINE_float("seconds", 5.0, text, lower_bound=0, flag_values=values)
    flags.DEFINE_bool("record", False, "Write traces of this machine's CPU instead.", values)
    flags.DEFINE_string("traces", str(FOLDER), "Folder of the traces.", values)


def cases_of(values: flags.FlagValues) -> list[Case]:
    """Return the cases that a command line chooses.

    Raises:
        ValueError: a pattern that matches none, or values that exclude each other.
    """
    if values["record"].value and values["devices"].value > 1:
        raise ValueError(
            "--record must be left without --devices: a trace is of one CPU. Received: "
            f"--devices={values['devices'].value}"
        )
    if values["record"].value and values["seconds"].present:
        raise ValueError(
            "--seconds would do nothing here: it needs --norecord, as a trace is not timed. "
            f"Received: --seconds={values['seconds'].value:g}. Leave it out"
        )
    if values["devices"].value not in (0, *SHARES):
        raise ValueError(
            f"--devices must be one of {', '.join(map(str, (0, *SHARES)))}. Received: "
            f"{values['devices'].value}"
        )
    return list(chosen(CASES, values["cases"].value, "cases").values())


def run(cases: list[Case], devices: int, seconds: float, folder: Path) -> int:
    """Check the cases, print what was found and return the exit code.

    Raises:
        ValueError: a trace is missing or damaged, or there are fewer devices than asked for.
    """
    import tensorflow as tf

    from experiments.device_check.check import check
    from experiments.device_check.page import page, verdict

    gpus = _opened(tf, devices)
    devices = devices or max(count for count in SHARES if count <= max(gpus, 1))
    rows = check(cases, gpus, devices, seconds, folder, _say)
    print(page(rows), flush=True)
    return int(not verdict(rows).startswith("pass"))


def record(cases: list[Case], folder: Path) -> None:
    """Write the traces of cases, played on the CPU.

    Raises:
        ValueError: there is a GPU, or a trace hangs on roundings.
    """
    import tensorflow as tf

    from experiments.device_check import records

    if _opened(tf, 1):
        raise ValueError(
            "--record must run on a CPU. Received: a machine with a GPU. Hide it with "
            "CUDA_VISIBLE_DEVICES=-1"
        )
    for case in cases:
        records.record(case, folder, _say)


def _opened(tf, devices):
    """Ready TensorFlow as the programs do; return the number of GPUs.

    Raises:
        ValueError: fewer devices than asked for.
    """
    from experiments.assemble.hardware import divide_the_cpu
    from experiments.benchmarks.suite import run_as_programs_do
    from experiments.options.presets import make_config
    from experiments.runs.machine import this_machine

    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus and devices > gpus:
        raise ValueError(f"--devices must be at most {gpus}, the GPUs. Received: {devices}")
    if devices > 1:
        divide_the_cpu(make_config(dataset="moons", devices=devices, labeled_batch=devices))
    run_as_programs_do()
    tf.get_logger().setLevel("ERROR")  # each case is traced once, which it takes for a mistake
    machine = ", ".join(f"{name}: {value}" for name, value in this_machine().items())
    found = f"{gpus} GPUs" if gpus else "no GPU is found, so this checks the CPU"
    print(f"TensorFlow {tf.__version__}; {found}; {machine}\n", flush=True)
    return gpus


def _say(text):
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Check or record the cases of the command line; return the exit code."""
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(arguments[1:])}")
    values = flags.FLAGS
    with friendly():
        cases, folder = cases_of(values), Path(values["traces"].value)
        if values["record"].value:
            record(cases, folder)
            return 0
        return run(cases, values["devices"].value, values["seconds"].value, folder)


if __name__ == "__main__":
    define_flags()
    app.run(main)

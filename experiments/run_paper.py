r"""Walk the cells of the paper's tables: train what is not finished, or list them.

    python -m experiments.run_paper --dry_run
    python -m experiments.run_paper --only='table1_svhn_*_uda*' -- --precision=mixed_float16

Runs the commands of experiments/cells/*.sh one after another in one process, those that train with
what stands behind the --. A cell that fails is reported at the end; the others go on.
"""

from __future__ import annotations

import fnmatch
import gc
import shlex
import sys
import time
import traceback
from pathlib import Path

from absl import app, flags

from experiments.paper.cells import BENCHMARK, Cell, cells
from experiments.paper.numbers import CITED
from experiments.paper.scripts import FOLDER, hours_of, hours_text, paper_text
from experiments.runs.errors import friendly
from experiments.runs.record import is_complete
from experiments.runs.start import TERMINATED

BENCHMARK_FILE = "sec44_running_time.jsonl"


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    text = "which cells, such as table1_* or 'fig4_left_*,table3_*'"
    flags.DEFINE_string("only", "*", text, values)
    flags.DEFINE_bool("dry_run", False, "list the cells, their estimated time and state", values)
    flags.DEFINE_bool("smoke", False, "a few small steps of each on offline data", values)
    flags.DEFINE_string("out", "results", "results folder", values)


def chosen(only: str) -> list[Cell]:
    """Return the cells whose names match one of the patterns.

    Raises:
        ValueError: none does.
    """
    patterns = only.split(",")
    found = [c for c in cells() if any(fnmatch.fnmatchcase(c.name, p) for p in patterns)]
    if not found:
        families = dict.fromkeys(f"{cell.family}_*" for cell in cells())
        raise ValueError(
            f"--only must match the name of a cell, such as {', '.join(families)}. Received: {only}"
        )
    return found


def command_of(script: Path) -> list[str]:
    """Return the arguments of a script's command, from its last line backwards to `exec`.

    Raises:
        ValueError: the script is not one command with "$@" at its end.
    """
    _, _, command = script.read_text(encoding="utf-8").partition("\nexec ")
    words = shlex.split(command.replace("\\\n", " "))
    if "-m" not in words or words[-1] != "$@":
        raise ValueError(f'{script.name} must end in one command: exec ... -m PROGRAM ... "$@"')
    return words[words.index("-m") + 2 : -1]


def listing(wanted: list[Cell], out: str) -> str:
    """Return the cells as lines: name, estimated GPU hours, seeds finished, the paper's number."""
    lines = [f"{'cell':<48} {'GPU hours':>10} {'seeds':>6}  paper"]
    total, shared, counted = 0.0, 0, set()
    for cell in wanted:
        one = hours_of(cell)
        hours = "1" if one is None else f"{len(cell.seeds)} x {hours_text(one)}"
        new = {(cell.runs, seed) for seed in cell.seeds} - counted
        counted |= new
        total += 1 if one is None else len(new) * one
        shared += not new and one is not None
        lines.append(f"{cell.name:<48} {hours:>10} {_state(cell, out):>6}  {paper_text(cell)}")
    if any(cell.table == "Table 2" for cell in wanted):
        cited = ", ".join(f"{who} {number}" for (who, _), number in CITED.items())
        lines.append(f"Table 2 also cites, with 25,000 labels, without a cell here: {cited}")
    lines.append(
        f"{len(wanted)} cells, {shared} of them share all runs with another; together about "
        f"{total:,.0f} GPU hours. Hours are estimates, not measured: images at the rate of a "
        "FixMatch run that its user reports to take 4 days on one RTX 2080 Ti, texts at the rate "
        "that NVIDIA reports for BERT-large on one V100."
    )
    return "\n".join(lines)


def _state(cell, out):
    if cell.program == BENCHMARK:
        return "done" if Path(out, "paper", BENCHMARK_FILE).is_file() else "-"
    done = sum(is_complete(Path(out, "paper", cell.runs, f"seed_{seed}")) for seed in cell.seeds)
    return f"{done}/{len(cell.seeds)}"


def walk(wanted: list[Cell], out: str, smoke: bool, others: list[str]) -> int:
    """Run the cells; return the exit code: 0, 1 if a cell failed, `TERMINATED` if told to stop.

    Args:
        wanted: the cells.
        out: results folder.
        smoke: whether to run the smoke form.
        others: options added to each command that trains.
    """
    failed: dict[str, str] = {}
    missing: dict[object, str] = {}  # data set -> why no source has it
    started = time.monotonic()
    for number, cell in enumerate(wanted, 1):
        print(f"({number}/{len(wanted)}, {time.monotonic() - started:.0f} s)", flush=True)
        try:
            data = cell.options.get("dataset")
            if data in missing:
                raise FileNotFoundError(missing[data])
            if run_one(cell, out, smoke, others) == TERMINATED:
                return TERMINATED
        except Exception as error:  # a cell that fails must not end a long walk
            if not isinstance(error, (ValueError, OSError, FloatingPointError)):
                traceback.print_exc()
            failed[cell.name] = f"{type(error).__name__}: {error}"
            print(f"{cell.name} FAILED. {failed[cell.name]}", file=sys.stderr, flush=True)
            if type(error).__name__ == "UnavailableError":
                missing[data] = str(error)
    minutes = (time.monotonic() - started) / 60
    print(f"{len(wanted) - len(failed)} of {len(wanted)} cells in {minutes:.1f} min", flush=True)
    for name, reason in failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def run_one(cell: Cell, out: str, smoke: bool, others: list[str]) -> int:
    """Run one cell in this process; return its exit code.

    Raises:
        ValueError, OSError, FloatingPointError: as its program.
    """
    command = command_of(FOLDER / f"{cell.name}.sh") + ["--smoke"] * smoke
    if cell.program == BENCHMARK:
        from experiments import benchmark

        target = Path(out, "smoke" if smoke else "paper", BENCHMARK_FILE)
        if target.is_file():
            print(f"[{cell.name}] {target}: finished before, skipped", flush=True)
            return 0
        return benchmark.run_command([*command, f"--out={target}"])
    from experiments import run_cell

    code = run_cell.run(run_cell.parsed([*command, f"--results={out}", *others]))
    _forget()
    return code


def _forget():
    """Let go of a finished net and most graphs; TensorFlow keeps those of tf.data's scans."""
    import keras

    keras.backend.clear_session()
    gc.collect()


def main(argv: list[str]) -> int:
    """List or run the cells of the command line; return the exit code."""
    values = flags.FLAGS
    with friendly():
        wanted = chosen(values.only)
        if not all(word.startswith("--") for word in argv[1:]):
            raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
        if values.dry_run:
            print(listing(wanted, values.out))
            return 0
        return walk(wanted, values.out, values.smoke, argv[1:])


if __name__ == "__main__":
    define_flags()
    app.run(main)

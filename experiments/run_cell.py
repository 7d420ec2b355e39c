r"""Train the seeds of one cell of the paper's tables; finished ones are skipped.

    python -m experiments.run_cell --cell=mine --seeds=1,2,3 --dataset=cifar10 --num_labeled=250

Takes every option of train_images and train_text; the scripts in experiments/cells/ call it with
those of their cell. Runs go to RESULTS/paper/RUNS/seed_N, with --smoke to
RESULTS/smoke/RUNS/seed_N; beside each lies cell.json, which says where the command departed from
the cell's.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from absl import app, flags

from experiments.options.config import Config
from experiments.options.effects import refuse_without_effect
from experiments.options.flags import define, given
from experiments.options.presets import make_config
from experiments.options.smoke import MARK
from experiments.paper.cell import Cell, CellNote
from experiments.paper.cells import cells
from experiments.paper.scripts import arguments, paper_text
from experiments.runs.beginning import changed_options, refuse_foreign, refuse_if_changed
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.record import is_complete, summary_of
from experiments.runs.run_files import RunError, read_object, write_object
from experiments.runs.start import TERMINATED, execute

RESULTS = Path(__file__).resolve().parent.parent / "results"
BY_SEED = ("seed", "out")  # set here, seed by seed


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    define(values)
    flags.DEFINE_string("cell", "", "[cell] name of the cell, or one of your own", values)
    flags.DEFINE_string("runs", "", "[cell] name of its run folders; empty: --cell", values)
    text = "[cell] seeds, separated by commas; --seed=N runs that one, --smoke the first"
    flags.DEFINE_list("seeds", ["1"], text, values)
    flags.DEFINE_string("results", str(RESULTS), "[cell] results folder", values)
    define_flag(values)


def parsed(words: list[str]) -> flags.FlagValues:
    """Return the flags of a command line of this program, apart from the process's own.

    Raises:
        ValueError: an unknown flag, a value it does not take, or a word that is no flag.
    """
    values = flags.FlagValues()
    define_flags(values)
    try:
        rest = values(["run_cell", *words])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(rest)}")
    return values


def folder_of(values: flags.FlagValues) -> Path:
    """Return the folder of the cell's runs."""
    kind = "smoke" if values["smoke"].value else "paper"
    return Path(values["results"].value, kind, values["runs"].value or values["cell"].value)


def configurations(values: flags.FlagValues) -> list[Config]:
    """Return the cell's runs, one a seed.

    Raises:
        ValueError: no --cell, an --out, a wrong seed or a refused option.
    """
    options = given(values)
    if not values["cell"].value or "out" in options:
        raise ValueError(
            "--cell must be given and --out must not: runs go to a folder a seed. Received: "
            f"--cell={values['cell'].value} --out={options.get('out', '')}. Use --results=DIR"
        )
    seeds = [str(options["seed"])] if "seed" in options else values["seeds"].value
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        raise ValueError(
            f"--seeds must be numbers separated by commas. Received: {','.join(seeds)}"
        )
    if options.get("smoke"):  # one seed is enough to see whether it runs
        seeds = seeds[:1]
    found = []
    for seed in map(int, seeds):
        out = str(folder_of(values) / f"seed_{seed}")
        found.append(make_config(**options | {"seed": seed, "out": out}))
    refuse_without_effect(found[0], options)
    return found


def departures(cell: Cell, values: flags.FlagValues) -> dict:
    """Return the options given that are not the cell's, and those of the cell that are missing."""
    ours, theirs = given(parsed(arguments(cell))), given(values)
    names = sorted((ours.keys() | theirs.keys()) - {*BY_SEED, "smoke"})
    return {n: theirs.get(n) for n in names if ours.get(n) != theirs.get(n)}


def run(values: flags.FlagValues, known: tuple[Cell, ...] | None = None) -> int:
    """Train the seeds of a command line that are not finished; return the exit code.

    Raises:
        ValueError, OSError, FloatingPointError: as `experiments.runs.execute.execute`.
    """
    name = values["cell"].value
    cell = next((cell for cell in known or cells() if cell.name == name), None)
    configs = configurations(values)
    for number, config in enumerate(configs, 1):
        title = f"[{name} {number}/{len(configs)}]"
        if is_complete(config.out):
            refuse_if_changed(config)
            print(f"{title} {config.out}: finished before, skipped", flush=True)
            continue
        print(title, flush=True)
        _note(config, name, cell, values)
        cache = cache_dir(values["cache_dir"].value)
        if execute(config, "run_cell", cache_dir=cache) is None:
            return TERMINATED
    print(f"[{name}] {_found(configs, cell)}", flush=True)
    return 0


def _note(config, name, cell, values):
    """Write cell.json, unless the folder is another run's or the file somebody else's."""
    refuse_foreign(config)
    path = Path(config.out) / "cell.json"
    if _is_another_run(path.parent, config):
        return  # its checkpoint says so, and names the options
    if path.exists() and not (path.parent / "config.json").exists():
        try:
            read_object(path, CellNote)
        except RunError as error:
            raise ValueError(
                f"{path} must be a cell's note, or missing. Received: {error}. Move it away."
            ) from error
    content = {"cell": name, "departures": departures(cell, values) if cell else None}
    write_object(path, content, CellNote)


def _is_another_run(folder, config):
    try:
        return (folder / "config.json").exists() and bool(changed_options(config))
    except RunError:
        return False  # damaged: a run that goes on writes it anew


def _found(configs, cell):
    if configs[0].smoke:
        return f"{MARK}: it ran; the numbers mean nothing"
    errors = [summary_of(config.out)["test_error_median20"] for config in configs]
    text = f"test error {statistics.mean(errors):.2f}"
    text += f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    text += f" % (median of the last 20 evaluations, {len(errors)} seeds)"
    return f"{text}; the paper: {paper_text(cell)}" if cell else text


def main(argv: list[str]) -> int:
    """Run the cell of the command line; return the exit code."""
    with friendly():
        if len(argv) > 1:
            raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
        return run(flags.FLAGS)


if __name__ == "__main__":
    define_flags()
    app.run(main)

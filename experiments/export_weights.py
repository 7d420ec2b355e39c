r"""Export the ranking of a run's unlabeled examples: which harmed, which helped, by name.

    python -m experiments.export_weights --run=results/runs/mine --out=ranking.csv
    python -m experiments.export_weights --run=results/runs/mine --out=worst.csv --worst=200
    python -m experiments.train_images ... --exclude=worst.csv

Examples are ranked by their mean influence (Eq. 6) a visit, the most harmful first. A row has name,
source (unlabeled, or labeled and validation where the example is in those sets too), λ, visits,
mean influence and its standard error, pseudo-label and true label, confidence, loss, and `suspect`:
harmful beyond two standard errors over three visits or more. --worst, --best and --below choose
among the visited examples that are not labeled; --worst and --best read the run's table in blocks
and need no memory for all of U. Does not import TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.runs import export
from experiments.runs.errors import friendly
from ssl_weighting.data.tables import FORMATS, write_columns


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    flags.DEFINE_string("out", "", "file to write, .csv or .parquet", values)
    flags.DEFINE_integer("worst", 0, "only so many of the most harmful", flag_values=values)
    flags.DEFINE_integer("best", 0, "only so many of the most helpful", flag_values=values)
    flags.DEFINE_float("below", None, "only those with a λ below this", flag_values=values)
    flags.DEFINE_string(
        "keep_list",
        "",
        "file for the names of U without those that --worst or --below finds",
        values,
    )
    flags.DEFINE_string(
        "format", "plain", "plain, or spotlight: with the paths of pictures that are files", values
    )


def main(argv: list[str]) -> None:
    """Export what the command line asks for."""
    with friendly():
        choice = asked_for(argv, flags.FLAGS)
        values = flags.FLAGS
        ranking = export.read_ranking(Path(values.run), choice)
        columns = export.table(ranking, values.format)
        kept = None
        if values.keep_list:
            kept = export.write_keep_list(Path(values.keep_list), ranking)
        write_columns(values.out, columns)
    for remark in export.remarks(ranking):
        print(remark)
    count = len(columns["id"])
    if count < choice.count:
        print(f"There are no more than {count:,} on that side.")
    if kept is not None:
        print(f"{kept:,} names remain: {values.keep_list}")
    print(f"{count:,} of {ranking.overview.total:,} examples: {values.out}")


def asked_for(argv: list[str], values: flags.FlagValues) -> export.Choice:
    """Return which examples the command line asks for.

    Raises:
        ValueError: an option is missing, wrong, or does not go with another.
    """
    if len(argv) > 1:
        raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
    for name in ("run", "out"):
        if not values[name].value:
            raise ValueError(f"--{name} must be given. Received: nothing")
    given = [name for name in ("worst", "best", "below") if values[name].present]
    if len(given) > 1:
        raise ValueError(f"One of --{' and --'.join(given)} must be left out. Received: both")
    for name in ("out", "keep_list"):
        _check_place(name, values[name].value)
    if Path(values.out).suffix not in FORMATS:
        raise ValueError(f"--out must end in {' or '.join(FORMATS)}. Received: {values.out}")
    export.check_out(Path(values.out))
    if values.keep_list and Path(values.keep_list).resolve() == Path(values.out).resolve():
        raise ValueError(f"--keep_list must be another file than --out. Received: {values.out}")
    if values.format not in export.FORMATS:
        known = ", ".join(export.FORMATS)
        raise ValueError(f"--format must be one of {known}. Received: {values.format!r}")
    if values.keep_list and given not in (["worst"], ["below"]):
        raise ValueError(
            "--keep_list needs --worst or --below, without whose examples U remains. Received: "
            f"{' '.join(f'--{name}' for name in given) or 'neither'}"
        )
    return _choice(given, values)


def _choice(given, values) -> export.Choice:
    if not given:
        return export.Choice()
    (name,) = given
    value = values[name].value
    if not value > 0:
        raise ValueError(f"--{name} must be greater than 0. Received: {value}")
    if name == "below":
        return export.Choice(below=value)
    return export.Choice(export.side_of(name), value)


def _check_place(name, path):
    parent = Path(path).absolute().parent
    if path and (not parent.is_dir() or Path(path).is_dir()):
        raise ValueError(
            f"--{name} must name a file in a folder that is there. Received: --{name}={path}"
        )


if __name__ == "__main__":
    define_flags()
    app.run(main)

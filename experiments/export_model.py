"""Write the model of a finished run for programs that need nothing of this one.

    python -m experiments.export_model --run=results/runs/mine --out=mine_model

The folder then holds model.keras, which `keras.models.load_model` opens without this package (raw
inputs in, probabilities out), saved_model/ for TensorFlow Serving and other languages, classes.json
with the names of the classes and the form of inputs, and tokenizer.json for texts. See
docs/predict.md.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.options.kinds import KINDS
from experiments.runs.errors import friendly
from experiments.runs.saved_model import load_model, read_run
from experiments.serving.places import check_folder


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    flags.DEFINE_string("out", "", "folder to write", values)


def main(argv: list[str]) -> None:
    """Export the run of the command line."""
    given = flags.FLAGS
    if len(argv) > 1 or not given.run or not given.out:
        raise app.UsageError("--run and --out must be given, and nothing else.")
    with friendly():
        check_folder(given.out)
        run = Path(given.run)
        config = read_run(run, tuple(KINDS.values()))
        model = load_model(run, config)
        from experiments.serving.export import write_export
        from experiments.serving.portable import portable

        write_export(Path(given.out), run.resolve().name, portable(model, config), config)
    print(f"exported {run}: {given.out}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

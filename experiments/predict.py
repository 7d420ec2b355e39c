"""Label new images, texts or features with the model of a finished run.

    python -m experiments.predict --run=results/runs/mine photos/ more.npz one.jpg --out=labels.csv
    python -m experiments.predict --run=results/runs/text --input=csv:FILE --id_column=key
    python -m experiments.predict --run=results/runs/mine --input=features:FILE --probabilities

Inputs are paths, or KIND:PATH after --input, which may be repeated: a folder of image files
(sub-folders too), image files, packed:DIR of `pack`, an .npz file with an array `x`, uint8
[n, H, W, C]; a .csv file, UTF-8, with a column `text` (--text_column, --id_column, --delimiter for
other layouts); features (.npz, .parquet or a folder of .npy files), an array or column `x`, floats
[n, d], and maybe `names` (.parquet: `name`). Writes one line per example: name (its path in the
folder, its name or id, or its row from 0; of several inputs behind the input's path), class,
confidence. What cannot be read gets a line with the reason, and the program exits with 2;
--on_error=stop ends it there instead. Inputs may be larger than memory. Earlier answers stay until
the new ones are complete. See docs/predict.md.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.runs.errors import friendly
from experiments.runs.saved_model import load_model, read_run
from experiments.serving.answers import Answers, check_out
from experiments.serving.source import Source, sources
from experiments.serving.wanted import define_inputs, wanted_by
from ssl_weighting.data.images.picture import PictureError
from ssl_weighting.data.progress import counted

SKIPPED = 2  # exit code: there are answers, but not for every example


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    define_inputs(values)
    flags.DEFINE_string("out", "labels.csv", "file to write", values)
    flags.DEFINE_bool("probabilities", False, "write a column for each class", values)
    flags.DEFINE_integer("top_k", 1, "likeliest classes to write", flag_values=values)


def check_top_k(top_k: int, class_names: list[str]) -> None:
    """Check that there are as many classes.

    Raises:
        ValueError: there are not.
    """
    if not 1 <= top_k <= len(class_names):
        raise ValueError(
            f"--top_k must be from 1 to {len(class_names)}, the classes of this run. "
            f"Received: {top_k}"
        )


def label(run: Path, config: dict, inputs: list[Source], answers: Answers) -> None:
    """Write what the model of a run says of the inputs.

    Args:
        run, config: as of `read_run`.
        inputs: of the kinds that it takes.
        answers: where it is written.

    Raises:
        OSError, ValueError: something cannot be read or written, or no image can.
    """
    model = load_model(run, config)
    from experiments.serving.predictor import predictors

    say = predictors(model, config)
    chunks = ((source.kind, chunk) for source in inputs for chunk in source.chunks())
    total = sum(source.count for source in inputs)
    for kind, chunk in counted(chunks, total, "labeling", each=lambda pair: len(pair[1])):
        if chunk.names:
            answers.add(chunk.names, say[kind](chunk.inputs))
        answers.skip(chunk.skipped)
    if not answers.count:
        raise PictureError(*answers.first)
    answers.finish()


def main(argv: list[str]) -> int:
    """Label the inputs of the command line; return the exit code."""
    given = flags.FLAGS
    paths = [*given.input, *argv[1:]]
    if not given.run or not paths:
        raise app.UsageError("--run and an input must be given.")
    with friendly():
        check_out(given.out)
        config = read_run(Path(given.run))
        names = config["class_names"]
        check_top_k(given.top_k, names)
        inputs = sources(paths, wanted_by(config, given))
        with Answers(given.out, names, given.top_k, given.probabilities) as answers:
            label(Path(given.run), config, inputs, answers)
    kinds = {source.kind.rows for source in inputs}
    rows = kinds.pop() if len(kinds) == 1 else "examples"
    print(f"labeled {answers.count} {rows}: {given.out}")
    if answers.skipped:
        name, reason = answers.first
        said = f"{answers.skipped} could not be read: see `problem` there"
        print(f"{said}, such as {name}: {reason}")
    return SKIPPED if answers.skipped else 0


if __name__ == "__main__":
    define_flags()
    app.run(main)

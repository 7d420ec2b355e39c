"""Are the influences of a run noise, and do they find wrong pseudo-labels? One line a size of V.

  python -m experiments.examine_scores --run=results/study/fashion_mnist_v160/per_example/seed_1

Restores a run that learned weights, scores examples of U by Eq. 6 with sets V of several sizes,
drawn out of the *test* set (that is what makes it an examination, not a method), and prints

  rank corr.  Spearman's correlation with the scores by the whole test set: how little is noise of V
  AUROC       of the negative score for "the pseudo-label is wrong", 0.5 is chance; beside it that
              of confidence, of the loss and of -lambda on the same examples

over the examples that pass the mask, and writes them to RUN/scores.csv. AUROC needs true labels.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from ssl_weighting.data.files import write_atomically


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", None, "folder of a run with learned weights", values, required=True)
    flags.DEFINE_list("sizes", ["10", "40", "160", "640"], "sizes of V", values)
    flags.DEFINE_integer("examples", 2000, "examples of U to score", 3, flag_values=values)
    flags.DEFINE_integer("repeats", 8, "sets V of each size", 1, flag_values=values)
    define_flag(values)


def main(argv: list[str]) -> None:
    """Examine the run of the command line."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        folder, sizes = Path(values.run), [int(size) for size in values.sizes]
        from experiments.verification import scores  # loads TensorFlow: once the flags stand

        run = scores.restored(folder, values.examples, cache_dir(values.cache_dir))
        examination = scores.Examination(run)
        rows = scores.examine(examination, sizes, values.repeats)
        lines = (",".join(map(str, line)) for line in (scores.COLUMNS, *rows))
        write_atomically(folder / "scores.csv", "".join(f"{line}\n" for line in lines))
    wrong = examination.wrong[examination.known]
    share = f"{wrong.mean():.1%} of pseudo-labels wrong" if len(wrong) else "no true labels"
    print(f"step {examination.step}: {len(examination.ids)} examples pass the mask, {share}")
    print("  |V|   rank corr.      AUROC")
    for _, size, *numbers in rows:
        print("{:5d}  {:.3f} ± {:.3f}  {:.3f} ± {:.3f}".format(size, *numbers))
    for name, others in examination.others.items():
        print(f"AUROC of {name}: {examination.area(others):.3f}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

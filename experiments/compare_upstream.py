"""Set the finished cells beside the paper's numbers, upstream's and the best peers'.

  python -m experiments.compare_upstream --out=results

Reads OUT/paper, writes OUT/comparison.md and prints a line for each cell that has runs. Takes
seconds and never imports TensorFlow. Cells that are not run say so; smoke runs are left out.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.pages.files import write_pages
from experiments.paper import comparison
from experiments.runs.errors import friendly

PAGE = "comparison.md"


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("out", "results", "results folder", values)


def main(argv: list[str]) -> None:
    """Write and print the comparison."""
    with friendly():
        if len(argv) > 1:
            raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
        out = Path(flags.FLAGS.out)
        write_pages(out, {PAGE: comparison.page(out)}, {PAGE: comparison.TITLE})
        print(f"{comparison.summary(out)}\nPage: {out / PAGE}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

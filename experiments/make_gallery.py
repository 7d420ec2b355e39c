"""Make the gallery of a finished run: one page with all examples, their weights and pictures.

    python -m experiments.make_gallery --run=results/runs/mine
    python -m experiments.make_gallery --run=results/runs/mine --out=mine.html --with_test

Writes RUN/gallery.html, which a browser opens from the disk: sort, filter, search, tick, and take
the names along for `--exclude=FILE` of the training programs. Pictures of more than 30 MB lie in a
folder beside it. docs/gallery.md tells the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from experiments.gallery.rows import check_run
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run", values)
    flags.DEFINE_string("out", "", "page to write; empty: gallery.html in the run folder", values)
    flags.DEFINE_bool("with_test", False, "show the test examples too", values)
    define_flag(values)


def main(argv: Sequence[str]) -> None:
    """Write the page and say where it is."""
    given = flags.FLAGS
    if len(argv) > 1 or not given.run:
        raise app.UsageError("--run must be given, and nothing else but flags.")
    with friendly():
        out = Path(given.out) if given.out else None
        if out is not None and (out.suffix != ".html" or not out.parent.is_dir()):
            raise ValueError(
                "--out must be a file NAME.html in a folder that is there. "
                f"Received: --out={given.out}"
            )
        check_run(Path(given.run))
        from experiments.gallery.write import write_gallery  # and TensorFlow, which takes seconds

        made = write_gallery(Path(given.run), out, cache_dir(given.cache_dir), given.with_test)
    beside = f", with {made.sheets} files of pictures beside it" if made.sheets else ""
    print(f"{made.examples:,} examples: {made.path}{beside}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

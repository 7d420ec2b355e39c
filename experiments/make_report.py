"""Make the report of all finished runs: results/report.html, report.md, results.csv, figures/.

    python -m experiments.make_report --runs=results/runs --out=results

Takes seconds: it reads what the training programs wrote and does not import TensorFlow. Runs that
are not finished or cannot be read are listed in the report with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from experiments.pages.document import Lead
from experiments.report.report import Report, write_report
from experiments.runs.errors import friendly


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string(
        "runs", "results/runs", "Folder that holds the run folders, at any depth.", values
    )
    flags.DEFINE_string("out", "results", "Folder to write the report to.", values)


def main(arguments: Sequence[str]) -> None:
    """Write the report and print its summary."""
    if len(arguments) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(arguments[1:])}. Use --runs and --out.")
    out = Path(flags.FLAGS.out)
    with friendly():
        report = write_report(flags.FLAGS.runs, out)
    print(console_text(report, out))


def console_text(report: Report, out: Path) -> str:
    """Return what was found, the summary in words, and where the page is."""
    lines = [report.document.subtitle]
    for block in report.document.blocks:
        if isinstance(block, Lead):
            lines += block.paragraphs
    return "\n".join([*lines, f"Report: {out / 'report.html'}"])


if __name__ == "__main__":
    define_flags()
    app.run(main)

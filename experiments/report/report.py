"""The report as a whole: collects the runs, builds the document, writes every file atomically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from experiments.pages.document import Block, Document, Lead, pictures_in
from experiments.pages.files import write_pages
from experiments.pages.render_html import render_html
from experiments.pages.render_markdown import render_markdown
from experiments.pages.wording import plural
from experiments.report import provenance, sections
from experiments.report.collect import Collection, collect_runs
from experiments.report.comparisons import Comparison, compare_setting
from experiments.report.csv_table import CSV_COLUMNS, results_csv
from experiments.report.detection import detect_setting
from experiments.report.galleries import gallery_blocks
from experiments.report.grouping import Setting, group_runs

TITLE = "Not all unlabeled data are equal: results"


@dataclass(frozen=True, eq=False)
class Report:
    """What was found and what is written about it."""

    collection: Collection
    document: Document
    csv: str


def make_report(runs: Path | str, out: Path | str = ".") -> Report:
    """Read every run below `runs` and build the report in memory.

    Args:
        runs: folder of the runs.
        out: folder that the report is for; it links to what lies below.

    Raises:
        ValueError: `runs` is not a folder.
    """
    collection = collect_runs(runs)
    settings, doubled = group_runs(collection.rows)
    comparisons = [item for setting in settings for item in compare_setting(setting)]
    blocks = [
        *(_content(settings, comparisons) if settings else [NOTHING]),
        *gallery_blocks(collection.finished, Path(runs), Path(out)),
        *provenance.left_out_blocks(collection, doubled),
    ]
    document = Document(TITLE, _subtitle(collection, settings), tuple(blocks))
    return Report(collection, document, results_csv(settings, comparisons))


NOTHING = Lead(
    (
        "No finished run was found: nothing can be said yet. A run is finished when its "
        "summary.json says “complete”.",
    )
)


def _content(settings: tuple[Setting, ...], comparisons: list[Comparison]) -> list[Block]:
    detections = {setting: detect_setting(setting) for setting in settings}
    runs = [run for setting in settings for run in setting.runs]
    return [
        *provenance.warning_blocks(settings),
        *sections.summary_section(settings, comparisons, detections),
        *sections.sources_section(settings),
        *sections.results_section(settings, comparisons),
        *sections.toy_section(settings),
        *sections.curves_section(settings),
        *sections.weights_section(settings),
        *sections.gallery_section(settings),
        *sections.texts_section(settings),
        *sections.detection_section(settings, detections),
        *provenance.deviation_blocks(settings),
        *provenance.version_blocks(runs),
        *provenance.command_blocks(settings),
    ]


def _subtitle(collection: Collection, settings: tuple[Setting, ...]) -> str:
    parts = [
        f"{plural(len(collection.finished), 'finished run')} in {plural(len(settings), 'setting')}"
    ]
    if collection.unfinished:
        parts.append(f"{len(collection.unfinished)} not finished")
    if collection.corrupt:
        parts.append(f"{len(collection.corrupt)} unreadable")
    return ", ".join(parts) + "."


def write_report(runs: Path | str, out: Path | str) -> Report:
    """Write figures/*.png, results.csv, report.md and report.html below `out`.

    The page comes last: whoever sees a new page also sees the figures and tables it speaks of.

    Raises:
        ValueError: `runs` is not a folder, or `out` holds other files of these names.
        OSError: `out` cannot be written.
    """
    report = make_report(runs, out)
    pictures = pictures_in(report.document.blocks)
    files = {f"figures/{picture.name}.png": picture.png for picture in pictures} | {
        "results.csv": report.csv,
        "report.md": render_markdown(report.document),
        "report.html": render_html(report.document),
    }
    head = ",".join(CSV_COLUMNS[:2])
    marks = {"results.csv": head, "report.md": TITLE, "report.html": TITLE}
    write_pages(Path(out), files, marks)
    return report

"""Names that a run may have recorded: whatever they are, its report is written, and shows text."""

import csv
import os

import pytest
from reporting_runs import evaluation, extremes, weights, write_run

from experiments.report.report import write_report
from ssl_weighting.data.csv_cells import unguarded
from ssl_weighting.data.names import printable

NAMES = {
    "bytes that are not UTF-8": os.fsdecode(b"caf\xe9"),
    "half a pair": "\ud83d",
    "a formula": "=1+1",
    "markup": '"><script>alert(1)</script>',
    "mathematics": r"$\frac{1}{$ _x^ \notacommand",
    "controls": "a\x00b\x1b[31m\x7f\u0085",
    "lines": "a\nb\r\nc\u2028d | e",
    "right to left": "\u202egnp.exe \u05d0",
    "long": "word " * 2000,
    "beyond the plane": "😀 日本 \U000e0041",
    "format marks": "{name} %s %(x)d {0.__class__}",
}
HISTOGRAM = {"edges": [0.0, 1.0, 2.0], "counts": [3, 4]}


@pytest.fixture(scope="module", params=NAMES)
def written(request, tmp_path_factory):
    """(folder of the report, the name) of two runs that are all called by one name."""
    name, root = NAMES[request.param], tmp_path_factory.mktemp("runs")
    # Where runs lie is of the machine: any bytes; half a pair is none.
    called = "run " + name.translate({0: "", ord("/"): "", 0xD83D: ""})[:40]
    words = {"dataset": name, "source": f"file {name}", "deviations": [name]}
    config = words | {"class_names": [name, f"{name} 2"], "notes": [name], "commit": name}
    evals = [evaluation(step, 20.0, histogram=HISTOGRAM) for step in (10, 20, 40)]
    for seed in (1, 2):
        write_run(
            root, f"{called} {seed}", algorithm="fixmatch", weighting="per_example", seed=seed,
            evals=evals, summary=words, config=config, table=weights(), images=extremes(),
        )  # fmt: skip
    (root / called / "x").mkdir(parents=True)
    (root / called / "x" / "config.json").write_text("{")
    report = write_report(root, root / "report")
    assert len(report.collection.finished) == 2 and len(report.collection.unfinished) == 1
    return root / "report", name


def test_every_file_is_text_without_markup_of_the_name(written):
    folder, _ = written
    page = (folder / "report.html").read_text("utf-8")
    assert "<script>alert" not in page and "\x00" not in page and "\x1b" not in page
    assert "<script>alert" not in (folder / "report.md").read_text("utf-8")
    assert list((folder / "figures").glob("*.png"))


def test_the_table_holds_the_name(written):
    folder, name = written
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert not row["dataset"].startswith(("=", "+", "-", "@"))
    assert unguarded(row["dataset"]) == printable(name)

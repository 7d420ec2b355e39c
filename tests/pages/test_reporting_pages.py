"""The report's pages: nothing in them runs or fetches, pictures decode, files are whole."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image
from places import ROOT
from reporting_runs import evaluation, extremes, snapshots, weights, write_run

from experiments.pages import render_html
from experiments.pages.document import Code, Document, Lead, Paragraph, Picture, pictures_in
from experiments.pages.files import slug
from experiments.pages.render_markdown import escape as escape_markdown
from experiments.pages.render_markdown import render_markdown
from experiments.report.report import make_report, write_report
from ssl_weighting.data.files import write_atomically

EVIL = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Collects the tags and attributes of a page, and the text of its table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report with everything in it, all names and texts hostile; (out folder, page text)."""
    root = tmp_path_factory.mktemp("full")
    config = {
        "class_names": [EVIL, "$a^b$"],
        "deviations": [EVIL],
        "versions": {EVIL: EVIL},
        "program": EVIL,
    }
    histogram = {"edges": [0.0, 1.0, 2.0], "counts": [3, 7]}
    lambdas = [{"kind": "lambda", "step": 10, "lam_quantiles": [0, 0.1, 0.5, 1, 1.5, 1.9, 2]}]
    runs = root / "runs"
    for algorithm, weighting in (
        ("supervised", "fixed"),
        ("pseudo_label", "fixed"),
        ("pseudo_label", "per_example"),
    ):
        name = f"{algorithm}-{weighting}"
        options = {"algorithm": algorithm, "weighting": weighting, "config": config}
        toy = snapshots(seed=len(name))
        evals = [evaluation(step, 20.0, histogram=histogram) for step in (10, 40)]
        learned = weighting == "per_example"
        images = {"table": weights(), "images": extremes(channels=3)} if learned else {}
        text = {"source": EVIL, "method": f"{name} {EVIL}"}
        write_run(runs, f"moons-{name}", toy=toy, summary=text, evals=evals, **options)
        more = {"lambdas": lambdas, "dataset": EVIL, "evals": evals, **images}
        write_run(runs, f"images-{name}", summary=text, **more, **options)
    (runs / EVIL.replace("/", "-")).mkdir()
    (runs / EVIL.replace("/", "-") / "summary.json").write_text(f'"{EVIL}')
    write_run(runs, "killed").joinpath("summary.json").unlink()
    write_report(runs, root / "out")
    return root / "out", (root / "out" / "report.html").read_text(encoding="utf-8")


def test_no_name_or_text_becomes_markup(full):
    out, page = full
    assert "<script" not in page and "&lt;script&gt;alert(&quot;1&quot;)" in page
    assert {"script", "iframe", "object", "link", "form"}.isdisjoint(Page(page).tags)
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "<script" not in re.sub(r"```.*?```", "", markdown, flags=re.S)


def test_the_page_fetches_nothing_and_runs_nothing(full):
    parsed = Page(full[1])
    for name, value in parsed.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "action", "data", "poster", "srcset"):
            assert value.startswith(("data:image/png;base64,", "#section-"))
    assert "@import" not in full[1] and "url(" not in full[1]
    assert ("content", render_html.POLICY) in parsed.attributes


def test_every_picture_decodes_and_is_saved(full):
    out, page = full
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 8
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture, validate=True))) as image:
            image.verify()
    linked = re.findall(r"\]\(figures/([^)]+)\)", (out / "report.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(path.name for path in (out / "figures").iterdir())
    assert "figure-2-circles-moons.png" in linked
    for name in linked:
        with Image.open(out / "figures" / name) as image:
            image.verify()


def test_what_is_left_out_is_named(full):
    page = full[1]
    assert "6 finished runs in 2 settings, 1 not finished, 1 unreadable." in page
    assert "last recorded step 40" in page and "summary.json is not valid JSON" in page


def test_nothing_half_written_stays_behind(full):
    names = sorted(path.name for path in full[0].iterdir())
    assert names == ["figures", "report.html", "report.md", "results.csv"]


def test_sections_come_in_order(full):
    titles = re.findall(r"<h2 id=\"section-\d+\">([^<]+)</h2>", full[1])
    assert titles == [
        "Data",
        "Results",
        "Toy sets: boundaries and weights",
        "Learning curves",
        "Weights over training",
        "Most harmful and helpful images",
        "Does a low λ find wrong pseudo-labels?",
        "Deviations from the paper",
        "Versions and machines",
        "Commands",
        "Runs left out",
    ]


def test_without_runs_there_is_still_a_report(tmp_path):
    report = write_report(tmp_path, tmp_path / "out")
    assert isinstance(report.document.blocks[0], Lead)
    assert "No finished run was found" in (tmp_path / "out" / "report.html").read_text()


def test_without_toys_images_and_weights_those_sections_are_gone(tmp_path):
    write_run(tmp_path, "run")
    page = render_html.render_html(make_report(tmp_path).document)
    assert "Toy sets" not in page and "up-weighted" not in page
    assert "Weights over training" not in page
    assert "No finished run with weights recorded them per example." in page


def test_data_sets_with_alike_names_have_pictures_of_their_own(tmp_path):
    for number, dataset in enumerate(("npz:a/b", "npz:a-b", "npz_a_b")):
        write_run(tmp_path, str(number), dataset=dataset)
    names = [picture.name for picture in pictures_in(make_report(tmp_path).document.blocks)]
    assert len(names) == len(set(names)) == 3 and "learning-curves-npz-a-b-10" in names


def test_the_page_stays_small(monkeypatch):
    monkeypatch.setattr(render_html, "IMAGE_BUDGET", 100)
    picture = Picture("a", b"\x89PNG\r\n\x1a\n" + bytes(200), "Title", "Caption")
    page = render_html.render_html(Document("t", "s", (picture,)))
    assert "see figures/a.png" in page and "data:image/png;base64," not in page


def test_a_caption_opens_with_its_title_as_a_sentence():
    png = b"\x89PNG\r\n\x1a\n" + bytes(200)
    pictures = Picture("a", png, "Errors", "Means."), Picture("b", png, "Who wins?", "Means.")
    page = Document("T", "", pictures)
    text = render_markdown(page, "figures")
    assert "**Errors.** Means." in text and "**Who wins?** Means." in text
    text = render_html.render_html(page)
    assert "<b>Errors.</b> Means." in text and "<b>Who wins?</b> Means." in text


def test_markdown_of_hostile_text():
    assert escape_markdown("a|b\n<i>*c*`[x](y)") == r"a\|b &lt;i&gt;\*c\*\`\[x\](y)"
    document = Document("t", "s", (Code("a ``` b"), Paragraph("# no heading")))
    text = render_markdown(document)
    assert "````\na ``` b\n````" in text and "\n\\# no heading" in text


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_slugs_are_safe_file_names():
    assert slug("FixMatch + Λ", "../a b", 3) == "fixmatch-lambda-a-b-3"
    assert slug("日本") == "figure"


PROGRAM = """
import sys
from absl import app, flags
from experiments import make_report
make_report.define_flags()
try:
    app.run(make_report.main, argv=["make_report", *sys.argv[1:]])
finally:
    print("loaded:", *(n for n in ("tensorflow", "keras", "matplotlib.pyplot") if n in sys.modules))
"""


def run_program(*arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_program_prints_the_summary_and_loads_no_tensorflow(tmp_path):
    write_run(tmp_path / "runs", "run")
    done = run_program(f"--runs={tmp_path / 'runs'}", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "1 finished run in 1 setting." in done.stdout
    assert f"Report: {tmp_path / 'report.html'}" in done.stdout
    assert done.stdout.rstrip().endswith("loaded:")


def test_the_program_refuses_a_missing_folder(tmp_path):
    done = run_program(f"--runs={tmp_path / 'no'}", f"--out={tmp_path}")
    assert done.returncode == 1
    assert "`runs` must be a folder that holds run folders" in done.stdout + done.stderr

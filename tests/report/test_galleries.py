"""The report links to galleries that lie below it, and to no other."""

import reporting_runs

from experiments.pages.render_html import render_html
from experiments.report.report import make_report


def test_galleries_beside_runs_are_linked(tmp_path):
    for name in ("a b", "other"):
        reporting_runs.write_run(tmp_path / "runs", name)
    assert "Galleries" not in render_html(make_report(tmp_path / "runs", tmp_path).document)
    (tmp_path / "runs/a b/gallery.html").write_text("")
    page = render_html(make_report(tmp_path / "runs", tmp_path).document)
    assert page.count("gallery.html") == 1
    assert '<a href="runs/a%20b/gallery.html"><b>a b</b></a>' in page
    elsewhere = render_html(make_report(tmp_path / "runs", tmp_path / "out").document)
    assert "gallery.html" not in elsewhere

"""A refit and what learned its weights are two rows of the tables and one run folder."""

from reporting_runs import evaluation, write_run

from experiments.report.grouping import group_runs
from experiments.report.report import make_report


def test_a_refit_is_two_rows_of_one_folder(tmp_path):
    before = {
        "method": "Supervised alone", "split_hash": "f" * 16, "test_error_median20": 30.0,
        "test_error_last": 30.0, "raw_test_error_last": 30.0,
    }  # fmt: skip
    learning = [evaluation(10, 30.0) | {"kind": "eval_before_refit"}]
    for name in ("first", "second"):
        write_run(tmp_path, name, lambdas=learning, summary={"before_refit": before})
    report = make_report(tmp_path)
    assert [run.name for run in report.collection.finished] == ["first", "second"]
    assert [run.name for run in report.collection.rows] == [
        "first", "first (before the refit)", "second", "second (before the refit)",
    ]  # fmt: skip
    assert report.document.subtitle == "2 finished runs in 1 setting."
    (setting,), doubled = group_runs(report.collection.rows)
    assert [run.name for run in setting.runs] == ["first", "first (before the refit)"]
    assert doubled == ("second: not counted, it has the settings and the seed of first",)

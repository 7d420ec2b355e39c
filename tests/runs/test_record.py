"""The run record: one schema for writer and reader, and what makes two runs a pair."""

import json

import pytest
from reporting_runs import write_run

from experiments.report.comparisons import main_error
from experiments.runs.pairs import comparable
from experiments.runs.record import (
    Configuration,
    Summary,
    is_complete,
    read_run,
    write_config,
    write_summary,
)
from experiments.runs.run_files import RunError, kinds_of


def stated(folder, name="summary.json"):
    return json.loads((folder / name).read_text())


def test_what_is_written_is_read(tmp_path):
    folder = write_run(tmp_path, "made", summary={"devices": 2}, config={"commit": "abc"})
    summary = stated(folder)
    config = {
        k: v for k, v in stated(folder, "config.json").items() if k in kinds_of(Configuration)
    }
    again = tmp_path / "again"
    again.mkdir()
    write_config(again, config)
    write_summary(again, summary)
    (again / "metrics.jsonl").write_bytes((folder / "metrics.jsonl").read_bytes())
    run = read_run(again, "r")
    assert (run.summary.devices, run.config["commit"]) == (2, "abc") and is_complete(again)
    assert {k: v for k, v in vars(run.summary).items() if k in summary} == summary
    assert not list(again.glob("partial-*"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("test_error_last", 101.0, r"summary.json: `test_error_last` must be a number in \[0, 100"),
        ("lambda_share", 2, r"`lambda_share` must be a number in \[0, 1\] or null"),
        ("tset_error", 1.0, r"summary.json: unknown to its schema: tset_error"),
    ],
)
def test_a_writer_refuses_what_no_reader_would_take(tmp_path, field, value, message):
    summary = stated(write_run(tmp_path, "made")) | {field: value}
    with pytest.raises(RunError, match=message):
        write_summary(tmp_path, summary)
    assert not is_complete(tmp_path)


@pytest.mark.parametrize(("flags", "expected"), [({}, 7.0), ({"inner": "solve"}, 3.0)])
def test_the_error_that_is_compared_is_a_median_or_that_of_the_last_solution(
    tmp_path, flags, expected
):
    evals = [
        {"kind": "eval", "step": step, "test_error": error, "raw_test_error": error,
         "validation_error": error, "validation_loss": 1.0}
        for step, error in enumerate((9.0, 8.0, 6.0, 3.0), start=1)
    ]  # fmt: skip
    run = read_run(write_run(tmp_path, "made", evals=evals, flags=flags), "made")
    assert run.test_error == expected == main_error(run)


def test_an_older_run_has_the_defaults_of_fields_that_it_lacks(tmp_path):
    run = read_run(write_run(tmp_path, "old"), "old")
    assert (run.summary.devices, run.summary.smoke, run.circumstances.precision) == (
        1, False, "float32",
    )  # fmt: skip
    assert {"devices", "smoke"} <= kinds_of(Summary).keys()


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, []),
        ({"summary": {"devices": 2}}, ["devices"]),
        ({"flags": {"precision": "mixed_float16"}}, ["precision"]),
        ({"summary": {"source": "a copy"}}, ["source"]),
        ({"config": {"split_hash": "other"}}, ["split"]),
        ({"config": {"split_hash": "other"}, "as_labels": True}, []),
        (
            {"config": {"split_hash": "other"}, "summary": {"devices": 8, "source": "x"}},
            ["devices", "source", "split"],
        ),
    ],
)
def test_a_pair_shares_all_but_the_method(tmp_path, changed, names):
    one = read_run(write_run(tmp_path, "one"))
    other = read_run(write_run(tmp_path, "other", algorithm="fixmatch", **changed))
    assert comparable(one, other) == comparable(other, one) == names


def with_inputs(views, weights="a", vocabulary="c"):
    return {"strong_views": views, "weights": weights, "vocabulary": vocabulary}


WORDS, PARAPHRASES = "1 tf_idf 0.7 1", "back_translation b"


@pytest.mark.parametrize(
    ("inputs", "others", "names"),
    [
        (with_inputs(PARAPHRASES), with_inputs(PARAPHRASES), []),
        (with_inputs(PARAPHRASES), with_inputs("back_translation d"), ["views"]),
        (with_inputs(PARAPHRASES), with_inputs(WORDS), ["views"]),
        (with_inputs(WORDS), with_inputs("1 uniform 0.5 1"), []),  # told by options
        (with_inputs(""), with_inputs(PARAPHRASES), []),  # supervised
        (with_inputs(""), with_inputs(WORDS, weights="e"), ["bert"]),
        (with_inputs(WORDS), with_inputs(WORDS, vocabulary="e"), ["bert"]),
        (with_inputs(WORDS), with_inputs(PARAPHRASES, weights="e"), ["views", "bert"]),
        (with_inputs(PARAPHRASES), {}, []),  # of images
        (with_inputs(PARAPHRASES), None, []),  # older
    ],
)
def test_a_pair_shares_the_content_that_both_recorded(tmp_path, inputs, others, names):
    one = read_run(write_run(tmp_path, "one", config={"inputs": inputs}))
    other = read_run(write_run(tmp_path, "other", config={"inputs": others}))
    assert comparable(one, other) == comparable(other, one) == names

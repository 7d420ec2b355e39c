"""Collecting runs: what is finished, what is not, what is broken, and how runs are grouped."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reporting_runs import evaluation, extremes, snapshots, weights, write_run

from experiments.report.collect import collect_runs
from experiments.report.grouping import group_runs


def reasons(root):
    found = collect_runs(root)
    return dict(found.corrupt)


def test_finds_finished_runs_at_any_depth_and_at_the_top(tmp_path):
    write_run(tmp_path, "a/b/run", table=weights(), images=extremes(), toy=snapshots())
    found = collect_runs(tmp_path)
    assert [run.name for run in found.finished] == ["a/b/run"]
    assert (found.unfinished, found.corrupt) == ((), ())
    run = found.finished[0]
    assert run.remarks == () and None not in (run.weights, run.extremes, run.snapshots)
    assert len(collect_runs(tmp_path / "a/b/run").finished) == 1


def test_does_not_search_inside_a_run(tmp_path):
    folder = write_run(tmp_path, "run")
    write_run(folder / "checkpoints", "old")
    assert len(collect_runs(tmp_path).finished) == 1


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`runs` must be a folder that holds run folders"):
        collect_runs(tmp_path / "nowhere")


def test_unfinished_runs_tell_how_far_they_came(tmp_path):
    write_run(tmp_path, "killed").joinpath("summary.json").unlink()
    write_run(tmp_path, "stopped", summary={"status": "stopped"})
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.json").write_text("{}")
    with open(tmp_path / "killed" / "metrics.jsonl", "a") as file:
        file.write('{"kind": "eval", "st')
    assert collect_runs(tmp_path).unfinished == (
        ("killed", "last recorded step 40"),
        ("new", "no metrics yet"),
        ("stopped", "last recorded step 40"),
    )


BROKEN_SUMMARIES = [
    ('{"status": "comp', "summary.json is not valid JSON"),
    ("[1]", "summary.json must hold a JSON object. Received: list"),
    ('{"status": NaN}', "NaN is not a JSON value"),
    ("[" * 100_000, "summary.json is not valid JSON"),
    ('{"status": "complete"}', "summary.json: `dataset` must be text. Received: dataset=None"),
]


@pytest.mark.parametrize(("text", "reason"), BROKEN_SUMMARIES)
def test_a_broken_summary_is_named(tmp_path, text, reason):
    write_run(tmp_path, "run").joinpath("summary.json").write_text(text)
    assert reason in reasons(tmp_path)["run"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("seed", True, "a whole number"),
        ("seed", -1, "a whole number"),
        ("steps", 1.5, "a whole number"),
        ("test_error_median20", 10**400, r"a number in [0, 100]"),
        ("lambda_share", 1.5, r"a number in [0, 1] or null"),
        ("validation_as_labels", "yes", "true or false"),
        ("deviations", ["a", 1], "a list of texts"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(tmp_path, field, value, expected):
    write_run(tmp_path, "run", summary={field: value})
    assert f"summary.json: `{field}` must be {expected}" in reasons(tmp_path)["run"]


def test_a_missing_or_broken_config_is_named(tmp_path):
    write_run(tmp_path, "missing").joinpath("config.json").unlink()
    write_run(tmp_path, "wrong", config={"split_hash": 3})
    write_run(tmp_path, "bytes").joinpath("config.json").write_bytes(b"\xff\xfe")
    found = reasons(tmp_path)
    assert found["missing"] == "config.json cannot be read: No such file or directory"
    assert "config.json: `split_hash` must be text" in found["wrong"]
    assert "config.json cannot be read" in found["bytes"]


def test_broken_metrics_are_named_by_line(tmp_path):
    good = json.dumps(evaluation(10, 20.0))
    texts = {
        "cut": (good + '\n{"kind": "ev', "metrics.jsonl line 2 is not valid JSON"),
        "twice": (f"{good}\n{good}\n", "line 2: step 10 of kind 'eval' is doubled"),
        "empty": ("", "metrics.jsonl holds no evaluation"),
        "error": (json.dumps(evaluation(10, 120.0)), "line 1: `test_error` must be a number"),
        "bins": (
            json.dumps(evaluation(10, 20.0, histogram={"edges": [0, 1], "counts": [1, 2]})),
            "`lam_histogram` must be an object of k + 1 increasing edges",
        ),
    }
    for name, (text, _) in texts.items():
        write_run(tmp_path, name).joinpath("metrics.jsonl").write_text(text)
    found = reasons(tmp_path)
    for name, (_, reason) in texts.items():
        assert reason in found[name]


def test_a_summary_that_contradicts_the_metrics_is_not_believed(tmp_path):
    write_run(tmp_path, "run", error=20.0, summary={"test_error_median20": 10.0})
    expected = "summary.json says test_error_median20 = 10.00, but metrics.jsonl gives 20.00"
    assert reasons(tmp_path) == {"run": expected}


def test_a_broken_extra_file_leaves_the_run_in_and_is_remarked(tmp_path):
    folder = write_run(tmp_path, "run", table=weights(), images=extremes(), toy=snapshots())
    (folder / "example_weights.parquet").write_bytes(b"PAR1 no")
    (folder / "extreme_examples.npz").write_bytes(b"PK\x03\x04 no")
    np.savez(folder / "snapshots.npz", iterations=np.array([0]))
    (run,) = collect_runs(tmp_path).finished
    assert (run.weights, run.extremes, run.snapshots) == (None, None, None)
    assert [remark.split()[0] for remark in run.remarks] == [
        "example_weights.parquet",
        "extreme_examples.npz",
        "snapshots.npz",
    ]
    assert str(tmp_path) not in " ".join(run.remarks)


def bad_weights(**changes):
    return {**weights(), **changes}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (bad_weights(lam=np.full(20, np.nan)), "holds weights that are not finite"),
        (bad_weights(id=np.zeros(20, np.int64)), "holds the same id twice"),
        (bad_weights(visits=["x"] * 20), "cannot be read"),
        ({"id": [1]}, "cannot be read"),
    ],
)
def test_wrong_example_weights_are_remarked(tmp_path, table, reason):
    write_run(tmp_path, "run", table=table)
    (run,) = collect_runs(tmp_path).finished
    assert run.weights is None and reason in run.remarks[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lam": np.ones((3, 7))}, r"`lam` must have shape (3, 40). Received: (3, 7)"),
        ({"probability": np.full((3, 7, 9), np.nan)}, "`probability` must hold finite numbers"),
        ({"grid_x": np.zeros(9)}, "the grid must be increasing"),
        ({"labeled_label": np.array(["a", "b"])}, "`labeled_label` must hold finite numbers"),
        ({"labeled_label": np.array([{}, {}])}, "cannot be read"),  # a pickle: never loaded
    ],
)
def test_wrong_snapshots_are_remarked(tmp_path, change, reason):
    write_run(tmp_path, "run", toy={**snapshots(), **change})
    (run,) = collect_runs(tmp_path).finished
    assert run.snapshots is None and reason in run.remarks[0]


def test_wrong_extreme_images_are_remarked(tmp_path):
    write_run(tmp_path, "run", images={**extremes(), "up_images": np.zeros((2, 8, 8), np.uint8)})
    (run,) = collect_runs(tmp_path).finished
    assert "`up_images` must be uint8 [n, H, W, 1 or 3] with n ids" in run.remarks[0]


def test_influence_that_is_not_a_number_is_no_fault(tmp_path):
    table = weights()
    assert np.isnan(table["last_influence"]).all()
    write_run(tmp_path, "run", table=table)
    assert collect_runs(tmp_path).finished[0].remarks == ()


def test_rows_of_the_weights_are_sorted_by_id(tmp_path):
    shuffled = pd.DataFrame(weights()).sample(frac=1.0, random_state=0)
    write_run(tmp_path, "run", table=shuffled)
    np.testing.assert_array_equal(collect_runs(tmp_path).finished[0].weights["id"], np.arange(20))


FILES = (
    "summary.json",
    "config.json",
    "metrics.jsonl",
    "example_weights.parquet",
    "extreme_examples.npz",
    "snapshots.npz",
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damage_to_any_file_stops_the_collection(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("damaged")
    folder = write_run(root, "run", table=weights(4), images=extremes(), toy=snapshots())
    path = folder / data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    found = collect_runs(root)
    assert len(found.finished) + len(found.unfinished) + len(found.corrupt) == 1


def test_methods_come_in_the_order_of_the_papers_tables(tmp_path):
    write_run(tmp_path, "a", algorithm="fixmatch", weighting="per_example")
    write_run(tmp_path, "b", algorithm="fixmatch")
    write_run(tmp_path, "c", as_labels=True)
    write_run(tmp_path, "d")
    write_run(tmp_path, "e", algorithm="pseudo_label")
    write_run(tmp_path, "f", algorithm="fixmatch", as_labels=True)
    (setting,), _ = group_runs(collect_runs(tmp_path).finished)
    assert [method.label for method in setting.methods] == [
        "Supervised",
        "Supervised + V as labels",
        "Pseudo-Label",
        "FixMatch",
        "FixMatch + V as labels",
        "FixMatch + Λ",
    ]


def test_other_settings_make_another_row_that_names_them(tmp_path):
    for seed, rate in ((1, 0.01), (2, 0.01), (1, 0.05)):
        flags = {"lambda_lr": rate, "out": f"somewhere/{seed}", "checkpoint_every": seed}
        write_run(tmp_path, f"{seed}-{rate}", seed=seed, flags=flags)
    (setting,), remarks = group_runs(collect_runs(tmp_path).finished)
    assert [(method.label, len(method.runs)) for method in setting.methods] == [
        ("Supervised [lambda_lr=0.01]", 2),
        ("Supervised [lambda_lr=0.05]", 1),
    ]
    assert remarks == ()


def rows_of(tmp_path):
    (setting,), remarks = group_runs(collect_runs(tmp_path).finished)
    return {method.label: [run.name for run in method.runs] for method in setting.methods}, remarks


def text_run(tmp_path, seed, folder, views, weights="a" * 64, **options):
    inputs = {"strong_views": views, "weights": weights, "vocabulary": "c" * 64}
    flags = {"back_translation_dir": folder, "bert": f"/models/{seed}/tiny", "data_dir": str(seed)}
    options = {"config": {"inputs": inputs}, "flags": flags} | options
    write_run(tmp_path, f"{seed}-{folder.replace('/', '.')}", seed=seed, **options)


def test_with_and_without_paraphrases_are_two_rows(tmp_path):
    views = f"back_translation {'b' * 64}"
    for seed in (1, 2):
        text_run(tmp_path, seed, "", f"1 tf_idf 0.7 {seed}")
        text_run(tmp_path, seed, f"/machine{seed}/para", views)
    assert rows_of(tmp_path) == (
        {
            "Supervised [back_translation_dir=none]": ["1-", "2-"],
            "Supervised [back_translation_dir=para bbbbbbbb]": [
                "1-.machine1.para", "2-.machine2.para",
            ],
        },
        (),
    )  # fmt: skip


def test_what_lies_in_a_folder_counts_and_not_its_name(tmp_path):
    text_run(tmp_path, 1, "para", f"back_translation {'b' * 64}")
    text_run(tmp_path, 2, "para", f"back_translation {'d' * 64}")
    text_run(tmp_path, 3, "para", f"back_translation {'b' * 64}", weights="e" * 64)
    assert [len(names) for names in rows_of(tmp_path)[0].values()] == [1, 1, 1]


def test_where_the_inputs_were_not_recorded_the_folder_counts(tmp_path):
    for seed, folder in ((1, "x/para"), (2, "x/para"), (3, "")):
        write_run(tmp_path, str(seed), seed=seed, flags={"back_translation_dir": folder})
    assert rows_of(tmp_path)[0] == {
        "Supervised [back_translation_dir=para]": ["1", "2"],
        "Supervised [back_translation_dir=none]": ["3"],
    }


def test_another_source_of_the_data_makes_another_row(tmp_path):
    for seed, source in ((1, "made, seed 1"), (2, "made, seed 2"), (3, "a copy")):
        write_run(tmp_path, str(seed), seed=seed, summary={"source": source})
    assert rows_of(tmp_path)[0] == {
        "Supervised [source=made, the run's seed]": ["1", "2"],
        "Supervised [source=a copy]": ["3"],
    }


@pytest.mark.parametrize(
    ("name", "values", "rows"),
    [
        ("log_every", (5, 50), 1),
        ("keep_checkpoints", (1, 3), 1),
        ("resume", (True, False), 1),
        ("val_seed", (1, 2), 1),
        ("threads", (0, 2), 1),  # which may be the same
        ("jit", (True, False), 2),
        ("precision", ("float32", "mixed_float16"), 2),
        ("eval_every", (10, 20), 2),
        ("an_older_log_option", (1, 2), 2),
    ],
)
def test_options_make_rows_by_their_effect(tmp_path, name, values, rows):
    for seed, value in enumerate(values, 1):
        write_run(tmp_path, str(seed), seed=seed, flags={name: value})
    assert len(rows_of(tmp_path)[0]) == rows


def test_a_repeated_run_is_counted_once_and_named(tmp_path):
    write_run(tmp_path, "first")
    write_run(tmp_path, "second")
    (setting,), remarks = group_runs(collect_runs(tmp_path).finished)
    assert len(setting.runs) == 1
    assert remarks == ("second: not counted, it has the settings and the seed of first",)


def test_labels_that_were_asked_for_make_the_setting(tmp_path):
    write_run(tmp_path, "plain")
    write_run(tmp_path, "with-v", as_labels=True, summary={"num_labeled": 40})
    (setting,), _ = group_runs(collect_runs(tmp_path).finished)
    assert (setting.title, len(setting.methods)) == ("moons, 10 labels", 2)


def test_toy_sets_come_first(tmp_path):
    for dataset in ("digits", "moons", "linear", "circles", "a"):
        write_run(tmp_path, dataset, dataset=dataset)
    settings_found, _ = group_runs(collect_runs(tmp_path).finished)
    names = [setting.dataset for setting in settings_found]
    assert names == ["linear", "circles", "moons", "a", "digits"]

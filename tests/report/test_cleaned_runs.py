"""A run with --exclude beside the run without: one table, and their paired difference."""

import pytest
from reporting_runs import write_run

from experiments.report.collect import collect_runs
from experiments.report.comparisons import Role, compare_setting
from experiments.report.grouping import group_runs
from experiments.report.narrative import sentence, setting_points
from experiments.report.tables import results_table


def cleaned(tmp_path, **changed):
    """Write three seeds of a run and of the same after cleaning; return all comparisons."""
    fields = {"algorithm": "fixmatch", "weighting": "per_example"}
    for seed in (1, 2, 3):
        without_u = {"split_without_u": f"d{seed}"}
        write_run(tmp_path, f"w{seed}", seed=seed, error=12.0, config=without_u, **fields)
        config = without_u | {"split_hash": f"c{seed}", "inputs": {"exclude": "e" * 64}} | changed
        options = {"config": config, "flags": {"exclude": "/somewhere/worst.csv"}}
        write_run(tmp_path, f"c{seed}", seed=seed, error=10.0 + seed / 10, **options, **fields)
    (one,), _ = group_runs(collect_runs(tmp_path).rows)
    return one, compare_setting(one)


def test_a_cleaned_run_is_held_against_the_run_without_a_list(tmp_path):
    one, (item,) = cleaned(tmp_path)
    labels = ["FixMatch + Λ [exclude=none]", "FixMatch + Λ [exclude=worst.csv eeeeeeee]"]
    assert sorted(row[0] for row in results_table(one).rows) == labels
    assert item.role is Role.WHOLE_U and not item.unlike
    assert sentence(item) == (
        f"{labels[1]} was better than without the list of --exclude ({labels[0]}) "
        "(−1.80 [−2.05, −1.55], 3 seeds)."
    )
    (points,) = setting_points([one], [item], {one: []}).items
    assert sentence(item) in points.text


@pytest.mark.parametrize("digest", ["other", None])
def test_a_cleaned_run_whose_other_sets_may_differ_is_no_pair(tmp_path, digest):
    _, (item,) = cleaned(tmp_path, split_without_u=digest)
    assert item.difference is None and item.unlike[1] == ["split"]

"""λ over training: what is kept follows from the step alone, whatever happened on the way."""

import numpy as np
import pandas as pd
import pytest

from experiments.runs.lambda_history import FILE, MOST, LambdaHistory, read_history
from experiments.runs.run_files import RunError
from ssl_weighting import weight_sample

EVERY = 5


def table(step, size=4):
    return np.float32(step + np.arange(size) / 8)


def go_on(folder, first, last, steps=None):
    """Evaluate after the evaluations first + 1 to last, as a run that is resumed there."""
    steps = steps or 10**9
    history = LambdaHistory(folder, 4, EVERY, min(first * EVERY, steps))
    for number in range(first + 1, last + 1):
        history.take(min(number * EVERY, steps), table(min(number * EVERY, steps)))


@pytest.mark.parametrize("last", [1, 2, 19, 20, 21, 22, 39, 40, 41, 79, 80, 81, 161])
def test_at_most_twenty_moments_are_kept_in_even_distances(tmp_path, last):
    go_on(tmp_path, 0, last)
    steps, ids, lam = read_history(tmp_path / FILE)
    assert len(steps) <= MOST and steps[-1] == last * EVERY
    assert len(steps) == last if last <= MOST else len(steps) >= MOST // 2
    distances = np.diff([0, *steps])
    assert (distances[:-1] == distances[0]).all() and distances[-1] <= distances[0]
    np.testing.assert_array_equal(lam, [table(step) for step in steps])
    np.testing.assert_array_equal(ids, range(4))


@pytest.mark.parametrize(("killed", "resumed"), [(23, 20), (23, 21), (41, 39), (41, 3), (7, 0)])
def test_a_run_killed_and_resumed_leaves_the_same_file(tmp_path, killed, resumed):
    go_on(tmp_path / "whole", 0, 45)
    go_on(tmp_path / "killed", 0, killed)
    go_on(tmp_path / "killed", resumed, 45)
    whole, other = ((tmp_path / run / FILE).read_bytes() for run in ("whole", "killed"))
    assert whole == other


def test_the_last_evaluation_may_come_early(tmp_path):
    go_on(tmp_path, 0, 3, steps=2 * EVERY + 1)
    assert read_history(tmp_path / FILE).steps.tolist() == [EVERY, 2 * EVERY, 2 * EVERY + 1]


def test_of_a_large_set_a_sample_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_sample, "SAMPLE", 4)
    LambdaHistory(tmp_path, 10, EVERY).take(EVERY, table(1, 10)[[0, 2, 5, 7]])
    found = read_history(tmp_path / FILE)
    assert found.ids.tolist() == [0, 2, 5, 7]
    np.testing.assert_array_equal(found.lam, [table(1, 10)[[0, 2, 5, 7]]])


def test_a_damaged_file_costs_the_earlier_moments_and_says_so(tmp_path, capsys):
    go_on(tmp_path, 0, 3)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    go_on(tmp_path, 2, 4)
    assert "lambda_history.npz cannot be read" in capsys.readouterr().out
    assert read_history(tmp_path / FILE).steps.tolist() == [3 * EVERY, 4 * EVERY]
    assert LambdaHistory(tmp_path, 5, EVERY, 20).moments == {}
    assert "is of another run; its earlier moments are lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lam": np.zeros((2, 3), np.float32)}, "`lam` must be float32"),
        ({"lam": np.zeros((1, 2))}, "`lam` must be float32"),
        ({"ids": np.array([1, 1])}, "finite λ of rising"),
        ({"lam": np.float32([[np.nan, 0]])}, "finite λ of rising"),
    ],
)
def test_other_arrays_are_refused_by_name(tmp_path, wrong, message):
    right = {"steps": np.array([5]), "ids": np.array([0, 1]), "lam": np.zeros((1, 2), np.float32)}
    np.savez(tmp_path / FILE, **right | wrong)
    with pytest.raises(RunError, match=message):
        read_history(tmp_path / FILE)
    np.savez(tmp_path / FILE, steps=right["steps"])
    with pytest.raises(RunError, match="cannot be read: 'ids'"):
        read_history(tmp_path / FILE)


def test_a_run_keeps_lambda_of_its_evaluations(unbroken):
    steps, ids, lam = read_history(unbroken / FILE)
    assert steps.tolist() == [8, 16, 24]
    weights = pd.read_parquet(unbroken / "example_weights.parquet")
    np.testing.assert_array_equal(lam[-1], weights["lam"])
    np.testing.assert_array_equal(ids, weights["id"])
    assert (lam[0] != lam[1]).any()

"""The record of how runs' influences agree with retraining."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from experiments.runs.run_files import RunError
from experiments.study.agreement import Agreement, agreement_of, read_agreements, record

ONE = Agreement("features_x", "per_example", 1, 100, 0.991234, 0.98, 0.995, "abc")


def test_the_interval_is_fishers_with_the_variance_of_ranks():
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    b = a + rng.normal(size=60)
    n, r, low, high = agreement_of(a, b)
    assert n == 60 and r == pytest.approx(stats.spearmanr(a, b).statistic)
    half = stats.norm.ppf(0.975) * np.sqrt((1 + r**2 / 2) / 57)
    np.testing.assert_allclose(np.arctanh([low, high]), np.arctanh(r) + np.array([-half, half]))
    assert agreement_of(a, np.exp(a)) == (60, 1.0, 1.0, 1.0)
    assert agreement_of(a, -a)[1:] == (-1.0, -1.0, -1.0)


def test_the_interval_holds_the_truth_of_two_normal_variables():
    """Spearman's rho of a bivariate normal is 6 / pi asin(r / 2)."""
    rng, truth, held = np.random.default_rng(1), 6 / np.pi * np.arcsin(0.4), 0
    for _ in range(400):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 50).T
        _, _, low, high = agreement_of(x, y)
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


def test_what_has_no_correlation_is_refused():
    with pytest.raises(ValueError, match=r"at least 4\. Received: 3 and 3"):
        agreement_of(np.arange(3.0), np.arange(3.0))
    with pytest.raises(ValueError, match="must be finite"):
        agreement_of(np.array([1, 2, np.nan, 4]), np.arange(4.0))
    with pytest.raises(ValueError, match="must vary"):
        agreement_of(np.ones(4), np.arange(4.0))


def test_lines_are_kept_and_replaced_by_run(tmp_path):
    path = tmp_path / "agreement.csv"
    assert read_agreements(path) == {}
    record(path, [ONE, dataclasses.replace(ONE, seed=2)])
    record(path, [dataclasses.replace(ONE, spearman=0.5)])
    found = read_agreements(path)
    assert sorted(key[2] for key in found) == [1, 2]
    assert found[ONE.key].spearman == 0.5 and found[ONE.key].commit == "abc"
    assert found["features_x", "per_example", 2].spearman == 0.9912
    header = "family,method,seed,ids,spearman,low,high,commit"
    assert path.read_text().splitlines()[0] == header


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "agreement.csv"
    record(path, [ONE])
    path.write_text(path.read_text().replace("0.9912", "high"))
    with pytest.raises(RunError, match=r"agreement\.csv line 2: `spearman` must be float"):
        read_agreements(path)

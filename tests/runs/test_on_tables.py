"""A whole run whose sets are read by rows is, bit for bit, the run on arrays."""

import pytest
import runs

from experiments.compare_runs import differences
from ssl_weighting.data import example_table
from ssl_weighting.data.example_table import ExampleTable


@pytest.mark.slow
def test_a_run_on_tables_is_the_run_on_arrays(monkeypatch, tmp_path):
    folder, workshop = tmp_path / "run", runs.Workshop(own_sources=True)
    with monkeypatch.context() as patched:
        patched.setattr(example_table, "LARGE", 0)
        runs.run(folder, workshop, **runs.DIGITS)
    splits = workshop.run.splits
    for part in (splits.labeled, splits.unlabeled, splits.test):
        assert isinstance(part.inputs, ExampleTable)
    assert differences(runs.unbroken_run()[0], folder) == []

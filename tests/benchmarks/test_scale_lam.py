"""Part lam of suite scale: its rows and ratios, at the least sizes and in this process."""

from pathlib import Path

import pytest

from experiments.benchmarks.scale import child, lam
from experiments.benchmarks.suite import Options
from experiments.runs import state
from ssl_weighting import weight_sample
from ssl_weighting.data import row_chunks


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Call what would run in processes of its own; a sample and chunks of a small Lambda."""
    monkeypatch.setattr(weight_sample, "SAMPLE", 300)
    monkeypatch.setattr(row_chunks, "CHUNK", 512)
    monkeypatch.setattr(state, "LARGE", 100)
    monkeypatch.setattr(lam, "STEPS", 2)
    monkeypatch.setattr(lam, "SMOKE", (700, 5000))
    monkeypatch.setattr(lam, "run_as_programs_do", lambda: None)

    def run(target, arguments):
        function = getattr(lam, target.rpartition(":")[2])
        return child.Spent(function(**arguments), 1.0, 1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(child, "run", run)
    return Options(scratch=str(tmp_path), smoke=True, repetitions=2, least_seconds=0.0)


def test_rows_and_ratios(here):
    said = []
    found = lam.measure(here, said.append)
    assert len(said) == 4 and not found.missing
    names = [row["name"] for row in found.rows]
    timed = ("lambda_step", "lambda_step_with_scores", "evaluation")
    assert names[:6] == [f"{name}_{size}" for name in timed for size in ("5000", "700")]
    assert found.ratios.keys() == {f"{name}_5000_over_700" for name in timed}
    assert all(ratio.low <= ratio.value <= ratio.high for ratio in found.ratios.values())
    assert {row["num_unlabeled"] for row in found.rows} == {700, 5000}
    first, later, restore, exact = found.rows[6:]
    assert first["bytes_written"] > 36 * 5000 and later["bytes_written"] > 0
    assert restore["bytes_written"] == exact["bytes_written"] == 0
    assert not list(Path(here.scratch).iterdir())

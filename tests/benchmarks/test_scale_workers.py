"""Part workers of suite scale: its arithmetic, and once the runs that it measures."""

from types import SimpleNamespace

import pytest

from experiments.benchmarks.scale import child, workers
from experiments.benchmarks.suite import Options


def test_a_step_costs_what_a_longer_run_costs_more(monkeypatch, tmp_path):
    """Medians of three: 0.6 and 0.5 s a step, after 50 and 10 s that are not theirs."""
    pairs = {"two_workers": [0.6, 0.5, 0.9], "two_devices": [0.5, 0.4, 0.6]}
    asked = []

    def run(target, arguments):
        kind, steps = arguments["kind"], arguments["steps"]
        assert target == "experiments.benchmarks.scale.workers:train"
        assert (tmp_path / "workers.npz").exists() and arguments["folder"] == str(tmp_path)
        pair = asked.count((kind, steps))
        asked.append((kind, steps))
        start = {"two_workers": 50, "two_devices": 10}[kind]
        return SimpleNamespace(cpu_seconds=start + pairs[kind][pair] * steps)

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(workers, "IMAGES", 60)
    monkeypatch.setattr(workers, "LABELED", 20)
    found = workers.measure(Options(scratch=str(tmp_path)), lambda text: None)
    assert [row["name"] for row in found.rows] == ["two_workers", "two_devices"]
    seconds = [row["cpu_seconds_a_step"] for row in found.rows]
    assert seconds == pytest.approx([0.6, 0.5])
    assert found.ratios["two_workers_over_two_devices"].value == pytest.approx(1.2)
    assert asked[:4] == [(kind, steps) for kind in pairs for steps in (20, 60)]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_measures_runs(tmp_path):
    found = workers.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    assert len(found.rows) == 2 and not list(tmp_path.iterdir())

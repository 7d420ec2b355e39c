"""Part scoring of suite scale: its arithmetic, and once what it measures."""

import math

import pytest

from experiments.benchmarks.memory import STATUS
from experiments.benchmarks.scale import child, scoring
from experiments.benchmarks.suite import Options


def test_the_ratio_counts_passes_and_leaves_out_what_every_process_takes(tmp_path, monkeypatch):
    images = {"256.npz": 256, "512.npz": 512}

    def run(target, arguments):
        function = target.rpartition(":")[2]
        count = images[arguments["pile"].rsplit("/", 1)[1]] if "pile" in arguments else 0
        # Ten seconds to start; 32 images scored a second, 80 passed.
        seconds = {"leave_a_scorer": 0, "score": 10 + count / 32, "forward": 10 + count / 80}
        return child.Spent(None, 0.0, 0.0, 0.0, seconds[function], 0.0)

    monkeypatch.setattr(child, "run", run)
    found = scoring.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    (row,) = found.rows
    assert row["name"] == "scoring_wrn_10_1" and row["images"] == 256
    assert row["scored_a_cpu_second"] == pytest.approx(32)
    assert row["forward_a_cpu_second"] == pytest.approx(80)
    assert found.ratios["score_over_forward"].value == pytest.approx(2 * 32 / 80)
    assert not list(tmp_path.iterdir())


def test_every_measurement_writes_to_a_folder_of_its_own(tmp_path, monkeypatch):
    """What a folder holds of another run, or of the same, is not scored anew."""
    folders = []

    def run(target, arguments):
        if target.endswith(":score"):
            folders.append(arguments["out"])
        return child.Spent(None, 0.0, 0.0, 0.0, float(len(folders)), 0.0)

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(scoring, "write_images", lambda *_: None)
    monkeypatch.setattr(scoring, "_write_pile", lambda *_: None)
    scoring.measure(Options(scratch=str(tmp_path)), lambda text: None)
    assert len(set(folders)) == len(folders) == 2 * 2 * scoring.ROUNDS


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_what_is_measured_runs(tmp_path):
    found = scoring.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    # So few images are lost in what a process takes to start: no more is asked of the number.
    assert math.isfinite(found.ratios["score_over_forward"].value)
    assert not list(tmp_path.iterdir())

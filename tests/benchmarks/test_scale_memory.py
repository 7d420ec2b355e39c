"""Part memory of suite scale: its files, its arithmetic, and once the run that it measures."""

import numpy as np
import pytest

from experiments.benchmarks.memory import STATUS
from experiments.benchmarks.scale import child, memory
from experiments.benchmarks.suite import Options
from ssl_weighting.data.images.npz import load_npz


def test_files_are_those_of_savez_and_no_two_images_are_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_BLOCK", 7)
    path = tmp_path / "own.npz"
    memory.write_images(path, 60, 40)
    with np.load(path) as found:
        assert {name: found[name].shape for name in found.files} == {
            "x_train": (40, 32, 32, 3), "x_unlabeled": (20, 32, 32, 3), "y_train": (40,),
        }  # fmt: skip
        images = np.concatenate([found["x_train"], found["x_unlabeled"]])
    assert len(np.unique(images.reshape(60, -1), axis=0)) == 60
    raw = load_npz(path)
    assert (len(raw.train), len(raw.test), len(raw.unlabeled)) == (30, 10, 20)
    memory.write_images(path, 40, 40)
    assert load_npz(path).unlabeled is None


def test_the_ratio_is_the_larger_of_the_peaks_over_the_pixels(tmp_path, monkeypatch):
    peaks = iter([900.0, 950.0])

    def run(target, arguments):
        assert {path.name for path in tmp_path.iterdir()} == {
            arguments[role].rsplit("/", 1)[1] for role in ("small", "large")
        }
        answer = {"before": 500.0, "stages": {"read_and_cut": 300.0}}
        return child.Spent(answer, next(peaks), 0.0, 0.0, 7.0, 8.0)

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(memory, "SMALL", 50)
    monkeypatch.setattr(memory, "LAYOUTS", {"one": lambda count: count, "two": lambda count: 40})
    found = memory.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    assert [row["peak_mb"] for row in found.rows] == [400.0, 450.0]
    assert found.rows[0]["pixels_mb"] == 50 * 3072 / 1e6
    assert found.ratios["memory_over_pixels_1e6"].value == 450.0 / (50 * 3072 / 1e6)
    assert found.rows[0]["read_and_cut_mb"] == 300.0 and not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_the_run_that_is_measured_takes_its_steps(tmp_path):
    found = memory.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    assert [row["name"] for row in found.rows] == ["memory_all_labeled", "memory_most_unlabeled"]
    for row in found.rows:
        assert row["stepped_mb"] >= row["built_mb"] >= row["read_and_cut_mb"] >= 0

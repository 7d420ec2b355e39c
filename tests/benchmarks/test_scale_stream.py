"""Part stream of suite scale: its packs, its arithmetic, and once all that it measures."""

import numpy as np
import pytest

from experiments.benchmarks.memory import STATUS
from experiments.benchmarks.scale import child, stream
from experiments.benchmarks.suite import Options
from ssl_weighting.data.packed.manifest import ENCODED, PIXELS
from ssl_weighting.data.packed.packed_set import load_packed
from ssl_weighting.data.packed.write import pack

PARTS = {"train": 40, "test": 20, "unlabeled": 30}


@pytest.mark.parametrize("store", [PIXELS, ENCODED])
def test_synthetic_packs_hold_what_was_asked_for_and_no_copies(tmp_path, store):
    pack(stream.Synthetic(PARTS, 12, 24), tmp_path / "pack", store)
    raw = load_packed(tmp_path / "pack")
    assert {part: len(one) for part, one in raw.parts.items()} == PARTS
    inputs = np.concatenate([one.inputs.loaded() for one in raw.parts.values()])
    assert inputs.shape == (90, 12, 12, 3) and len(np.unique(inputs.reshape(90, -1), axis=0)) == 90
    assert set(raw.train.labels) == set(range(10)) and set(raw.unlabeled.labels) == {-1}


def test_ratios_and_cores(tmp_path, monkeypatch):
    held = iter([300.0, 480.0])

    def run(target, arguments):
        if target.endswith(":train"):
            assert load_packed(arguments["path"]).name == "synthetic" and arguments["steps"] == 2
            return child.Spent(None, 0.0, next(held), 0.0, 1.0, 1.0)
        assert {*arguments["paths"]} == {PIXELS, ENCODED}
        cpu = {"array": 9.0, PIXELS: 10.0, ENCODED: 12.0}
        return child.Spent(
            {name: {"wall": [1.0], "cpu": [one], "rest": [1, 0.5]} for name, one in cpu.items()},
            *[0.0] * 5,
        )

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(stream, "LAMBDA_BYTES", 10_000)
    found = stream.measure(Options(scratch=str(tmp_path), smoke=True), lambda text: None)
    ratios = {name: ratio.value for name, ratio in found.ratios.items()}
    assert ratios == {
        "resident_5e6_over_1e5": pytest.approx((480 - 60) / (300 - 30)),
        "stream_over_array_pixels": pytest.approx(0.9),
        "stream_over_array_encoded": pytest.approx(0.75),
    }
    decoded = {row["name"]: row for row in found.rows if row["name"].startswith("decode")}
    assert decoded.keys() == stream.DECODED.keys()
    for row in decoded.values():
        speed = 64 / row["cpu_seconds_median"]
        assert row["images_a_cpu_second"] == pytest.approx(speed)
        assert row["cores_for_10_steps_a_second"] == pytest.approx(10 * 512 / speed)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")
def test_all_that_is_measured_runs(tmp_path):
    options = Options(scratch=str(tmp_path), smoke=True, labeled_batch=4, unlabeled_batch=28)
    found = stream.measure(options, lambda text: None)
    assert len(found.rows) == 2 + 3 + 3 and len(found.ratios) == 3
    assert all(ratio.value > 0 for ratio in found.ratios.values())

"""A refit of images: CTAugment's rates start anew, and two devices share its steps."""

import numpy as np
import pytest
import runs

from experiments.compare_runs import differences, newest_checkpoint

RATES = runs.DIGITS | {
    "algorithm": "fixmatch", "strong_augment": "ctaugment", "cta_update": True, "steps": 12,
    "refit": True,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("validation", ["held_out", "cross_fit"])
def test_rates_and_batch_norm_start_anew_and_resume(tmp_path, monkeypatch, validation):
    options, workshop = RATES | {"validation": validation}, runs.Workshop()
    runs.run(tmp_path / "a", workshop, **options)
    for kind, step in (("train", 12), ("train", 20)):
        with monkeypatch.context() as patched:
            runs.at_line(kind, step, runs.after)(patched)
            with pytest.raises(runs.Killed):
                runs.run(tmp_path / "b", workshop, **options)
    runs.run(tmp_path / "b", workshop, **options)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    step, state = newest_checkpoint(tmp_path / "a")
    assert step == 24 and (state["weights/0000/lam"] != 1).any()
    rates = [name for name in state if name.startswith("cta_rates/")]
    assert rates and all(np.isfinite(state[name]).all() for name in rates)

"""Every base algorithm trains end to end on images, with learned weights, and resumes exactly."""

import numpy as np
import pytest
import runs
from runs import DIGITS, Killed, Workshop, after, at_line, lines

from experiments.compare_runs import differences, newest_checkpoint
from experiments.options.config import Config
from ssl_weighting.algorithms import ALGORITHMS

SHORT = DIGITS | {"steps": 9, "eval_every": 6, "checkpoint_every": 3}
OWN = {
    "vat": {"optimizer": "adamw", "learning_rate": 0.01},
    "uda": {"entropy_coefficient": 0.1, "tsa": "linear"},
}
TESTED_ELSEWHERE = ("supervised", "fixmatch")
# Most runs of other tests, killed ones too, are Pseudo-Label's; the mixing ones take longest.
SLOW = ("mixmatch", "remixmatch", "pseudo_label")
NAMES = [n for n in ALGORITHMS if n not in TESTED_ELSEWHERE]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES]
)
def test_an_algorithm_trains_moves_lambda_and_resumes(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Config, "publish_every", 6)  # each publication makes the pipeline anew
    options = {**SHORT, "algorithm": name, "ramp_steps": 4, **OWN.get(name, {})}
    if name in ("vat", "mean_teacher", "mixmatch", "remixmatch"):
        options.pop("threshold")
    workshop = Workshop()
    runs.run(tmp_path / "a", workshop, **options)
    with monkeypatch.context() as patched:
        at_line("eval", 6, after)(patched)
        with pytest.raises(Killed):
            runs.run(tmp_path / "b", workshop, **options)
    runs.run(tmp_path / "b", workshop, **options)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    _, state = newest_checkpoint(tmp_path / "a")
    assert (state["weights/0000/lam"] != 1).any()
    train = [line for line in lines(tmp_path / "a") if line["kind"] == "train"]
    assert all(np.isfinite(line["loss"]) for line in train)
    assert sum(line["loss_unlabeled"] > 0 for line in train) >= len(train) - 1
    if name == "remixmatch":
        assert any(key.startswith("algorithm/") for key in state)
        assert any("angle_head" in key for key in state)

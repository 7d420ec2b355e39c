"""The examination of a run's scores: sizes of V, references, what it refuses."""

import csv
import shutil

import numpy as np
import pytest
import runs
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from experiments import examine_scores
from experiments.verification.scores import Examination, examine, restored
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.structs import LabeledBatch

SIZES = [20, 5]


@pytest.fixture(scope="module")
def examination():
    folder, _ = runs.unbroken_run()
    return Examination(restored(folder, 12, None))


def test_the_scores_are_those_of_the_runs_own_lambda_step(examination):
    trainer, test = examination.run.trainer, examination.run.splits.test
    assert trainer.step == runs.DIGITS["steps"] and examination.ids.shape == (12,)  # no mask
    trainer.lambda_source = type("One", (), {"at": lambda self, k: examination.batch})()
    v = examination.run.splits.validation
    inside = [np.flatnonzero((test.inputs == x).all((1, 2, 3))) for x in v.inputs]
    assert not any(map(len, inside)), "V is no part of the test set"
    rows = np.arange(len(test.labels))
    ours = examination.scores(rows)
    whole = LabeledBatch(clean_view(test.inputs), tf.constant(test.labels))
    trainer.validation_at = lambda k: whole
    np.testing.assert_allclose(trainer.measure().lam_gradient, ours, rtol=1e-6)


def test_each_size_is_compared_with_the_whole_test_set(examination):
    rows = examine(examination, SIZES, repeats=3)
    assert [row[:2] for row in rows] == [(24, 20), (24, 5), (24, 40)]
    assert rows[-1][2:4] == (1.0, 0.0)
    assert rows[0][2] > rows[1][2], "fewer examples, more noise"
    scores = examination.scores(np.arange(40))
    assert rows[-1][4] == pytest.approx(roc_auc_score(examination.wrong, scores))
    once = examine(examination, [40], repeats=1)
    assert once[0][2:4] == pytest.approx((1.0, 0.0))
    with pytest.raises(ValueError, match=r"--sizes must be from 1 to 40.*Received: 41"):
        examine(examination, [41], 1)


def test_the_program_writes_what_it_prints(monkeypatch, tmp_path, capsys):
    folder = shutil.copytree(runs.unbroken_run()[0], tmp_path / "run")  # others read that one
    arguments = (f"--run={folder}", "--sizes=5,20", "--examples=12", "--repeats=2")
    runs.call(examine_scores, monkeypatch, *arguments)
    out = capsys.readouterr().out
    assert "step 24: 12 examples pass the mask" in out and "AUROC of -lambda: " in out
    with open(folder / "scores.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["size"] for row in found] == ["5", "20", "40"]
    assert f"{float(found[0]['rank_correlation']):.3f} ±" in out


def test_what_has_no_scores_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--run must be a run's folder.*no config.json"):
        restored(tmp_path, 12, None)
    folder, _ = runs.unbroken_run()
    text = (folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        text.replace('"weighting": "per_example"', '"weighting": "fixed"')
    )
    with pytest.raises(ValueError, match=r"--run must have learned weights.*--weighting=fixed"):
        restored(tmp_path, 12, None)
    for changed in (
        ('"algorithm": "fixmatch"', '"algorithm": "mixmatch"'),
        ('"entropy_coefficient": 0.0', '"entropy_coefficient": 0.1'),
        ('"inverse_hessian": "exact"', '"inverse_hessian": "unrolled"'),
    ):
        assert changed[0] in text
        (tmp_path / "config.json").write_text(text.replace(*changed))
        with pytest.raises(ValueError, match=r"--run must have one pseudo-label a row.*Received"):
            restored(tmp_path, 12, None)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FileNotFoundError, match=r"--run must hold a checkpoint"):
        restored(tmp_path, 12, None)

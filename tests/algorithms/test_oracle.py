"""The control that knows the true labels: exactly the wrong pseudo-labels are dropped."""

import numpy as np
import pytest
import runs
from linear_net import LABELED, STEP, UNLABELED, B, C, Net, U, logits, softmax

from experiments.options.presets import make_config
from ssl_weighting.algorithms import ORACLE_ALGORITHMS, Oracle, make_algorithm
from ssl_weighting.algorithms.oracle import pseudo_labels

GUESS = softmax(logits(UNLABELED.weak)).argmax(1)  # in the batch's order
IDS = UNLABELED.ids.numpy()


def rows_of(name, truth=None):
    algorithm = make_algorithm(name, threshold=0.5)
    algorithm = algorithm if truth is None else Oracle(algorithm, truth)
    return algorithm(Net(), LABELED, UNLABELED, STEP)


@pytest.mark.parametrize("name", ORACLE_ALGORITHMS)
def test_pseudo_labels_are_read_off_the_loss(name):
    found = pseudo_labels(rows_of(name)).numpy()
    np.testing.assert_array_equal(found, np.r_[LABELED.label.numpy(), GUESS])


@pytest.mark.parametrize("name", ORACLE_ALGORITHMS)
def test_rows_pass_where_the_pseudo_label_is_right_and_the_mask_lets_them(name):
    truth = np.full(U, -1)
    right, wrong = IDS[:4], IDS[4:6]  # the last two have no label of these classes
    truth[right], truth[wrong] = GUESS[:4], (GUESS[4:6] + 1) % C
    plain, rows = rows_of(name), rows_of(name, truth)
    expected = plain.mask.numpy() * np.r_[np.ones(B), np.ones(4), np.zeros(U - 4)]
    assert 0 < expected[B:].sum() < plain.mask.numpy()[B:].sum()
    np.testing.assert_array_equal(rows.mask, expected)
    for field in ("loss", "coefficient", "ids"):
        np.testing.assert_array_equal(getattr(rows, field), getattr(plain, field))


def test_an_oracle_needs_labels_and_one_pseudo_label_a_row():
    with pytest.raises(ValueError, match=r"`true_labels` must be known .*8 unlabeled.*none with"):
        Oracle(make_algorithm("fixmatch"), np.full(U, -1))
    for options in ({"algorithm": "mixmatch"}, {"algorithm": "uda", "entropy_coefficient": 0.1}):
        with pytest.raises(ValueError, match=r"--weighting=oracle needs one pseudo-label a row"):
            make_config(dataset="digits", weighting="oracle", out="x", **options)


def test_a_run_with_an_oracle_trains_on_right_pseudo_labels_alone(tmp_path):
    masks = {}
    for weighting in ("fixed", "oracle"):
        out = tmp_path / weighting
        summary = runs.run(out, **runs.DIGITS | {"steps": 8, "weighting": weighting})
        assert summary["method"] == "FixMatch" + (" + oracle" if weighting == "oracle" else "")
        rates = [line["mask_rate"] for line in runs.lines(out) if line["kind"] == "train"]
        masks[weighting] = np.array(rates)
    assert (masks["fixed"] == 1.0).all()
    assert (masks["oracle"] < 1.0).all() and (masks["oracle"] > 0.0).any()

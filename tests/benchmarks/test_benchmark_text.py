"""Suite text: its shares by hand, and its rows at the least shapes."""

import numpy as np
import pytest

from experiments.benchmarks import text
from experiments.benchmarks.measure import Timing
from experiments.benchmarks.suite import Options


def timing(cpu, wall=1.0):
    return Timing(np.full(5, wall), np.full(5, cpu), 1, 0.0)


def test_ratios_by_hand():
    timings = {
        "theta_step": timing(2.0, 4.0),
        "theta_and_lambda_step": timing(2.5),
        "lambda_step_own_pass": timing(1.0),
        "theta_step_scored": timing(2.1),
        "theta_step_one_pass": timing(2.6),
        "tokenise": timing(1.0, 0.5),
    }
    found = text.ratios(timings, {}, Options(text_length=10))
    assert found["lambda_share"].value == pytest.approx(0.5 / 10.5)
    assert found["lambda_share_own_pass"].value == pytest.approx(1 / 11)
    assert found["scored_over_theta"].value == pytest.approx(1.05)
    assert found["one_pass_over_theta"].value == pytest.approx(1.3)
    assert found["tokens_per_second"].value == pytest.approx((8 + 2 * 32) * 10 / 4)
    assert found["texts_tokenised_per_second"].value == pytest.approx(2000)
    assert text.ratios({"tokenise": timing(1.0)}, {}, Options()).keys() == {
        "texts_tokenised_per_second"
    }


@pytest.mark.slow
@pytest.mark.parametrize("row", [name for name in text.cases(Options()) if name != "tokenise"])
def test_each_row_runs(row):
    task = text.cases(Options(text_layers=2, text_length=4))[row].make(True)
    for report in (task(), task()):
        assert np.isfinite(report["loss"]) if "loss" in report else report["finite"]

"""Hours of the paper's cells by the speed of a device, and the page that shows them."""

import math

import pytest

from experiments.device_check import hours
from experiments.device_check.cases import CASES, FLOAT32, MIXED
from experiments.device_check.compare import Deviation
from experiments.device_check.hours import Seconds
from experiments.paper import estimates
from experiments.paper.cells import cells


def cell(name):
    return next(one for one in cells() if one.name == name)


def test_a_device_as_fast_as_the_estimate_s_takes_as_long_but_for_the_lambda_steps():
    image = estimates.SECONDS_PER_IMAGE
    speeds = {"fixmatch_paper": Seconds(960 * image, 0.0), "uda_paper": Seconds(704 * image, 0.0)}
    product = 1 / estimates.PRODUCTS_PER_SECOND
    forward = 128 * 6 * (12 * 384**2 + 2 * 128 * 384)  # MiniLM's, as `estimates.products` counts
    speeds["bert"] = Seconds(72 * 3 * forward * product, 0.0)
    found = hours.table(speeds)
    assert sum(line.cells for line in found) == len([c for c in cells() if c.seeds])
    for line in found:
        assert line.hours == pytest.approx(line.estimate), line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Steps x seconds, and a Lambda-step every N: 2^20 / 512 and 400,000 / 100.
        ("table1_cifar10_250_fixmatch_ctaugment_ours", (2**20 * 0.5 + 2048 * 3) / 3600),
        ("table1_cifar10_250_fixmatch_ctaugment", 2**20 * 0.5 / 3600),
        ("table1_cifar10_250_uda_ours", (400_000 * 0.25 + 4000 * 2) / 3600),
        ("table3_n30_eta0.01", (400_000 * 0.25 + 400_000 / 30 * 2) / 3600),
        ("table1_cifar10_250_pseudo_label", 2**20 * 0.5 * 128 / 960 / 3600),
        # 10,000 steps of 8 + 2 x 32 texts, three passes each, and 20 x 25,000 texts evaluated, by
        # BERT-base; a Lambda-step every 5.
        (
            "table2_128_uda_ours",
            (
                (10_000 + 20 * 25_000 / (72 * 3)) * 0.1
                * (12 * (12 * 768**2 + 2 * 128 * 768)) / (6 * (12 * 384**2 + 2 * 128 * 384))
                + 2000 * 4
            ) / 3600,
        ),
    ],
)  # fmt: skip
def test_hours_by_hand(name, expected):
    measured = {"fixmatch_paper": Seconds(0.5, 3), "uda_paper": Seconds(0.25, 2)}
    measured["bert"] = Seconds(0.1, 4)
    assert hours.hours_of(cell(name), measured) == pytest.approx(expected)


def test_a_cell_whose_case_was_not_played_has_no_hours():
    only = {"uda_paper": Seconds(1.0, 1.0)}
    assert hours.hours_of(cell("table1_cifar10_250_vat"), only) is None
    assert hours.table({"mlp_uda": Seconds(1.0, 1.0)}) == []
    assert {"fixmatch_paper", "uda_paper", "bert"} <= CASES.keys()


def test_the_page_says_what_passed_what_did_not_and_how_long_cells_take():
    from experiments.device_check.check import Row
    from experiments.device_check.page import page, verdict
    from experiments.device_check.play import Played

    played = Played(None, 0.0123, 0.5, 812.4)
    rows = [
        Row("uda_paper", FLOAT32, Deviation(0.25, "loss of step 3"), played),
        Row("uda_paper", MIXED, Deviation(1.5, "an influence before step 1"), played),
        Row("supervised", FLOAT32, Deviation(0.0, "loss of step 1"), played._replace(
            lambda_seconds=None, peak_mb=None)),
        Row("vat", FLOAT32, Deviation(math.inf, "InternalError: no kernel"), None),
    ]  # fmt: skip
    text = page(rows)
    assert "| uda_paper | float32 | pass | 0.25 | loss of step 3 | 0.0123 | 0.5 | 812 |" in text
    assert "| uda_paper | mixed_float16 | FAIL | 1.5 | an influence before step 1 |" in text
    assert "| supervised | float32 | pass | 0 | loss of step 1 | 0.0123 |  |  |" in text
    assert "| vat | float32 | FAIL | – | InternalError: no kernel |  |  |  |" in text
    uda_hours = (400_000 * 0.0123 + 4000 * 0.5) / 3600
    assert f"| Table 1 | Ours (UDA) | 10 | {uda_hours:.3g} |" in text
    assert text.count("Hours of the paper's cells") == 1  # by rows that passed alone
    assert text.endswith("FAIL: 2 of 4: uda_paper (mixed_float16), vat (float32)")
    assert verdict(rows[:1]) == "pass: all 1 within what is allowed"

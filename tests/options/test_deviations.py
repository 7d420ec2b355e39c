"""What a run says about its departures from the preset's setting, in its log and its results."""

import pytest

from experiments.options.deviations import deviations
from experiments.options.presets import PRESETS, make_config
from experiments.paper.cells import cells

CELLS = [cell for cell in cells() if cell.table == "Table 1"]


def test_deviations_name_every_departure_from_the_paper():
    for preset in PRESETS:
        for algorithm in ("fixmatch", "pseudo_label", "supervised"):
            assert deviations(make_config(preset=preset, algorithm=algorithm)) == []
    given = {"steps": 1000, "threshold": 0.8, "num_unlabeled": 400, "lambda_optimizer": "sgd"}
    found = deviations(make_config(**given))
    assert found == [
        "DEVIATION: num_unlabeled 400 instead of 0",
        "DEVIATION: batch_norm_decay 0.99 instead of 0.999",
        "DEVIATION: threshold 0.8 instead of 0.95",
        "DEVIATION: steps 1000 instead of 1048576",
        "DEVIATION: ema_decay 0.99 instead of 0.999",
        "DEVIATION: lambda_optimizer sgd instead of madam",
        "DEVIATION: inner_steps 50 instead of 512",
    ]
    fixed = deviations(make_config(weighting="fixed", **given))
    assert fixed == found[:5], "what moves Lambda does not matter where it stands still"
    (toy,) = deviations(make_config(dataset="moons"))
    assert toy.startswith("DEVIATION: the paper prints no constants") and "optimizer adam" in toy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"val_order": "first"}, ["val_order first instead of drawn"]),
        ({"labeled_set": "uda"}, ["labeled_set uda instead of drawn"]),
        ({"allow_overlap": True}, ["allow_overlap True instead of False"]),
        ({"flip": False}, ["flip False instead of True"]),
        ({"dataset": "svhn_cropped"}, []),
        ({"dataset": "svhn_cropped", "flip": True}, ["flip True instead of False"]),
        (
            {"contamination": "corrupt", "contamination_rate": 0.2},
            ["contamination corrupt instead of none", "contamination_rate 0.2 instead of 0.0"],
        ),
        ({"preset": "released", "val_order": "drawn"}, ["val_order drawn instead of first"]),
        ({"weighting": "fixed", "lambda_init": 0.3}, ["lambda_init 0.3 instead of 1.0"]),
        (
            {"algorithm": "remixmatch", "strong_augment": "randaugment"},
            ["strong views by randaugment instead of ctaugment"],
        ),
        ({"algorithm": "mixmatch", "mixup_beta": 0.75}, ["mixup_beta 0.75 instead of 0.5"]),
    ],
)
def test_what_is_done_to_data_and_views_is_said_where_it_departs(given, expected):
    assert deviations(make_config(**given)) == [f"DEVIATION: {text}" for text in expected]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_cell_of_table_1_departs_in_the_age_of_ctaugment_s_rates_alone(cell):
    """FixMatch and ReMixMatch with CTAugment are rows of that table."""
    flip = {"flip": cell.options["flip"] == "true"} if "flip" in cell.options else {}
    found = deviations(make_config(**cell.options | flip))
    assert len(found) == (cell.options.get("strong_augment") == "ctaugment")
    assert all("CTAugment rates" in text for text in found)


@pytest.mark.parametrize(("steps", "told"), [(2**20, 256), (100, 5), (80, None), (1, None)])
def test_rates_that_are_no_older_than_upstream_s_are_no_departure(steps, told):
    config = make_config(algorithm="remixmatch", weighting="fixed", steps=steps)
    found = [text for text in deviations(config) if "CTAugment rates" in text]
    assert [text.split("up to ")[1:] for text in found] == (
        [] if told is None else [[f"{told} steps old instead of ", "4"]]
    )

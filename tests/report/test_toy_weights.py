"""What Lambda did on the toy sets, against numbers worked by hand."""

import numpy as np
import pytest
from reporting_runs import snapshots, write_run

from experiments.report import figures_toy
from experiments.report.collect import collect_runs
from experiments.report.grouping import group_runs
from experiments.report.toy_weights import distance_to_boundary, found_in, toy_table


def line_at(level, lam=None):
    """A picture whose boundary is the vertical line x = `level`."""
    x = np.array([0.0, 1.0, 2.0, 4.0])
    points = np.array([[k / 5, 0.7] for k in range(20)])
    return {
        "iterations": np.array([30]),
        "grid_x": x,
        "grid_y": np.linspace(0.0, 1.0, 101),
        "probability": np.tile(0.5 + (x - level) / 10, (1, 101, 1)),
        "unlabeled": points,
        "unlabeled_label": (points[:, 0] > 1.5).astype(int),
        "lam": np.ones((1, 20)) if lam is None else lam[None],
    }


@pytest.mark.parametrize("turned", [False, True])
def test_the_distance_is_that_to_the_line(turned):
    picture = line_at(1.25)
    expected = np.abs(picture["unlabeled"][:, 0] - 1.25)
    if turned:  # the boundary crosses the other lines of the grid
        picture["unlabeled"] = picture["unlabeled"][:, ::-1]
        picture["grid_x"], picture["grid_y"] = picture["grid_y"], picture["grid_x"]
        picture["probability"] = picture["probability"].transpose(0, 2, 1)
    np.testing.assert_allclose(distance_to_boundary(picture, 0), expected, atol=0.005)


def test_numbers_of_a_picture_by_hand():
    """The boundary at 1.1 has the points 1.2 and 1.4 on its wrong side: ids 6 and 7."""
    lam = np.ones(20)
    lam[[6, 0]] = 0.0, 0.25
    found = found_in(line_at(1.1, lam), 0)
    assert (found.wrong, found.at_zero) == (10.0, 5.0)
    assert (found.wrong_low, found.wrong_others) == (50.0, pytest.approx(100 / 18))
    assert found.distance_low == pytest.approx((0.1 + 1.1) / 2, abs=0.005)
    others = np.abs(np.delete(np.arange(20) / 5, [0, 6]) - 1.1)
    assert found.distance_others == pytest.approx(np.median(others), abs=0.005)


def test_equal_weights_have_no_lowest_tenth():
    found = found_in(line_at(1.1), 0)
    assert (found.wrong, found.at_zero) == (10.0, 0.0)
    assert np.isnan([found.wrong_low, found.wrong_others, found.distance_low]).all()


def test_without_a_boundary_no_distance():
    assert np.isnan(distance_to_boundary(line_at(9.0), 0)).all()


def learned(folder):
    """Two ways to learn on one set, of two seeds each: the whole net's, and the last layer's."""
    for params in ("all", "last_layer"):
        for seed in (1, 2):
            write_run(
                folder,
                f"{params}-{seed}",
                algorithm="pseudo_label",
                weighting="per_example",
                seed=seed,
                toy=snapshots((1, 20, 30), seed=seed),
                flags={"influence_params": params},
            )
    settings, _ = group_runs(collect_runs(folder).finished)
    return settings


def test_a_row_for_each_way_and_iteration_and_the_figure_is_of_the_whole_net(tmp_path):
    settings = learned(tmp_path)
    table = toy_table(settings, ("circles", "moons"))
    assert [row[0].rsplit(", ", 1)[1] for row in table.rows] == ["1", "20", "30"] * 2
    assert {row[-1] for row in table.rows} == {"2"}
    drawn = figures_toy.panels_of(settings[0])[0].snapshots
    (method,) = (m for m in settings[0].methods if "influence_params=all" in m.label)
    assert drawn is method.runs[0].snapshots


def test_no_pictures_no_table(tmp_path):
    write_run(tmp_path, "run", algorithm="pseudo_label", weighting="per_example")
    settings, _ = group_runs(collect_runs(tmp_path).finished)
    assert toy_table(settings, ("moons",)) is None

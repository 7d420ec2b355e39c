"""What the figures show: panels, tiles and numbers drawn into them; drawing repeats bit for bit."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from reporting_runs import evaluation, extremes, snapshots, weights, write_run

from experiments.pages.plotting import DPI, clean, draw, encode_image, wrapped
from experiments.report import curves, figures_images, figures_toy
from experiments.report.collect import collect_runs
from experiments.report.comparisons import compare_setting
from experiments.report.grouping import group_runs

LEARNED = {"algorithm": "fixmatch", "weighting": "per_example"}


def load(folder):
    settings, _ = group_runs(collect_runs(folder).finished)
    return settings


def the_run(folder, **options):
    write_run(folder, "run", **LEARNED, **options)
    return load(folder)[0].runs[0]


def test_grid_error_by_hand():
    arrays = {
        "grid_x": np.array([0.0, 1.0]),
        "grid_y": np.array([0.0, 1.0]),
        # Rises with x at y = 0 and falls at y = 1, so rows and columns cannot be mixed up.
        "probability": np.array([[[0.0, 1.0], [0.9, 0.6]]]),
        "unlabeled": np.array([[0.9, 0.0], [0.1, 0.0], [0.1, 1.0], [7.0, 0.0]]),
        "unlabeled_label": np.array([1, 1, 1, 1]),
    }
    assert figures_toy.grid_error(arrays, 0) == 25.0


def toy_setting(folder, iterations):
    for algorithm, weighting in (
        ("supervised", "fixed"),
        ("pseudo_label", "fixed"),
        ("pseudo_label", "per_example"),
    ):
        toy = snapshots(iterations)
        options = {"algorithm": algorithm, "weighting": weighting, "toy": toy}
        write_run(folder, f"{algorithm}-{weighting}", **options)
        write_run(folder, f"{algorithm}-{weighting}-2", seed=2, **options)
    return load(folder)[0]


def test_panels_are_those_of_figure_2_and_the_end(tmp_path):
    panels = figures_toy.panels_of(toy_setting(tmp_path, (0, 1, 20, 30, 50)))
    shown = [(panel.name, panel.frame, panel.shaded) for panel in panels]
    assert shown == [
        ("Ours", 1, True),
        ("Ours", 2, True),
        ("Ours", 3, True),
        ("Ours", 4, True),
        ("Supervised", 4, False),
        ("Pseudo-Label", 4, False),
        ("Ground truth", None, False),
    ]


def test_the_nearest_saved_iterations_are_drawn_once_each(tmp_path):
    panels = figures_toy.panels_of(toy_setting(tmp_path, (0, 19)))
    assert [panel.frame for panel in panels if panel.name == "Ours"] == [0, 1]


def test_without_ours_the_other_panels_remain(tmp_path):
    write_run(tmp_path, "run", toy=snapshots())
    names = [panel.name for panel in figures_toy.panels_of(load(tmp_path)[0])]
    assert names == ["Supervised", "Ground truth"]


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_a_boundary_out_of_view_is_no_fault(tmp_path, level):
    arrays = snapshots((3,))
    toy = {**arrays, "probability": np.full_like(arrays["probability"], level)}
    write_run(tmp_path, "run", toy={**toy, "lam": np.ones_like(arrays["lam"])}, **LEARNED)
    rows = figures_toy.toy_rows(load(tmp_path), ("moons",))
    with Image.open(io.BytesIO(figures_toy.toy_figure(rows))) as image:
        image.verify()


def test_other_toy_sets_are_found(tmp_path):
    write_run(tmp_path, "a", dataset="spirals", toy=snapshots())
    write_run(tmp_path, "b", dataset="moons", toy=snapshots())
    assert figures_toy.other_toys(load(tmp_path)) == ["spirals"]


def test_tiles_tell_right_wrong_and_unknown(tmp_path):
    table = weights()
    table["true_label"][2] = -1
    config = {"class_names": ["cat", "dog"]}
    run = the_run(tmp_path, table=table, images=extremes(), config=config)
    down, up = figures_images.galleries("g", run)
    assert [tile.tone for tile in down.tiles] == ["bad", "bad", "open"]
    assert down.tiles[0].lines == ("λ 0.10", "✗ pseudo: dog", "true: cat")
    assert down.tiles[2].lines == ("λ 0.30", "pseudo: cat", "true: unknown")
    assert up.tiles[0].lines == ("λ 2.00", "✓ pseudo: dog", "true: dog")
    assert (down.sheet.name, up.sheet.name) == ("g-down", "g-up")


def test_classes_without_names_are_numbers(tmp_path):
    run = the_run(tmp_path, table=weights(), images=extremes(), config={"class_names": ["cat"]})
    assert figures_images.galleries("g", run)[0].tiles[0].lines[1:] == ("✗ pseudo: 1", "true: cat")


def test_an_image_whose_weight_is_unknown_is_left_out(tmp_path):
    images = extremes(ids=((99, 1), (98,)))
    (down,) = figures_images.galleries("g", the_run(tmp_path, table=weights(), images=images))
    assert len(down.tiles) == 1


def test_no_gallery_without_images_or_weights(tmp_path):
    assert figures_images.galleries("g", the_run(tmp_path, images=extremes())) == []


@pytest.mark.parametrize("change", [{"visits": 0}, {"wrong": ()}])
def test_scatter_needs_a_visited_example(tmp_path, change):
    png = figures_images.weight_against_confidence("t", the_run(tmp_path, table=weights(**change)))
    assert (png is None) == ("visits" in change)


def test_images_are_enlarged_by_whole_factors():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with Image.open(io.BytesIO(encode_image(pixels))) as image:
        large = np.asarray(image)
    assert large.shape == (56, 56, 3)
    np.testing.assert_array_equal(large[::14, ::14], pixels)
    with Image.open(io.BytesIO(encode_image(np.zeros((200, 90, 1), np.uint8)))) as image:
        assert image.size == (90, 200)


def test_one_evaluation_makes_a_heat_map_and_a_curve(tmp_path):
    histogram = {"edges": [0.0, 1.0, 2.0], "counts": [3, 7]}
    write_run(tmp_path, "run", evals=[evaluation(5, 20.0, histogram=histogram)], **LEARNED)
    (setting,) = load(tmp_path)
    for png in (curves.lambda_heatmaps(setting.methods[0]), curves.learning_curves(setting)):
        with Image.open(io.BytesIO(png)) as image:
            image.verify()


def test_an_empty_histogram_is_no_histogram(tmp_path):
    histogram = {"edges": [0.0, 1.0], "counts": [0]}
    run = the_run(tmp_path, evals=[evaluation(5, 20.0, histogram=histogram)])
    assert not curves.has_histograms(run)


def test_drawing_repeats_bit_for_bit_and_has_the_size_asked_for():
    def paint(figure):
        figure.subplots().set_title("$not^maths")

    first, second = draw(3.0, 2.0, paint), draw(3.0, 2.0, paint)
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        assert image.size == (3 * DPI, 2 * DPI)


def test_text_for_figures_is_one_short_line():
    assert clean("a\n\x00b") == "a b"
    assert clean("x" * 70, 10) == "x" * 9 + "…"


def test_differences_show_all_of_the_names_of_their_rows(tmp_path, monkeypatch):
    """Two methods may differ at the end of a long name alone."""
    text = "Pseudo-Label + Λ [influence_params=all, inverse_hessian=exact, solve_iterations=8]"
    lines = wrapped(text, 36).split("\n")
    assert " ".join(lines) == text and max(map(len, lines)) <= 36
    for seed in (1, 2):
        base = {"algorithm": "fixmatch", "weighting": "fixed"}
        write_run(tmp_path, f"base-{seed}", seed=seed, **base)
        for rows in (8, 20):
            flags = {"influence_params": f"head|group_{rows}", "solve_iterations": rows}
            write_run(tmp_path, f"{rows}-{seed}", seed=seed, flags=flags, **LEARNED)
    comparisons = compare_setting(load(tmp_path)[0])
    names = [item.method.label for item in comparisons]
    figure = Figure()
    monkeypatch.setattr(curves, "draw", lambda width, height, paint: paint(figure))
    curves.difference_plot(comparisons)
    (axes,) = figure.axes
    shown = [label.get_text().split("\n", 1)[1] for label in axes.get_yticklabels()]
    assert [" ".join(one.split("\n")) for one in shown] == names
    assert len(set(names)) == 2 and min(map(len, names)) > 36


def test_a_gallery_shows_each_side_s_unlabeled_images_alone(tmp_path):
    """Files of older versions hold the ends of the order, wherever these lie."""
    table = weights() | {"labeled": np.arange(20) == 19}
    table["lam"][2] = 1.0
    down, up = figures_images.galleries(
        "g", the_run(tmp_path, table=table, images=extremes(ids=((0, 1, 2, 15), (19, 18, 3))))
    )
    assert (len(down.tiles), len(up.tiles)) == (2, 1)
    assert up.tiles[0].lines[0] == "λ 1.90"

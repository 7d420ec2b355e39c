"""Pictures of single examples: the most harmful and helpful images, and λ against confidence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.pages.document import Gallery, Picture, Tile
from experiments.pages.plotting import (
    BLUE,
    FAINT,
    GREEN,
    RED,
    VERMILLION,
    clean,
    draw,
    encode_image,
)
from experiments.report.detection import is_wrong, known_and_visited
from experiments.runs.extremes import (
    SIDES,
    WHICH,
    coverage_note,
    influence_text,
    name_text,
    ranked_in,
    title_of,
)
from experiments.runs.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_TILES = 24
SHEET_COLUMNS = 8
TILE_HEIGHT = 1.62  # an image and the five lines under it, in widths of a tile
MAX_POINTS = 4000
SAMPLE_SEED = 0
RIGHT = {"s": 9, "c": BLUE, "marker": "o", "linewidths": 0, "alpha": 0.45}
WRONG = {"s": 16, "c": VERMILLION, "marker": "x", "linewidths": 0.9, "alpha": 0.75, "zorder": 3}
LABELED = {"s": 14, "c": FAINT, "marker": "^", "linewidths": 0, "zorder": 2}
BORDERS = {"good": (GREEN, "solid"), "bad": (RED, "dashed"), "open": (FAINT, "dotted")}


def galleries(name: str, run: RunRecord) -> list[Gallery]:
    """Return the two galleries of a run, or fewer where it kept no images.

    Args:
        name: stem of the picture's file name.
        run: its weights give pseudo-label, true label and λ by id.
    """
    if run.extremes is None or run.weights is None:
        return []
    found = []
    note = coverage_note(run.weights)
    for side in SIDES:
        ids, images = run.extremes[f"{side}_ids"], run.extremes[f"{side}_images"]
        # Files of older versions hold images of the other side, too.
        places = {id: k for k, id in enumerate(run.weights["id"][ranked_in(run, side)].tolist())}
        pairs = [(i, image) for i, image in zip(ids, images, strict=True) if int(i) in places]
        pairs.sort(key=lambda pair: places[int(pair[0])])
        tiles = [_tile(run, int(i), image) for i, image in pairs[:MAX_TILES]]
        if tiles:
            title = f"{title_of(run.weights, side)}, seed {run.seed}"
            legend = f"{LEGEND} {note}".rstrip()
            sheet = Picture(f"{name}-{side}", _sheet(tiles, title), title, legend, wide=True)
            found.append(Gallery(title, tuple(tiles), sheet))
    return found


LEGEND = (
    f"Images {WHICH} Under each image: its name, its influence, λ, the final model's pseudo-label, "
    "and the true label. "
    "Solid green border and ✓: the pseudo-label is right; dashed red border and ✗: it is wrong."
)


def _tile(run: RunRecord, example: int, image: np.ndarray) -> Tile:
    weights = run.weights
    row = int(np.searchsorted(weights["id"], example))
    pseudo, truth = int(weights["pseudo_label"][row]), int(weights["true_label"][row])
    tone = "open" if truth < 0 else "good" if pseudo == truth else "bad"
    mark = {"good": "✓ ", "bad": "✗ ", "open": ""}[tone]
    influence = influence_text(weights, row)
    lines = (
        *((name_text(weights, row, 22),) if "name" in weights else ()),
        *((f"influence {influence}",) if influence else ()),
        f"λ {weights['lam'][row]:.2f}",
        f"{mark}pseudo: {clean(run.class_name(pseudo), 40)}",
        f"true: {clean(run.class_name(truth), 40)}",
    )
    return Tile(encode_image(image), lines, tone)


def _sheet(tiles: Sequence[Tile], title: str) -> bytes:
    """Return the gallery as one picture: a grid drawn in one pair of axes, in units of a tile."""
    rows, columns = -(-len(tiles) // SHEET_COLUMNS), min(len(tiles), SHEET_COLUMNS)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title, loc="left")
        for place, tile in enumerate(tiles):
            _paint_tile(axes, tile, place % columns, (place // columns) * TILE_HEIGHT)
        axes.set(xlim=(-0.02, columns), ylim=(rows * TILE_HEIGHT, -0.05))
        axes.set_aspect("equal")
        axes.set_axis_off()

    return draw(1.3 * max(columns, 3), 0.5 + 1.3 * TILE_HEIGHT * rows, paint)


def _paint_tile(axes: Axes, tile: Tile, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle
    from PIL import Image

    colour, dash = BORDERS[tile.tone]
    with Image.open(io.BytesIO(tile.png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height = 0.92 * pixels.shape[0] / max(pixels.shape[:2])
    width = 0.92 * pixels.shape[1] / max(pixels.shape[:2])
    axes.imshow(pixels, interpolation="nearest", extent=(x, x + width, y + height, y))
    frame = {"fill": False, "edgecolor": colour, "linestyle": dash, "linewidth": 2.5}
    axes.add_patch(Rectangle((x, y), width, height, **frame))
    lines = "\n".join(clean(line, 22) for line in tile.lines)
    axes.text(x + 0.46, y + 0.95, lines, ha="center", va="top", fontsize=7)


def weight_against_confidence(title: str, run: RunRecord) -> bytes | None:
    """Draw λ against confidence over visited examples, right and wrong pseudo-labels.

    Labeled examples that stand in U too have a mark of their own.

    Returns:
        The PNG, or None if the run has no visited example with a known true label.
    """
    if run.weights is None:
        return None
    weights = run.weights
    rows = np.flatnonzero(known_and_visited(weights) & np.isfinite(weights["confidence"]))
    if len(rows) == 0:
        return None
    if len(rows) > MAX_POINTS:
        rows = np.random.default_rng(SAMPLE_SEED).choice(rows, MAX_POINTS, replace=False)
    wrong = is_wrong(weights)[rows]
    looks = [
        (rows[~wrong], "right pseudo-label", RIGHT),
        (rows[wrong], "wrong pseudo-label", WRONG),
    ]
    if "labeled" in weights and weights["labeled"].any():
        labeled = np.flatnonzero(weights["labeled"] & (weights["visits"] > 0))
        looks.append((labeled, "labeled", LABELED))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for chosen, name, look in looks:
            name = f"{name} ({len(chosen):,})"
            axes.scatter(weights["confidence"][chosen], weights["lam"][chosen], label=name, **look)
        left = min(0.5, float(weights["confidence"][rows].min()))
        axes.set(xlabel="confidence of the final model", ylabel="λ", xlim=(left - 0.02, 1.02))
        axes.set_title(clean(title, 70), loc="left")
        axes.grid()
        figure.legend(loc="outside lower left", ncols=2, markerscale=2)

    return draw(6.2, 4.0, paint)

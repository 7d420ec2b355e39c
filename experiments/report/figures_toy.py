"""Figures 1 and 2 of the paper: decision boundaries and weights on the toy sets.

Unlabeled points are shaded by λ from near-black to pink, labeled points are orange; our boundary
is blue. Columns: our run at the paper's iterations and at its end, then supervised training and
Pseudo-Label at their end, then the true labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.pages.plotting import BLACK, BLUE, BROWN, GREEN, ORANGE, PURPLE, clean, draw
from experiments.report.grouping import Method, Setting
from experiments.runs.record import Arrays, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: a panel's width, the gap to the next, and the room for labels, bar, titles, legend lines.
PANEL, GAP, LEFT, BAR, TITLE, LEGEND = 1.66, 0.09, 0.36, 0.75, 0.68, 0.2
FIGURE_1, FIGURE_2 = ("linear",), ("circles", "moons")
ITERATIONS = {"linear": (0, 10, 20), "circles": (1, 20, 30), "moons": (1, 20, 30)}
SHADES = ("#333333", "#86596F", "#FF7EC2")  # λ from low to high: darkness alone tells them apart
CLASS_COLOURS, CLASS_MARKERS = (GREEN, PURPLE), ("o", "s")


@dataclass(frozen=True, eq=False)
class Panel:
    """One square of the figure; `frame` None draws the ground truth."""

    name: str
    snapshots: Arrays
    frame: int | None
    colour: str = BLACK
    dash: str = "solid"
    shaded: bool = False  # by λ; else plain


def toy_rows(
    settings: Sequence[Setting], names: Sequence[str]
) -> list[tuple[Setting, list[Panel]]]:
    """Return the panels of the named sets that have a snapshot to draw, in order of `names`."""
    rows = []
    for name in names:
        for setting in settings:
            panels = panels_of(setting) if setting.dataset == name else []
            if panels:
                rows.append((setting, panels))
    return rows


def other_toys(settings: Sequence[Setting]) -> list[str]:
    """Return the names of further data sets with snapshots, beyond those in the paper."""
    known = (*FIGURE_1, *FIGURE_2)
    return [
        setting.dataset
        for setting in settings
        if setting.dataset not in known and any(run.snapshots is not None for run in setting.runs)
    ]


def panels_of(setting: Setting) -> list[Panel]:
    """Return the panels of one set, from the smallest seed that learned per-example weights.

    Of several such methods, the one whose Eq. 6 speaks of the whole net.
    """
    ours = _first_run(setting, _speaks_of_all) or _first_run(setting, _is_learned)
    seed = ours.seed if ours else None
    supervised = _first_run(setting, lambda method: _is_plain(method, "supervised"), seed)
    base = _first_run(setting, lambda method: _is_plain(method, "pseudo_label"), seed)
    panels = _our_panels(setting, ours) if ours else []
    if supervised:
        panels.append(_final_panel("Supervised", supervised, GREEN, "dashed"))
    if base:
        panels.append(_final_panel("Pseudo-Label", base, BROWN, "dashdot"))
    if panels:
        panels.append(Panel("Ground truth", panels[0].snapshots, None))
    return panels


def _is_plain(method: Method, algorithm: str) -> bool:
    return method.algorithm == algorithm and not method.is_weighted and not method.uses_v_as_labels


def _is_learned(method: Method) -> bool:
    return method.weighting == "per_example"


def _speaks_of_all(method: Method) -> bool:
    options = method.runs[0].config["config"]
    return _is_learned(method) and options.get("influence_params") == "all"


def _first_run(setting: Setting, accepts: Any, seed: int | None = None) -> RunRecord | None:
    for method in setting.methods:
        for run in method.runs if accepts(method) else ():
            if run.snapshots is not None and seed in (None, run.seed):
                return run
    return None


def _our_panels(setting: Setting, run: RunRecord) -> list[Panel]:
    iterations = run.snapshots["iterations"]
    wanted = ITERATIONS.get(setting.dataset, (0, int(iterations[len(iterations) // 2])))
    frames = [int(np.argmin(np.abs(iterations - value))) for value in wanted]
    frames.append(len(iterations) - 1)  # the end, to be fair to what stands beside it
    return [
        Panel("Ours", run.snapshots, frame, BLUE, shaded=True) for frame in dict.fromkeys(frames)
    ]


def _final_panel(name: str, run: RunRecord, colour: str, dash: str) -> Panel:
    return Panel(name, run.snapshots, len(run.snapshots["iterations"]) - 1, colour, dash)


def toy_figure(rows: Sequence[tuple[Setting, Sequence[Panel]]]) -> bytes:
    """Draw the rows of panels with one λ scale per row."""
    columns = max(len(panels) for _, panels in rows)
    heights = [PANEL * _height(panels[0].snapshots) for _, panels in rows]
    width = LEFT + columns * (PANEL + GAP) + BAR
    panels = [panel for _, line in rows for panel in line]
    names = {panel.name for panel in panels if panel.frame is not None}
    entries = len(names) + 4  # of the legend: boundaries, and points of two classes
    beside = min(entries, int(width / PANEL))
    height = sum(heights) + len(rows) * TITLE + 0.3 + LEGEND * -(-entries // beside)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("none")  # every place is given in inches below
        top = height
        for panel_height, (setting, line) in zip(heights, rows, strict=True):
            top -= TITLE + panel_height
            boxes = [(LEFT + k * (PANEL + GAP), top, PANEL, panel_height) for k in range(columns)]
            boxes.append((LEFT + columns * (PANEL + GAP) + 0.05, top, 0.13, panel_height))
            grid = [figure.add_axes(_fractions(box, width, height)) for box in boxes]
            _paint_row(figure, grid, setting, line)
        look = {"loc": "lower center", "ncols": beside, "columnspacing": 1.3}
        figure.legend(handles=_legend(panels), **look)

    return draw(width, height, paint)


def _fractions(box: tuple[float, ...], width: float, height: float) -> list[float]:
    """Return a box (left, bottom, width, height) in inches as fractions of the figure."""
    return [box[0] / width, box[1] / height, box[2] / width, box[3] / height]


def _height(arrays: Arrays) -> float:
    """Return the height of a panel over its width, within reason: circles stay circles."""
    width, height = (np.ptp(arrays[name]) for name in ("grid_x", "grid_y"))
    return float(np.clip(height / width, 0.5, 1.6))


def _paint_row(
    figure: Figure, grid: Sequence[Axes], setting: Setting, panels: Sequence[Panel]
) -> None:
    from matplotlib.cm import ScalarMappable

    *line, bar = grid
    scale = _scale(panels)
    for axes, panel in zip(line, panels, strict=False):
        _paint_panel(axes, panel, scale)
    for axes in line[len(panels) :]:
        axes.set_axis_off()
    line[0].set_ylabel(clean(setting.title))
    if any(panel.shaded for panel in panels):
        mappable = ScalarMappable(scale, _colour_map())
        figure.colorbar(mappable, cax=bar, label="λ", extend="both", extendfrac=0.06)
    else:
        bar.set_axis_off()


def _scale(panels: Sequence[Panel]) -> Any:
    """Return the common λ range of a row: the central 98 %, so that no outlier flattens it."""
    from matplotlib.colors import Normalize

    shaded = [panel.snapshots["lam"][panel.frame] for panel in panels if panel.shaded]
    low, high = np.quantile(np.concatenate(shaded), [0.01, 0.99]) if shaded else (0.0, 1.0)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return Normalize(low, high)


def _colour_map() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("black_to_pink", SHADES)


def _paint_panel(axes: Axes, panel: Panel, scale: Any) -> None:
    arrays = panel.snapshots
    points, truth = arrays["unlabeled"], arrays["unlabeled_label"]
    if panel.frame is None:
        for label, (colour, marker) in enumerate(zip(CLASS_COLOURS, CLASS_MARKERS, strict=True)):
            chosen = points[truth == label]
            axes.scatter(*chosen.T, s=5, c=colour, marker=marker, linewidths=0)
    elif panel.shaded:
        lam = arrays["lam"][panel.frame]
        order = np.argsort(-lam, kind="stable")  # low weights on top: they are the rare ones
        axes.scatter(
            *points[order].T, s=7, c=lam[order], cmap=_colour_map(), norm=scale, linewidths=0
        )
    else:
        axes.scatter(*points.T, s=5, c="#B4BAC1", linewidths=0)
    if panel.frame is not None:
        _paint_boundary(axes, panel)
    _paint_labeled(axes, arrays)
    axes.set_title(_title(panel), fontsize=9.5)
    axes.set(xlim=arrays["grid_x"][[0, -1]], ylim=arrays["grid_y"][[0, -1]], xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(True)


def _paint_boundary(axes: Axes, panel: Panel) -> None:
    probability = panel.snapshots["probability"][panel.frame]
    if probability.min() < 0.5 < probability.max():  # else there is no boundary in view
        axes.contour(
            panel.snapshots["grid_x"],
            panel.snapshots["grid_y"],
            probability,
            levels=[0.5],
            colors=[panel.colour],
            linestyles=[panel.dash],
            linewidths=2.2,
        )


def _paint_labeled(axes: Axes, arrays: Arrays) -> None:
    for label, marker in enumerate(CLASS_MARKERS):
        chosen = arrays["labeled"][arrays["labeled_label"] == label]
        axes.scatter(
            *chosen.T, s=46, c=ORANGE, marker=marker, edgecolors=BLACK, linewidths=0.9, zorder=5
        )


def _title(panel: Panel) -> str:
    if panel.frame is None:
        return panel.name
    iteration = panel.snapshots["iterations"][panel.frame]
    error = grid_error(panel.snapshots, panel.frame)
    return f"{panel.name}\niteration {iteration:,}\n{error:.1f} % of U wrong"


def grid_error(snapshots: Arrays, frame: int) -> float:
    """Return the share of unlabeled points on the wrong side of p = 0.5, in percent.

    The number describes exactly the picture; the tables hold the model's own test error.
    """
    return 100.0 * float(np.mean(wrong_side(snapshots, frame)))


def wrong_side(snapshots: Arrays, frame: int) -> np.ndarray:
    """Return whether each unlabeled point is on the wrong side of p = 0.5, [|U|] bool.

    The probability is interpolated linearly on the drawn grid, and held constant outside it.
    """
    from scipy.interpolate import RegularGridInterpolator

    grid_x, grid_y = snapshots["grid_x"], snapshots["grid_y"]
    probability = RegularGridInterpolator((grid_y, grid_x), snapshots["probability"][frame])
    x = np.clip(snapshots["unlabeled"][:, 0], grid_x[0], grid_x[-1])
    y = np.clip(snapshots["unlabeled"][:, 1], grid_y[0], grid_y[-1])
    predicted = probability(np.stack([y, x], axis=1)) > 0.5
    return predicted != (snapshots["unlabeled_label"] == 1)


def _legend(panels: Sequence[Panel]) -> list[Any]:
    """Return handles for the points, and for the boundaries that are drawn."""
    from matplotlib.lines import Line2D

    def dot(colour: str, marker: str, label: str, size: float, edge: str = "none") -> Any:
        return Line2D([], [], ls="", c=colour, marker=marker, ms=size, mec=edge, label=label)

    lines = {panel.name: (panel.colour, panel.dash) for panel in panels if panel.frame is not None}
    return [
        dot(ORANGE, "o", "labeled, class 0", 7, BLACK),
        dot(ORANGE, "s", "labeled, class 1", 7, BLACK),
        *(
            Line2D([], [], c=colour, ls=dash, lw=2.2, label=f"boundary, {name}")
            for name, (colour, dash) in lines.items()
        ),
        dot(GREEN, "o", "true class 0", 5),
        dot(PURPLE, "s", "true class 1", 5),
    ]

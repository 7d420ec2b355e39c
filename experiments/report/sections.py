"""The sections of the report, each a list of blocks made from the runs."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from experiments.pages.document import Block, Details, Heading, Paragraph, Picture, Pictures
from experiments.pages.files import slug
from experiments.report.comparisons import Comparison, Role
from experiments.report.curves import (
    MAX_PANELS,
    difference_plot,
    has_histograms,
    lambda_heatmaps,
    learning_curves,
)
from experiments.report.detection import EXPLANATION, Detections, mean_table, run_table
from experiments.report.figures_images import (
    LEGEND,
    MAX_POINTS,
    galleries,
    weight_against_confidence,
)
from experiments.report.figures_toy import FIGURE_1, FIGURE_2, other_toys, toy_figure, toy_rows
from experiments.report.grouping import Setting
from experiments.report.narrative import overview, setting_points
from experiments.report.tables import READING, differences_table, results_table, sources_table
from experiments.report.texts import LEGEND as TEXTS_LEGEND
from experiments.report.texts import example_tables
from experiments.report.toy_weights import toy_table

TOY_CAPTION = (
    "Unlabeled points are shaded from black (low λ) to pink (high λ), labeled points are orange, "
    "lines are decision boundaries (p = 0.5). Ours is shown at the iterations of the paper (the "
    "nearest that was saved) and at its end; supervised training and Pseudo-Label at their end, "
    "with the same seed. “% of U wrong” is read off the drawn grid."
)


DIFFERENCES = (
    (
        "differences-base",
        "Learned weights against their base algorithm",
        "Dots: mean paired difference of test error; bars: 95 % t-interval (none for one seed). "
        "Blue: lower error; orange: higher; hollow grey: neither.",
        Role.BASE,
    ),
    (
        "differences-v",
        "Learned weights against V used as labels",
        "The same, against the base algorithm with V added to its labels.",
        Role.LABELS,
    ),
)
CURVES = (
    "Thick: mean over seeds (their number in brackets). Thin: single seeds. EMA weights; early "
    "errors above the axis are cut off."
)
SCATTERS = (
    "λ against the final model's confidence, first seed of each method: unlabeled examples whose "
    f"λ was updated (a random {MAX_POINTS:,} where there are more), and labeled ones among them."
)
HEATMAPS = (
    "Colour: share of the unlabeled examples in each bin of λ (logarithmic). White lines: median "
    f"(solid), 5 % and 95 % quantile (dashed). At most {MAX_PANELS} seeds of a method are shown."
)


def summary_section(
    settings: Sequence[Setting], comparisons: Sequence[Comparison], detections: Detections
) -> list[Block]:
    """Return what the numbers say, in words, and the same at a glance."""
    points = setting_points(settings, comparisons, detections)
    blocks: list[Block] = [
        overview(settings, comparisons),
        Details("In words, setting by setting", (points,)),
    ]
    pictures = tuple(
        Picture(name, difference_plot(shown), title, caption)
        for name, title, caption, role in DIFFERENCES
        if (shown := [item for item in comparisons if _is_shown(item, role)])
    )
    return [*blocks, Pictures(pictures)] if pictures else blocks


def _is_shown(item: Comparison, role: Role) -> bool:
    return item.method.is_learned and item.role is role and item.difference is not None


def sources_section(settings: Sequence[Setting]) -> list[Block]:
    """Return where the data came from and which split each seed used."""
    return [Heading("Data"), sources_table(settings)]


def results_section(settings: Sequence[Setting], comparisons: Sequence[Comparison]) -> list[Block]:
    """Return, per setting, the errors by both selection rules, then paired differences."""
    blocks: list[Block] = [Heading("Results"), *(Paragraph(text) for text in READING)]
    for setting in settings:
        mine = [item for item in comparisons if item.setting is setting]
        blocks += [Heading(setting.title, 3), results_table(setting)]
        if mine:
            blocks += [Heading("Paired differences", 4), differences_table(mine)]
        else:
            blocks.append(Paragraph("Nothing to compare with: no other method on this data."))
    return blocks


def toy_section(settings: Sequence[Setting]) -> list[Block]:
    """Return Figs. 1 and 2, other toy sets if there are any, and what their weights show."""
    groups = (
        ("figure-1-linear", "Fig. 1, linearly separable data", FIGURE_1),
        ("figure-2-circles-moons", "Fig. 2, circles and moons", FIGURE_2),
        ("other-toy-sets", "Other toy sets", tuple(other_toys(settings))),
    )
    blocks: list[Block] = []
    for name, title, datasets in groups:
        rows = toy_rows(settings, datasets)
        if rows:
            blocks.append(Picture(name, toy_figure(rows), title, TOY_CAPTION, wide=True))
            table = toy_table(settings, datasets)
            blocks.extend([table] if table else [])
    return [Heading("Toy sets: boundaries and weights"), *blocks] if blocks else []


def curves_section(settings: Sequence[Setting]) -> list[Block]:
    """Return the test error over training, every setting."""
    pictures = tuple(
        Picture(
            _setting_name("learning-curves", setting),
            learning_curves(setting),
            f"Test error, {setting.title}",
        )
        for setting in settings
    )
    return [Heading("Learning curves"), Paragraph(CURVES), Pictures(pictures)]


def weights_section(settings: Sequence[Setting]) -> list[Block]:
    """Return how λ spread over training, one picture per method."""
    pictures = tuple(
        Picture(
            _name("lambda", setting, place, method.label),
            lambda_heatmaps(method),
            f"λ of {method.label}, {setting.title}",
        )
        for setting in settings
        for place, method in enumerate(setting.methods)
        if method.is_learned and any(has_histograms(run) for run in method.runs)
    )
    heading = Heading("Weights over training")
    return [heading, Paragraph(HEATMAPS), Pictures(pictures)] if pictures else []


def gallery_section(settings: Sequence[Setting]) -> list[Block]:
    """Return the most harmful and helpful images; the first seed open, the others folded."""

    def shown(setting, place, method):
        prefix = _name("images", setting, place, method.label)
        return [galleries(f"{prefix}-{run.seed}", run) for run in method.runs]

    blocks = _extremes(settings, shown)
    title = Heading("Most harmful and helpful images")
    return [title, Paragraph(LEGEND), *blocks] if blocks else []


def texts_section(settings: Sequence[Setting]) -> list[Block]:
    """Return the most harmful and helpful texts and rows of features, as `gallery_section`."""
    blocks = _extremes(settings, lambda setting, place, method: map(example_tables, method.runs))
    title = Heading("Most harmful and helpful texts and rows of features")
    return [title, Paragraph(TEXTS_LEGEND), *blocks] if blocks else []


def _extremes(settings, shown):
    """Return what `shown` (setting, place, method) -> blocks of a run gives for learned weights."""
    blocks: list[Block] = []
    for setting in settings:
        for place, method in enumerate(setting.methods):
            runs = shown(setting, place, method) if method.is_learned else ()
            found = [one for one in runs if one]
            if not found:
                continue
            blocks += [Heading(f"{method.label}, {setting.title}", 3), *found[0]]
            if len(found) > 1:
                others = tuple(block for one in found[1:] for block in one)
                blocks.append(Details("The other seeds", others))
    return blocks


def detection_section(settings: Sequence[Setting], detections: Detections) -> list[Block]:
    """Return how well −λ finds wrong pseudo-labels, with λ against confidence beside it."""
    heading = Heading("Does a low λ find wrong pseudo-labels?")
    if not any(detections.values()):
        return [heading, Paragraph("No finished run with weights recorded them per example.")]
    pictures = tuple(picture for setting in settings for picture in _scatters(setting))
    return [
        heading,
        Paragraph(EXPLANATION),
        mean_table(detections),
        Details("Every run", (run_table(detections),)),
        *([Paragraph(SCATTERS), Pictures(pictures)] if pictures else []),
    ]


def _scatters(setting: Setting) -> list[Picture]:
    """Return λ against confidence of the first run of each method that learned weights."""
    pictures = []
    for place, method in enumerate(setting.methods):
        run = method.runs[0]
        title = f"{method.label}, {setting.title}, seed {run.seed}"
        png = weight_against_confidence(title, run) if method.is_learned else None
        if png:
            name = _name("confidence", setting, place, method.label)
            pictures.append(Picture(name, png, f"λ against confidence, {title}"))
    return pictures


def _name(kind: str, setting: Setting, place: int, label: str) -> str:
    # The place keeps names apart that differ only in characters a file name cannot hold.
    return f"{_setting_name(kind, setting)}-{place}-{slug(label)}"


def _setting_name(kind: str, setting: Setting) -> str:
    name = setting.dataset
    if not re.fullmatch(r"[a-z0-9_]+", name):  # such as a path: a check sum keeps it unique
        name += f"-{zlib.crc32(name.encode('utf-8')):08x}"
    return f"{slug(kind)}-{slug(name)}-{setting.num_labeled}"

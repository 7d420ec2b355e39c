"""One look for every figure: colours that survive colour-blindness, sizes, and PNG encoding.

Figures are drawn on canvases of their own (no pyplot), so importing the report changes no global
state and needs no display.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

DPI = 150
# Okabe and Ito's colours, which stay apart in the common kinds of colour-blindness.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#8F4A9E"
RED = "#D5482B"  # of wrong pseudo-labels, always together with a dashed line or a cross
ORANGE, SKY, BLACK, BROWN = "#E69F00", "#56B4E9", "#1B1B1B", "#8A5A2B"
SERIES = (BLACK, VERMILLION, GREEN, BLUE, PURPLE, SKY, BROWN, ORANGE)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MARKERS = ("o", "s", "^")
INK, FAINT = "#24292F", "#8C959F"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.parse_math": False,  # a "$" in somebody's class name is a dollar sign
    "text.color": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#E4E7EB",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw(width: float, height: float, paint: Callable[[Figure], None]) -> bytes:
    """Draw a figure in the report's style.

    Args:
        width: inches.
        height: inches.
        paint: draws on the figure it is given.

    Returns:
        The PNG file.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Missing glyphs (a class name in a script that the font lacks) are drawn as boxes; no news.
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        stream = io.BytesIO()
        # No metadata: the same runs give the same bytes.
        FigureCanvasAgg(figure).print_figure(
            stream, format="png", dpi=DPI, metadata={"Software": None}
        )
    return stream.getvalue()


def series_colour(position: int) -> str:
    """Return the colour of the n-th line of a figure."""
    return SERIES[position % len(SERIES)]


def series_marker(position: int) -> str:
    """Return the marker of the n-th series of points: another each time the colours begin anew."""
    return MARKERS[position // len(SERIES) % len(MARKERS)]


def series_dash(position: int) -> str | tuple[float, tuple[float, ...]]:
    """Return the line style of the n-th line: a second cue beside its colour."""
    return DASHES[position % len(DASHES)]


def clean(text: str, limit: int = 60) -> str:
    """Return the text for a figure: no control characters, one line, not longer than `limit`."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def wrapped(text: str, width: int) -> str:
    """Return all of the text for a figure, in lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(clean(text, len(text)), width))


def encode_image(image: np.ndarray) -> bytes:
    """Return uint8 pixels [H, W, 1 or 3] as PNG, small ones enlarged to about 56 px."""
    from PIL import Image

    pixels = image[..., 0] if image.shape[-1] == 1 else image
    picture = Image.fromarray(pixels)
    factor = max(1, 56 // max(picture.size))
    if factor > 1:
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()

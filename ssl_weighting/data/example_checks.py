"""What inputs, texts and views of examples must be, each refused by name if it is not."""

from __future__ import annotations

import numpy as np

from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.numbers import rows_not_finite


def check_inputs(inputs: np.ndarray | ExampleTable) -> None:
    """Raise ValueError unless these are images, points or tokens; see `examples.Examples`."""
    known = isinstance(inputs, np.ndarray | ExampleTable)
    images = known and inputs.dtype == np.uint8 and inputs.ndim == 4
    points = known and inputs.dtype == np.float32 and inputs.ndim >= 2
    tokens = known and inputs.dtype == np.int32 and inputs.ndim == 2
    if not (images or points or tokens):
        raise ValueError(
            "`inputs` must be an array of uint8 images [n, H, W, C], float32 points [n, d] or "
            f"int32 tokens [n, L]. Received: inputs={described(inputs)}. Convert with `astype` "
            "and `reshape`."
        )
    if isinstance(inputs, ExampleTable):
        return
    if tokens and inputs.size and inputs.min() < 0:
        raise ValueError(
            "`inputs` must be tokens from 0, the padding. Received: a token "
            f"{inputs.min()}. Tokenise with the tokenizer of the model."
        )
    _check_finite("inputs", inputs)


def check_texts(texts: np.ndarray | None, inputs: np.ndarray | ExampleTable) -> None:
    """Raise ValueError unless these are None or the texts of tokens; see `examples.Examples`."""
    if texts is None:
        return
    fits = isinstance(texts, np.ndarray) and texts.dtype == object
    if not (fits and texts.shape == (len(inputs),) and inputs.dtype == np.int32):
        raise ValueError(
            f"`texts` must be an array of str objects [{len(inputs)}], one for each row of tokens. "
            f"Received: texts={described(texts)} for inputs={described(inputs)}."
        )


def check_views(views: np.ndarray | None, inputs: np.ndarray | ExampleTable) -> None:
    """Raise ValueError unless these are None or views of points; see `examples.Examples`."""
    if views is None:
        return
    fits = isinstance(views, np.ndarray) and views.dtype == inputs.dtype == np.float32
    fits = fits and isinstance(inputs, np.ndarray)
    if not fits or views.shape[:1] + views.shape[2:] != inputs.shape or not views.shape[1]:
        raise ValueError(
            "`views` must be a float32 array [n, K, ...], K > 0 views of each of the inputs "
            f"[n, ...], an array too. Received: views={described(views)} for "
            f"inputs={described(inputs)}."
        )
    _check_finite("views", views)


def _check_finite(name: str, rows: np.ndarray) -> None:
    bad = rows_not_finite(rows)
    if len(bad):
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in {len(bad)} of {len(rows)} "
            f"rows, the first is row {bad[0]}. Remove or repair these rows."
        )


def described(value: object) -> str:
    """Return dtype and shape of an array or a table, of anything else its type."""
    if isinstance(value, np.ndarray | ExampleTable):
        return f"{value.dtype.name}{list(value.shape)}"
    return type(value).__name__

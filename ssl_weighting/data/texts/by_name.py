"""The text sets by name: the movie reviews of Sec. 4.2, an offline stand-in, and a user's own."""

from __future__ import annotations

import os

from ssl_weighting.data.examples import DataSplits, RawDataset
from ssl_weighting.data.splits import make_splits
from ssl_weighting.data.texts.csv_rows import AUTO, USUAL, Layout
from ssl_weighting.data.texts.csv_text import load_csv
from ssl_weighting.data.texts.imdb import load_imdb
from ssl_weighting.data.texts.raw import RawTexts
from ssl_weighting.data.texts.rotten_tomatoes import load_rotten_tomatoes

NAMES = ("imdb", "rotten_tomatoes")


def load_texts(
    dataset: str,
    data_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    layout: Layout = USUAL,
    on_error: str = AUTO,
) -> RawTexts:
    """Return a text set, its source named.

    Args:
        dataset: one of `NAMES`, or csv:PATH (see `load_csv`).
        data_dir: folder with the files of the set; then no other source is tried.
        cache_dir: where downloads lie; None for TFDS's own folder.
        layout, on_error: of csv:PATH, as in `load_csv`.

    Raises:
        FileNotFoundError: if no source has the data.
        ValueError: if the name is unknown, an argument does not fit, or a file is damaged.
    """
    check_texts(dataset, data_dir)
    kind, _, path = dataset.partition(":")
    if kind == "csv":
        return load_csv(path, layout, on_error)
    if dataset == "imdb":
        return load_imdb(data_dir, cache_dir)
    return load_rotten_tomatoes(data_dir)


def check_texts(dataset: str, data_dir: str | os.PathLike | None = None) -> None:
    """Check what `load_texts` is to load, before anything is read.

    Raises:
        FileNotFoundError: there is no file at csv:PATH.
        ValueError: the name is unknown, or it needs no `data_dir`.
    """
    kind, _, path = dataset.partition(":")
    if dataset not in NAMES and not (kind == "csv" and path):
        raise ValueError(
            f"`dataset` must be one of {', '.join(NAMES)}, or csv:PATH. "
            f"Received: dataset={dataset!r}."
        )
    if kind == "csv" and data_dir is not None:
        raise ValueError(
            "`data_dir` must be left out for csv:PATH, which names its file. "
            f"Received: data_dir={os.fspath(data_dir)!r}."
        )
    if path and not os.path.exists(path):
        raise FileNotFoundError(
            f"`dataset` must name a file. Received: {dataset}, which is not there."
        )


def make_text_splits(
    texts: RawTexts,
    tokens: RawDataset,
    num_labeled: int | None = 20,
    val_size: int | None = 20,
    seed: int = 1,
    val_seed: int = 0,
    num_unlabeled: int | None = None,
    validation_as_labels: bool = False,
) -> DataSplits:
    """Return D, U, V and the test set of `tokens`, as `make_splits` cuts them.

    D is the one that the set's authors chose, in their order, where they chose `num_labeled`
    examples (IMDb: 20), whatever the seed; else it is drawn.

    Args:
        texts: the set.
        tokens: `texts.tokenised(...)`.
        num_labeled, val_size, seed, val_seed, num_unlabeled, validation_as_labels: as in
            `make_splits`.

    Raises:
        ValueError: as `make_splits`.
    """
    rows = texts.labeled_rows
    return make_splits(
        tokens,
        num_labeled,
        val_size,
        seed=seed,
        val_seed=val_seed,
        num_unlabeled=num_unlabeled,
        validation_as_labels=validation_as_labels,
        labeled_rows=rows if rows is not None and len(rows) == num_labeled else None,
    )

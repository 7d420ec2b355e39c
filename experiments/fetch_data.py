"""Get a data set into the cache before training starts, so that no training waits for a network.

  python -m experiments.fetch_data --dataset=fashion_mnist --cache="$HOME/.cache/ssl_weighting"

Takes seconds: 31 MB for Fashion-MNIST from Debian's package (downloaded and unpacked, not
installed), nothing when it is there already. Prints the source. Exits with 3, saying what was
tried, when no source has the set, and with 1 on any other failure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import app, flags

from experiments.runs.cache import cache_dir
from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.data.images import debian
from ssl_weighting.data.images.by_name import NAMES, load_images
from ssl_weighting.data.images.idx import find_idx

UNAVAILABLE = 3  # exit code; run_all.sh goes on without the set on this one alone


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_enum("dataset", "fashion_mnist", NAMES, "The data set.", flag_values=values)
    flags.DEFINE_string("cache", cache_dir(), "Folder for downloaded data.", values)


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if the set can be read now, `UNAVAILABLE`, else 1."""
    if len(arguments) > 1:
        raise app.UsageError(
            f"Unknown arguments: {' '.join(arguments[1:])}. Use --dataset, --cache."
        )
    try:
        print(f"data: {prepare(flags.FLAGS.dataset, flags.FLAGS.cache)}")
    except (OSError, ValueError) as error:
        print(f"data: {error}", file=sys.stderr)
        return UNAVAILABLE if isinstance(error, UnavailableError) else 1
    return 0


def prepare(dataset: str, cache: str | os.PathLike) -> str:
    """Make a data set readable offline from now on.

    Args:
        dataset: one of `images.NAMES`.
        cache: folder for downloaded data; made if missing.

    Returns:
        The source, in words. The set was read from it once, so it is whole.

    Raises:
        UnavailableError: if no source has the set; says what was tried.
        OSError, ValueError: if the cache cannot be written or a file is damaged.
    """
    if dataset == "fashion_mnist" and not find_idx(debian.INSTALLED_FOLDER):
        try:
            debian.fetch_fashion_mnist(cache)
        except RuntimeError as error:  # not the last way: TFDS is tried below
            print(f"data: {error}", file=sys.stderr)
    return load_images(dataset, cache_dir=cache).source


if __name__ == "__main__":
    define_flags()
    app.run(main)

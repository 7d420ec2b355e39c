"""Train one image classifier: base SSL algorithm, with or without learned weights (Sec. 4.2).

    python -m experiments.train_images --dataset=fashion_mnist --num_labeled=250 \
        --algorithm=fixmatch --weighting=per_example --seed=1 --out=results/runs/mine

Data sets: fashion_mnist, mnist, digits, npz:PATH, folder:PATH. The defaults are the paper's;
digits and mnist come with a small recipe for a CPU. A run continues from its last checkpoint.
"""

from __future__ import annotations

import sys

from absl import app, flags

from experiments.cache import cache_dir
from experiments.errors import friendly
from experiments.flags import config_from_flags, define
from experiments.run import TERMINATED, execute

CACHE = flags.DEFINE_string(
    "cache_dir", "", "where prepared data sets lie; empty: the user's cache"
)


def main(argv):
    """Run the configuration of the command line."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    config = config_from_flags()
    if not config.dataset or not config.out:
        raise app.UsageError("--dataset and --out must be given.")
    with friendly():
        summary = execute(config, "train_images", cache_dir=cache_dir(CACHE.value))
    return 0 if summary else TERMINATED


def run() -> None:
    """Entry point."""
    define()
    app.run(main)


if __name__ == "__main__":
    sys.exit(run())

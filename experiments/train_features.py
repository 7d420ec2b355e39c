r"""Train a head on features of one's own: base SSL algorithm, with or without learned weights.

    python -m experiments.train_features --dataset=features:FILE --out=results/runs/mine
    python -m experiments.train_features --dataset=features:FILE --algorithm=fixmatch \
        --feature_views=mixed --head=mlp --out=results/runs/mixed

FILE is .npz, .parquet or a folder of .npy files, with float features x_train and their classes
y_train; x_unlabeled, x_test, y_test, x_validation, y_validation, class_names and names of examples
are optional (columns of a .parquet file: x, y, split, name, views). Features are standardised
inside the model, which takes them as they are in FILE. The defaults fit the file and --minutes
(--recipe=own, docs/own_data.md); --recipe=paper gives a small recipe for a CPU. A run continues
from its last checkpoint.
"""

from __future__ import annotations

from absl import app

from experiments.options.feature_recipes import FEATURES
from experiments.options.flags import config_from_flags, define
from experiments.options.kinds import FEATURE_ROWS, check_kind
from experiments.runs.errors import friendly
from experiments.runs.start import TERMINATED, execute
from ssl_weighting.data.features.by_name import check_features


def main(argv: list[str]) -> int:
    """Run the configuration of the command line; return the exit code."""
    with friendly():
        config = config_from_flags(argv, kind=FEATURE_ROWS)
        check_kind(config.dataset, FEATURE_ROWS)
        check_features(config.dataset, config.data_dir or None)
        summary = execute(config, "train_features")
    return 0 if summary else TERMINATED


if __name__ == "__main__":
    define(shown=FEATURES)
    app.run(main)

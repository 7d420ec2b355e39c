r"""Train one image classifier: base SSL algorithm, with or without learned weights (Sec. 4.2).

    python -m experiments.train_images --dataset=fashion_mnist --num_labeled=250 \
        --algorithm=fixmatch --weighting=per_example --seed=1 --out=results/runs/mine
    python -m experiments.train_images --dataset=fashion_mnist --num_train=5000 --num_test=2000 \
        --backbone=efficientnet_lite0 --out=results/runs/features
    python -m experiments.train_images --dataset=folder:PATH --out=results/runs/photos

Data sets: cifar10, svhn_cropped, svhn_cropped_extra (TensorFlow Datasets, or the original files in
--data_dir), fashion_mnist, mnist, digits, npz:PATH, folder:PATH. The defaults are the paper's;
digits and mnist come with a small recipe for a CPU, and one's own images, npz: and folder:, with
one that fits them and --minutes (--recipe=own, docs/own_data.md). With --backbone a head is trained
on the features of a frozen net (docs/backbones.md), as train_features trains on a file of them. A
run continues from its last checkpoint.
"""

from __future__ import annotations

from absl import app, flags

from experiments.options.backbone import check_file
from experiments.options.flags import config_from_flags, define
from experiments.options.kinds import IMAGES, check_kind
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.start import TERMINATED, execute
from ssl_weighting.data.images.by_name import check_images


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    define(values)
    define_flag(values)


def main(argv: list[str]) -> int:
    """Run the configuration of the command line; return the exit code."""
    with friendly():
        config = config_from_flags(argv, kind=IMAGES)
        check_kind(config.dataset, IMAGES)
        if not config.smoke:
            check_images(config.dataset, config.data_dir or None)
        check_file(config.backbone)
        summary = execute(config, "train_images", cache_dir=cache_dir(flags.FLAGS.cache_dir))
    return 0 if summary else TERMINATED


if __name__ == "__main__":
    define_flags()
    app.run(main)

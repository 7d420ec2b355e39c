r"""Make features of images or texts with a frozen backbone, once, for training on them.

    python -m experiments.extract_features --dataset=folder:PATH --backbone=efficientnet_lite0 \
        --views=2 --out=photos.npz
    python -m experiments.extract_features --dataset=cifar10 --image_size=96 \
        --backbone=keras_applications:MobileNetV2 --out=cifar.npz
    python -m experiments.extract_features --dataset=npz:FILE --backbone=saved:NET.keras \
        --out=own.npz
    python -m experiments.extract_features --dataset=csv:reviews.csv --backbone=minilm \
        --out=reviews.npz

Data sets are those of train_images and train_text. docs/backbones.md tells of backbones, views and
the file. A call that is killed goes on where it was; one whose file is there already does nothing.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.options import extraction
from experiments.options.backbone import IMAGE_BACKBONES, TEXT_BACKBONES
from experiments.options.flags import define
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    define(values, names=extraction.SHARED)
    text = "side to resize images to; 0: the net's own, or 96 for small images and 224 for others"
    flags.DEFINE_integer(extraction.SIZE, 0, text, flag_values=values)
    text = f"images: {IMAGE_BACKBONES}; texts: {TEXT_BACKBONES}"
    flags.DEFINE_string("backbone", "", text, values)
    flags.DEFINE_string("out", "", "file to write, .npz", values)
    text = "strong views of each unlabeled example, beside a weak one; 0: the example alone"
    flags.DEFINE_integer("views", 0, text, flag_values=values)
    text = "random subset of the labeled training examples, in their proportions, and at most as "
    text += "many unlabeled ones; 0: all"
    flags.DEFINE_integer("num_train", 0, text, flag_values=values)
    define_flag(values)


def main(argv: list[str]) -> None:
    """Make the features that the command line asks for."""
    with friendly():
        asked = extraction.extraction(argv, flags.FLAGS)
        from experiments.assemble.features import make_features  # loads TensorFlow

        out = Path(flags.FLAGS.out)
        new = make_features(asked, out, cache_dir(flags.FLAGS.cache_dir))
    print(f"{'features' if new else 'made already, of the same inputs and options'}: {out}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

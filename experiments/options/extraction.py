"""What features are asked for, by `extract_features` or by a run; checked before TensorFlow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from experiments.options.backbone import MOST_VIEWS, check_backbone, check_file
from experiments.options.config import Config
from experiments.options.effects import refuse_without_effect
from experiments.options.flags import given
from experiments.options.kinds import TEXTS, kind_of
from experiments.options.presets import make_config
from ssl_weighting.data.features.extraction import is_made
from ssl_weighting.data.images.by_name import check_images
from ssl_weighting.data.texts.by_name import check_texts

# Options that mean here what they mean to the training programs.
SHARED = (
    "dataset", "data_dir", "on_error", "text_column", "label_column", "id_column",
    "delimiter", "max_len", "truncation", "num_test", "seed", "flip", "text_augment",
    "text_augment_p",
)  # fmt: skip
SIZE = "image_size"  # which means something else: 0 is for the net to choose
_OF_VIEWS = ("seed", "flip", "text_augment", "text_augment_p")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """Of what, by what.

    Attributes:
        config: the data's options, recipes filled in.
        backbone: what --backbone says.
        views: K, strong views of an example of U; 0: features of the example itself alone.
        num_train: labeled training examples, and unlabeled ones at most; 0: all.
    """

    config: Config
    backbone: str
    views: int = 0
    num_train: int = 0


def extraction(argv: list[str], values: flags.FlagValues) -> Extraction:
    """Return what the command line asks for.

    Raises:
        FileNotFoundError: something that it names is not there.
        ValueError: an option was refused or is missing.
    """
    if len(argv) > 1:
        raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
    for name in ("dataset", "backbone", "out"):
        if not values[name].value:
            raise ValueError(f"--{name} must be given; --helpshort lists all. Received: nothing")
    options = given(values, SHARED) | given(values, [SIZE])
    dataset, text = options["dataset"], kind_of(options["dataset"]) is TEXTS
    (check_texts if text else check_images)(dataset, options.get("data_dir") or None)
    check_backbone(values.backbone, text)
    check_file(values.backbone)
    config = make_config(**options, **({"bert": values.backbone} if text else {}))
    refuse_without_effect(config, options)
    _check_sizes(values, options)
    if values.views and text and config.text_augment == "none":
        raise ValueError(
            "--text_augment must be tf_idf or uniform where --views asks for strong views of "
            "texts. Received: --text_augment=none"
        )
    _check_out(Path(values.out), dataset)
    return Extraction(config, values.backbone, values.views, values.num_train)


def extraction_of(config: Config) -> Extraction:
    """Return the features that a run with --backbone is trained on.

    They do not depend on its seed, so that all seeds share them: views are those of seed 0.
    """
    options = {name: getattr(config, name) for name in (*SHARED, SIZE)} | {"seed": 0}
    if kind_of(config.dataset) is TEXTS:
        options["bert"] = config.backbone
    return Extraction(make_config(**options), config.backbone, config.views, config.num_train)


def _check_sizes(values, options):
    if not 0 <= values.views <= MOST_VIEWS:
        raise ValueError(
            f"--views must be from 0 to {MOST_VIEWS}. Received: --views={values.views}"
        )
    if values.num_train < 0:
        raise ValueError(f"--num_train must be 0 or more. Received: {values.num_train}")
    idle = [name for name in _OF_VIEWS if name in options and not values.views]
    if idle:
        raise ValueError(f"--{idle[0]} would do nothing here: it needs --views. Leave it out")
    if options["dataset"].startswith("folder:") and (values.num_train or options.get("num_test")):
        raise ValueError(
            "--num_train and --num_test must be left out for folder:PATH, all of which is read. "
            f"Received: {values.num_train}, {options.get('num_test', 0)}"
        )


def _check_out(out, dataset):
    source = Path(dataset.partition(":")[2])
    if out.suffix != ".npz":
        raise ValueError(f"--out must end in .npz. Received: --out={out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"--out must name a file in a folder that is there. Received: --out={out}"
        )
    if ":" in dataset and out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"--out must be another file than --dataset. Received: --out={out}")
    is_made(out, "")  # refuses what is no file of features

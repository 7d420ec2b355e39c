"""Options of the data: which set, and how D, U, V and the test set are cut from it."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import (
    BOOKKEEPING,
    CONTENT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    Group,
    Need,
    Range,
)
from experiments.options.features import has_backbone, reads, takes_views
from experiments.options.kinds import IMAGES
from ssl_weighting.data.contamination import KINDS
from ssl_weighting.data.images.by_name import AUTO, SOURCES
from ssl_weighting.data.images.folders import ON_ERROR
from ssl_weighting.data.images.uda_labels import LABELED_SETS
from ssl_weighting.data.splits import VAL_ORDERS

PAPER, OWN = "paper", "own"  # --recipe
VALIDATIONS = ("held_out", "cross_fit")

_option = Group("data", departs=False)
_CONTAMINABLE = Need("images, or --backbone", lambda c: c.model == "wide_resnet" or has_backbone(c))
_IMAGES = Need("images without --backbone", lambda c: c.model == "wide_resnet")
_UNPACKED = Need(
    "--dataset=folder:PATH or npz:PATH without --backbone",
    lambda c: c.dataset.startswith(("folder:", "npz:")) and c.model == "wide_resnet",
)


def _has_views(config):
    return takes_views(config) and config.views > 0


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Which examples a run is given."""

    preset: str = _option(
        "paper", "which column of the README's presets table", choices=("paper", "released")
    )
    dataset: str = _option(
        "",
        "a built-in name; of your own: npz:PATH, folder:PATH, packed:DIR, csv:PATH, features:PATH",
    )
    data_dir: str = _option(
        "", "folder with the data set's files, where it is not downloaded",
        effect=CONTENT, free=True,
    )  # fmt: skip
    image_size: int = _option(
        0,
        "side to resize images to; 0: as they are, or as --backbone takes them",
        NOT_NEGATIVE,
        needs=Need("images", lambda c: reads(c, IMAGES)),
        departs=True,
    )
    source: str = _option(
        AUTO,
        "where images are while they are read: in memory, or as a stream from a pack of them, made "
        "once in the cache; auto: in memory where there is room",
        choices=SOURCES,
        needs=_UNPACKED,
        effect=BOOKKEEPING,
        free=True,
    )
    jpeg_draft: bool = _option(
        False,
        "decode JPEGs to a half, quarter or eighth of their size where --image_size is no larger: "
        "faster, with slightly other pixels",
        needs=Need(
            "--dataset=folder:PATH with --image_size, and no --backbone",
            lambda c: (
                c.dataset.startswith("folder:") and c.image_size > 0 and c.model == "wide_resnet"
            ),
        ),
        departs=True,
    )
    on_error: str = _option(
        "auto",
        "at what cannot be read: skip and list it, or stop; auto skips what is unlabeled alone",
        choices=ON_ERROR,
        needs=Need(
            "--dataset=folder:PATH or csv:PATH", lambda c: c.dataset.startswith(("folder:", "csv:"))
        ),
    )
    num_train: int = _option(
        0,
        "random part of the labeled training examples, always the same, and at most as many of the "
        "unlabeled ones, for --backbone to read: D, V and U are drawn from it; 0: all",
        NOT_NEGATIVE,
        needs=Need(
            "--backbone other than none and another --dataset than folder:PATH",
            lambda c: has_backbone(c) and not c.dataset.startswith("folder:"),
        ),
    )
    recipe: str = _option(
        PAPER,
        "whose defaults: the paper's and its presets, or of one's own data, which follow from its "
        "size, --minutes and the device; own is the default of what is of your own",
        choices=(PAPER, OWN),
        effect=BOOKKEEPING,
        free=True,
    )
    minutes: float = _option(
        15.0,
        "time that the run may take, by the constants of a slow CPU",
        POSITIVE,
        needs=Need("--recipe=own", lambda c: c.recipe == OWN),
        effect=BOOKKEEPING,
        free=True,  # what follows from it is compared
    )
    num_labeled: int = _option(250, "labeled examples n; 0: all that V leaves", NOT_NEGATIVE)
    val_size: int = _option(
        1024,
        "validation examples |V|; 0: all of the set's own, none if it has none",
        NOT_NEGATIVE,
        departs=True,
    )
    num_unlabeled: int = _option(
        0, "random subset of U for short runs; 0: all of U", NOT_NEGATIVE, departs=True
    )
    exclude: str = _option(
        "",
        "file with names of examples to leave out of U: one a line, or column `name` of a .csv or "
        ".parquet file",
        effect=CONTENT,
        needs=Need("images, texts or features", lambda c: c.model != "mlp"),
    )
    num_test: int = _option(
        0, "random subset of the test set for short runs; 0: all", NOT_NEGATIVE, departs=True
    )
    seed: int = _option(
        1, "seed of the labeled split, the initial values and all sampling", NOT_NEGATIVE
    )
    val_seed: int = _option(
        0,
        "seed of the choice of V; the same V for every --seed",
        NOT_NEGATIVE,
        needs=Need(
            "images, texts or features, and --val_order=drawn",
            lambda c: c.model != "mlp" and c.val_order == "drawn",
        ),
    )
    val_order: str = _option(
        "drawn",
        "V is drawn by --val_seed, or the first of each class",
        choices=VAL_ORDERS,
        needs=_IMAGES,
        departs=True,
    )
    labeled_set: str = _option(
        "drawn",
        "labels are drawn by --seed, or those of UDA's experiments, to compare with its numbers",
        choices=LABELED_SETS,
        needs=_IMAGES,
        departs=True,
    )
    labeled_imbalance: float = _option(
        1.0,
        "sizes of D's classes fall geometrically from the first to 1/R of it; 1: as V's",
        Range("1 or more", lambda x: x >= 1),
        needs=Need("images or features", lambda c: c.model in ("wide_resnet", "features")),
        departs=True,
    )
    allow_overlap: bool = _option(
        False,
        "labeled examples may also stand in V",
        needs=Need(
            "images and --labeled_set=drawn",
            lambda c: c.model == "wide_resnet" and c.labeled_set == "drawn",
        ),
        departs=True,
    )
    validation: str = _option(
        "held_out",
        "whose labels validate: V's, or each fold of the labels the model that lacks it",
        choices=VALIDATIONS,
    )
    folds: int = _option(
        2,
        "K, folds of the labels and models that learn one Lambda",
        Range("2 or more", lambda x: x >= 2),
        needs=Need(
            "--validation=cross_fit, and with --refit learned weights", lambda c: c.cross_fits
        ),
    )
    refit: bool = _option(
        False, "then train a new model on all labels, V's too, with the Lambda that was learned"
    )
    validation_as_labels: bool = _option(False, "train on V too (the control every gain must beat)")
    flip: bool = _option(
        True,
        "weak augmentation mirrors images",
        needs=Need(
            "images, and --views where there is a --backbone",
            lambda c: c.model == "wide_resnet" or (reads(c, IMAGES) and _has_views(c)),
        ),
        departs=True,
    )
    contamination: str = _option(
        "none", "what is wrong with U, for studies", choices=KINDS, needs=_CONTAMINABLE,
        departs=True,
    )  # fmt: skip
    contamination_rate: float = _option(
        0.0,
        "how much: share foreign or corrupt, or last class over first; 0: 0.5, 0.3, 0.1",
        FRACTION,
        needs=Need("--contamination other than none", lambda c: c.contamination != "none"),
        departs=True,
    )

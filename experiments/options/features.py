"""Options of features: the head that is trained on them, and how their strong views are made."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import FRACTION, NOT_NEGATIVE, Group, Need, Range
from ssl_weighting.training.recipes import HIDDEN_LAYERS, TWO_VIEWS

_FEATURES = "features (--dataset=features:PATH)"

_option = Group("features", departs=False)


def _viewed(config, *kinds):
    two = config.model == "features" and config.algorithm in TWO_VIEWS
    return two and (not kinds or config.feature_views in kinds)


def _made(kind: str, *kinds: str) -> Need:
    text = f"{_FEATURES}, --algorithm={' or '.join(TWO_VIEWS)} and --feature_views={kind}"
    return Need(text, lambda c: _viewed(c, kind, *kinds))


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """What is trained on features, and what their strong views are."""

    head: str = _option(
        "linear",
        "features: what is trained on them, one layer or a perceptron",
        choices=tuple(HIDDEN_LAYERS),
        needs=Need(_FEATURES, lambda c: c.model == "features"),
    )
    feature_views: str = _option(
        "auto",
        "features: strong views; auto: those that the file has, else perturbed",
        choices=("auto", "given", "perturbed", "mixed", "none"),
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

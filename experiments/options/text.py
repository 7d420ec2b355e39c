"""Options of texts: how they are cut, and how their strong views are made."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import (
    AT_MOST_ONE,
    BOOKKEEPING,
    CONTENT,
    POSITIVE,
    Group,
    Need,
    Range,
)
from experiments.options.features import reads, takes_views
from experiments.options.kinds import TEXTS as TEXT_KIND
from ssl_weighting.data.texts.csv_rows import AUTO, DELIMITERS

STRONG = ("uda", "fixmatch")  # algorithms with a strong view

_option = Group("text")
_TEXTS = "texts (--dataset=imdb, rotten_tomatoes or csv:PATH)"
TEXTS = Need(f"{_TEXTS} without --backbone", lambda c: c.model == "bert")
_READ = Need(_TEXTS, lambda c: reads(c, TEXT_KIND))
# What these columns hold is part of the split; where it stands is not.
_OWN = {
    "needs": Need(
        "texts of one's own (--dataset=csv:PATH)", lambda c: c.dataset.startswith("csv:")
    ),
    "effect": CONTENT,
    "departs": False,
}


def _has_strong_view(config):
    return config.model == "bert" and config.algorithm in STRONG


def _has_copies(config):
    """Return whether words are replaced for strong views, of BERT or of a backbone."""
    of_backbone = reads(config, TEXT_KIND) and takes_views(config) and config.views > 0
    return of_backbone or (_has_strong_view(config) and not config.back_translation_dir)


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """Where texts stand in a file of one's own, and what a text becomes."""

    text_column: str = _option("text", "csv:PATH: name of the column of texts", **_OWN)
    label_column: str = _option("label", "csv:PATH: name of the column of labels", **_OWN)
    id_column: str = _option(
        "",
        "csv:PATH: name of a column of names, each different, that tables show for their rows",
        **_OWN | {"effect": BOOKKEEPING, "free": True},
    )
    delimiter: str = _option(
        AUTO,
        "csv:PATH: what stands between columns; auto: what makes these columns of the first line",
        choices=(AUTO, *DELIMITERS),
        **_OWN,
    )
    max_len: int = _option(
        128,
        "texts: tokens of an input",
        Range("at least 3: [CLS], a piece, [SEP]", lambda x: x >= 3),
        needs=_READ,
    )
    truncation: str = _option(
        "tail",
        "texts: which end of a long one stays; the head where texts open with their point",
        choices=("tail", "head"),
        needs=_READ,
    )
    text_augment: str = _option(
        "tf_idf",
        "texts: how the strong view is made where there are no paraphrases",
        choices=("tf_idf", "uniform", "none"),
        needs=Need(
            "texts, an algorithm with a strong view (uda or fixmatch) and no "
            "--back_translation_dir; with --backbone --views",
            _has_copies,
        ),
        departs=False,
    )
    text_augment_p: float = _option(
        0.7,
        "texts: share of words replaced",
        AT_MOST_ONE,
        POSITIVE,
        needs=Need(
            "texts whose words are replaced for uda or fixmatch",
            lambda c: _has_copies(c) and c.text_augment != "none",
        ),
        departs=False,
    )
    text_copies: int = _option(
        1,
        "texts: augmented copies of each, made once; more for views that vary over epochs",
        POSITIVE,
        needs=Need(
            "texts with augmented copies, for uda or fixmatch",
            lambda c: (
                _has_strong_view(c) and (c.text_augment != "none" or bool(c.back_translation_dir))
            ),
        ),
    )
    back_translation_dir: str = _option(
        "",
        "texts: folder of paraphrases, which then are the strong view, as in the paper",
        needs=Need("texts and an algorithm with a strong view (uda or fixmatch)", _has_strong_view),
        effect=CONTENT,
        departs=False,
    )

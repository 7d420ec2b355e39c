"""Options of texts: how they are cut, and how their strong views are made."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import AT_MOST_ONE, CONTENT, POSITIVE, Group, Need, Range

STRONG = ("uda", "fixmatch")  # algorithms with a strong view

_option = Group("text")
_TEXTS = "texts (--dataset=imdb, rotten_tomatoes or csv:PATH)"
TEXTS = Need(_TEXTS, lambda c: c.model == "bert")


def _has_strong_view(config):
    return config.model == "bert" and config.algorithm in STRONG


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """What a text becomes."""

    max_len: int = _option(
        128,
        "texts: tokens of an input",
        Range("at least 3: [CLS], a piece, [SEP]", lambda x: x >= 3),
        needs=TEXTS,
    )
    truncation: str = _option(
        "tail",
        "texts: which end of a long one stays; the head where texts open with their point",
        choices=("tail", "head"),
        needs=TEXTS,
    )
    text_augment: str = _option(
        "tf_idf",
        "texts: how the strong view is made where there are no paraphrases",
        choices=("tf_idf", "uniform", "none"),
        needs=Need(
            "texts, an algorithm with a strong view (uda or fixmatch) and no "
            "--back_translation_dir",
            lambda c: _has_strong_view(c) and not c.back_translation_dir,
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
            lambda c: (
                _has_strong_view(c) and c.text_augment != "none" and not c.back_translation_dir
            ),
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

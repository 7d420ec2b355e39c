"""Options of the network."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import CONTENT, FRACTION, NOT_NEGATIVE, POSITIVE, Group, Need, Range
from experiments.options.text import TEXTS

_option = Group("model")
_WIDE_RESNET = Need("--model=wide_resnet", lambda c: c.model == "wide_resnet")


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Architecture, sizes, what the net sees."""

    model: str = _option(
        "wide_resnet", "architecture", choices=("wide_resnet", "mlp", "bert", "features")
    )
    bert: str = _option(
        "bert-base-uncased",
        "minilm, a folder in Hugging Face's format or a hub name",
        needs=TEXTS,
        effect=CONTENT,
        departs=False,
    )
    bert_trainable_layers: int = _option(
        0,
        "BERT: top layers that learn, on hidden states computed once; 0: all learn",
        NOT_NEGATIVE,
        needs=TEXTS,
    )
    bert_pooling: str = _option(
        "cls",
        "BERT: what is read, [CLS] or a place that asks with the mean",
        choices=("cls", "mean_query"),
        needs=TEXTS,
    )
    reparam: str = _option(
        "auto",
        "head of two classes (App. D), to compare the paper's form with the exact one; auto: half "
        "for texts",
        choices=("auto", "none", "half", "paper"),
        needs=TEXTS,
    )
    depth: int = _option(
        28,
        "Wide-ResNet depth, 6n + 4",
        Range("6n + 4 with n >= 1 (10, 16, 22, 28)", lambda x: x >= 10 and x % 6 == 4),
        needs=_WIDE_RESNET,
    )
    width: int = _option(2, "Wide-ResNet widening factor", POSITIVE, needs=_WIDE_RESNET)
    base_filters: int = _option(16, "Wide-ResNet stem channels", POSITIVE, needs=_WIDE_RESNET)
    wrn_variant: str = _option(
        "fixmatch", "whose Wide-ResNet", choices=("fixmatch", "uda", "uda_2019"), needs=_WIDE_RESNET
    )
    pixel_scaling: str = _option(
        "symmetric",
        "what the net sees: [-1, 1], or mean 0, std 1",
        choices=("symmetric", "standardized"),
        needs=_WIDE_RESNET,
    )
    batch_norm_decay: float = _option(
        0.999, "decay of BatchNorm's moving statistics", FRACTION, needs=_WIDE_RESNET
    )

"""Models by name; each maps inputs to features phi and to logits of a Dense layer named "head"."""

from ssl_weighting.models.bert import BertShape, bert, bert_lower
from ssl_weighting.models.mlp import mlp
from ssl_weighting.models.split_head import HEAD, LOGIT_MAPS, PRECISIONS, logit_map, split_head
from ssl_weighting.models.wide_resnet import wide_resnet

__all__ = [
    "HEAD",
    "LOGIT_MAPS",
    "PRECISIONS",
    "BertShape",
    "bert",
    "bert_lower",
    "logit_map",
    "mlp",
    "split_head",
    "wide_resnet",
]

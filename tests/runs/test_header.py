"""What a run says of its data before the first step."""

from experiments.options.presets import make_config
from experiments.runs.header import _source
from ssl_weighting.models import BertShape


def test_a_bert_is_told_by_name_layers_and_width():
    config = make_config(dataset="csv:x", out="y", backbone="minilm")
    shape = BertShape(width=384, num_layers=6)
    text = f"file x, features by mean over tokens, 6 layers of {shape}"
    told = "file x, features by minilm: mean over tokens, 6 layers of width 384"
    assert _source(config, text) == told
    assert _source(config, "folder f, features by a net") == "folder f, features by a net"

"""Small BERTs: random weights, their checkpoints, and the forward pass once more in numpy."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from ssl_weighting.models.bert import BertShape

SMALL = BertShape(
    vocabulary=30, width=8, num_layers=3, num_heads=2, inner_width=12, max_length=9, epsilon=1e-6
)


def random_ids(rng, count=4, length=7, shape=SMALL):
    """Return int32 [count, length], each with padding of another length."""
    ids = rng.integers(1, shape.vocabulary, [count, length])
    for k in range(1, count):
        ids[k, length - k % (length - 2) :] = 0
    return ids.astype("int32")


def random_tensors(rng, shape=SMALL):
    """Return key -> float32 array: a checkpoint of that shape in Hugging Face's names."""
    d, inner = shape.width, shape.inner_width
    sizes = {
        "embeddings.word_embeddings.weight": [shape.vocabulary, d],
        "embeddings.position_embeddings.weight": [shape.max_length, d],
        "embeddings.token_type_embeddings.weight": [shape.num_segments, d],
        "pooler.dense": [d, d],
        "embeddings.LayerNorm": [d],
    }
    for k in range(shape.num_layers):
        at = f"encoder.layer.{k}."
        names = ["attention.self.query", "attention.self.key", "attention.self.value"]
        sizes |= {at + name: [d, d] for name in [*names, "attention.output.dense"]}
        sizes |= {at + "attention.output.LayerNorm": [d], at + "output.LayerNorm": [d]}
        sizes |= {at + "intermediate.dense": [inner, d], at + "output.dense": [d, inner]}
    found = {}
    for name, size in sizes.items():
        if name.endswith("weight"):
            found[name] = rng.normal(0, 0.5, size)
            continue
        found[f"{name}.weight"] = rng.normal(1.0 if len(size) == 1 else 0, 0.4, size)
        found[f"{name}.bias"] = rng.normal(0, 0.3, size[:1])
    return {k: v.astype("float32") for k, v in found.items()}


def write_checkpoint(folder, tensors, shape=SMALL, **config):
    """Write config.json and model.safetensors; return the folder."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model_type": "bert",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "intermediate_size": shape.inner_width,
        "max_position_embeddings": shape.max_length,
        "type_vocab_size": shape.num_segments,
        "layer_norm_eps": shape.epsilon,
        "hidden_act": "gelu",
    }
    (folder / "config.json").write_text(json.dumps(content | config))
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def numpy_bert(tensors, ids, shape=SMALL):
    """Return (hidden states [N, L, d], pooled [N, d]) in float64, one example at a time."""
    t = {k: v.astype(np.float64) for k, v in tensors.items()}
    hidden = np.stack([_encode(t, row, shape) for row in ids])
    pooled = np.tanh(hidden[:, 0] @ t["pooler.dense.weight"].T + t["pooler.dense.bias"])
    return hidden, pooled


def numpy_mean_query(tensors, ids, shape=SMALL):
    """Return [N, d]: the last layer at a place more, the mean of the others, which none reads."""
    t, last = {k: v.astype(np.float64) for k, v in tensors.items()}, shape.num_layers - 1
    found = []
    for row in ids:
        x = _encode(t, row, dataclasses.replace(shape, num_layers=last))
        x = np.concatenate([x, x[row != 0].mean(0, keepdims=True)])
        found.append(_layer(t, last, x, np.append(row != 0, False), shape)[-1])
    return np.stack(found)


def _encode(t, ids, shape):
    word, place = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    segment = t["embeddings.token_type_embeddings.weight"][0]
    x = t[word][ids] + t[place][: len(ids)] + segment
    x = _norm(t, "embeddings.LayerNorm", x, shape)
    for k in range(shape.num_layers):
        x = _layer(t, k, x, ids != 0, shape)
    return x


def _layer(t, k, x, present, shape):
    at = f"encoder.layer.{k}."
    a = _attention(t, at, x, present, shape)
    a = x + _dense(t, at + "attention.output.dense", a)
    x = _norm(t, at + "attention.output.LayerNorm", a, shape)
    h = _dense(t, at + "intermediate.dense", x)
    h = h * 0.5 * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
    return _norm(t, at + "output.LayerNorm", x + _dense(t, at + "output.dense", h), shape)


def _attention(t, at, x, present, shape):
    q, k, v = (_dense(t, f"{at}attention.self.{name}", x) for name in ("query", "key", "value"))
    size, mixed = shape.width // shape.num_heads, []
    for head in range(shape.num_heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[:, part] @ k[present][:, part].T / math.sqrt(size)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        mixed.append(weights / weights.sum(1, keepdims=True) @ v[present][:, part])
    return np.concatenate(mixed, axis=1)


def _dense(t, name, x):
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def _norm(t, name, x, shape):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    scaled = (x - mean) / np.sqrt(variance + shape.epsilon)
    return scaled * t[f"{name}.weight"] + t[f"{name}.bias"]

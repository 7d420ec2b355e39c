"""BERT against numpy and against real hidden states; its parts, dropout and checkpoints."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from berts import SMALL, numpy_bert, numpy_mean_query, random_ids, random_tensors, write_checkpoint

from ssl_weighting.models import HEAD, bert, bert_lower
from ssl_weighting.models.bert import BertShape
from ssl_weighting.models.bert_weights import (
    MINILM,
    MINILM_PACKAGE,
    bert_folder,
    load_weights,
    read_shape,
)

SLICE = Path(__file__).parent / "minilm_slice.npz"
# TensorFlow keeps the root of 2 in GELU as float32, in float64 too; the tanh form is off by 1e-3.
CLOSE = {"rtol": 0, "atol": 1e-7}


def minilm():
    try:
        return bert_folder(MINILM)
    except FileNotFoundError:
        pytest.skip(f"needs the package {MINILM_PACKAGE}")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A checkpoint, its tensors, token ids and what numpy makes of them."""
    rng = np.random.default_rng(3)
    tensors, ids = random_tensors(rng), random_ids(rng)
    folder = write_checkpoint(tmp_path_factory.mktemp("bert"), tensors)
    return folder, tensors, ids, *numpy_bert(tensors, ids)


def loaded(model, folder):
    load_weights(model, folder, SMALL.num_layers)
    return model


def test_minilm_has_the_hidden_states_of_hugging_face():
    folder = minilm()
    shape = read_shape(folder)
    assert (shape.width, shape.num_layers, shape.activation) == (384, 6, "gelu")
    with np.load(SLICE) as file:
        reference = dict(file)
    ids = reference["ids"]
    model = bert_lower(shape, ids.shape[1], shape.num_layers)
    load_weights(model, folder, shape.num_layers)
    hidden = np.array(model(ids))
    np.testing.assert_allclose(hidden[ids != 0][:, ::8], reference["hidden"], atol=1e-4)
    kernel, bias = _pooler(folder)
    np.testing.assert_allclose(
        np.tanh(hidden[:, 0] @ kernel + bias), reference["pooled"], atol=1e-4
    )
    assert np.abs(reference["hidden"]).mean() > 0.1


def _pooler(folder):
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    return tensors["pooler.dense.weight"].T, tensors["pooler.dense.bias"]


def test_hidden_states_and_pooled_vector_equal_numpy(case):
    folder, _, ids, hidden, pooled = case
    assert read_shape(folder) == SMALL
    model = loaded(bert(SMALL, 7, 2, dtype="float64"), folder)
    out = model(ids)
    np.testing.assert_allclose(out["features"], pooled, **CLOSE)
    head = model.get_layer(HEAD)
    expected = pooled @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(out["logits"], expected, **CLOSE)
    assert model.trainable_variables[-1].path == f"{HEAD}/bias"
    lower = loaded(bert_lower(SMALL, 7, 3, dtype="float64"), folder)
    found = np.array(lower(ids))
    np.testing.assert_allclose(found[ids != 0], hidden[ids != 0], **CLOSE)
    assert not found[ids == 0].any() and (ids == 0).any()


@pytest.mark.parametrize("frozen", [1, 2])
def test_top_layers_on_hidden_states_are_the_whole(case, frozen):
    folder, _, ids, _, pooled = case
    lower = loaded(bert_lower(SMALL, 7, frozen, dtype="float64"), folder)
    top = loaded(bert(SMALL, 7, 2, first_layer=frozen, dtype="float64"), folder)
    np.testing.assert_allclose(top(lower(ids))["features"], pooled, **CLOSE)
    paths = {v.path.split("/")[0].rpartition("_")[0] for v in top.trainable_variables}
    assert not any(p.startswith(("embeddings", "layer_0")) for p in paths)


@pytest.mark.parametrize("frozen", [0, 2])
def test_a_place_asks_with_the_mean_of_the_tokens(case, frozen):
    folder, tensors, ids, *_ = case
    options = {"first_layer": frozen, "bert_pooling": "mean_query", "dtype": "float64"}
    model = loaded(bert(SMALL, 7, 2, **options), folder)
    inputs = loaded(bert_lower(SMALL, 7, 2, dtype="float64"), folder)(ids) if frozen else ids
    np.testing.assert_allclose(model(inputs)["features"], numpy_mean_query(tensors, ids), **CLOSE)
    assert not any("pooler" in v.path for v in model.variables)


def test_padding_does_not_matter(case):
    folder, _, ids, *_ = case
    models = [loaded(bert(SMALL, n, 2, dtype="float64"), folder) for n in (7, 9)]
    wide = np.pad(ids, [[0, 0], [0, 2]])
    np.testing.assert_allclose(models[0](ids)["features"], models[1](wide)["features"], **CLOSE)


def test_dropout_repeats_from_its_state_and_is_off_at_rest():
    model = bert(SMALL, 7, 2, seed=5)
    ids = random_ids(np.random.default_rng(0))
    state = [np.array(v.value) for v in model.non_trainable_variables]
    assert state and not np.array_equal(model(ids)["logits"], model(ids, training=True)["logits"])
    first, second = (np.array(model(ids, training=True)["logits"]) for _ in range(2))
    assert not np.array_equal(first, second)
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    model(ids, training=True)
    np.testing.assert_array_equal(model(ids, training=True)["logits"], first)
    np.testing.assert_array_equal(model(ids)["logits"], model(ids)["logits"])
    again = bert(SMALL, 7, 2, seed=5)
    np.testing.assert_array_equal(again(ids)["logits"], model(ids)["logits"])


def test_a_tenth_of_the_pooled_vector_is_dropped():
    shape = dataclasses.replace(SMALL, width=200, num_layers=1, attention_dropout=0.0)
    model = bert(shape, 7, 2)
    features = np.array(model(random_ids(np.random.default_rng(0), 40), training=True)["features"])
    assert 0.08 < (features == 0).mean() < 0.12


def test_initial_kernels_are_truncated_normal():
    kernel = bert(BertShape(num_layers=1, vocabulary=10), 4, 2).get_layer("layer_0_inner").kernel
    assert np.abs(kernel.numpy()).max() < 0.05 and 0.016 < kernel.numpy().std() < 0.021


def test_a_saved_model_loads_without_code_of_ours(case, tmp_path):
    folder, _, ids, *_ = case
    model = loaded(bert(SMALL, 7, 2, reparam="half"), folder)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(again(ids)["logits"], model(ids)["logits"])


def test_older_names_a_prefix_and_other_heads_are_read(case, tmp_path):
    _, tensors, ids, _, pooled = case
    old = {
        "bert."
        + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): v
        for k, v in tensors.items()
    }
    old |= {"cls.predictions.bias": np.zeros(3, "f"), "bert.embeddings.position_ids": np.arange(9)}
    model = loaded(bert(SMALL, 7, 2, dtype="float64"), write_checkpoint(tmp_path, old))
    np.testing.assert_allclose(model(ids)["features"], pooled, **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layer.1.output.dense.bias": None}, r"missing: encoder\.layer\.1\.output"),
        ({"pooler.dense.weight": None, "pooler.dense.bias": None}, r"pooler\.dense\.weight, pool"),
        ({"pooler.dense.bias": np.zeros(9, "f")}, r"another shape: pooler\.dense\.bias \[9\]"),
        ({"pooler.dense.bias": np.full(8, np.nan, "f")}, r"not finite: pooler\.dense\.bias\."),
        ({"encoder.layer.3.output.dense.bias": np.zeros(8, "f")}, r"unknown: encoder\.layer\.3"),
        ({"embeddings.word_proj.weight": np.zeros(8, "f")}, r"unknown: embeddings\.word_proj"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_its_keys(case, tmp_path, change, message):
    tensors = {k: v for k, v in (case[1] | change).items() if v is not None}
    model = bert(SMALL, 7, 2)
    before = [np.array(w) for w in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        loaded(model, write_checkpoint(tmp_path, tensors))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_folders_that_are_none_are_refused(case, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"must be a folder with config\.json"):
        read_shape(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"must hold model\.safetensors"):
        load_weights(bert(SMALL, 7, 2), tmp_path, 3)
    with pytest.raises(FileNotFoundError, match=r"`bert` must be minilm, a folder .*no such/one/x"):
        bert_folder("no such/one/x")
    write_checkpoint(tmp_path, case[1], hidden_act="swish")
    with pytest.raises(ValueError, match=r"must have a hidden_act of gelu.*'swish'"):
        read_shape(tmp_path)
    write_checkpoint(tmp_path, case[1], model_type="roberta")
    with pytest.raises(ValueError, match=r"Received: .*roberta"):
        read_shape(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_weights(bert(SMALL, 7, 2), tmp_path, 3)
    for damaged in ("{}", "[]", '{"weight_map": {'):
        (tmp_path / "model.safetensors.index.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"index\.json must be JSON with a weight_map"):
            load_weights(bert(SMALL, 7, 2), tmp_path, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 10}, "`length` must be from 1 to 9.*length=10"),
        ({"first_layer": 3}, "frozen layers must be from 0 to 2. Received: 3"),
        ({"num_classes": 3, "reparam": "half"}, "`reparam` must be none for 3 classes.*'half'"),
        ({"bert_pooling": "max"}, "`bert_pooling` must be one of cls, mean_query. Received: 'max'"),
        ({"reparam": "twice"}, "`reparam` must be one of none, half, paper.*'twice'"),
    ],
)
def test_bert_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        bert(SMALL, **{"length": 7, "num_classes": 2} | options)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="`width` must be a multiple of `num_heads`"):
        BertShape(width=10, num_heads=3)
    for wrong in ({"num_layers": 0}, {"vocabulary": 0}, {"dropout": 1.5}):
        with pytest.raises(ValueError, match="Sizes must be at least 1 and dropouts from 0"):
            BertShape(**wrong)


@pytest.mark.parametrize("wrong", [{"hidden_size": "384"}, {"hidden_dropout_prob": None}])
def test_a_config_of_wrong_types_is_refused(case, tmp_path, wrong):
    write_checkpoint(tmp_path, case[1], **wrong)
    with pytest.raises(ValueError, match=r"config\.json must describe a BERT"):
        read_shape(tmp_path)


ADDS = ("Add", "AddV2", "AddN")


def test_embeddings_are_added_in_one_order():
    """No three terms under `+`: TensorFlow lets such a sum be made in any order, run by run."""
    model = bert(SMALL, 7, 2)
    traced = tf.function(lambda ids: model(ids, training=False), autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec([4, 7], tf.int32)).graph

    def terms(tensor):
        """The tensors of its shape that are added up in it; broadcast ones are added apart."""
        same = [x for x in tensor.op.inputs if x.shape == tensor.shape]
        inner = [x.op.type in ADDS and len(x.consumers()) == 1 for x in same]
        return [t for x, more in zip(same, inner, strict=True) for t in (terms(x) if more else [x])]

    sums = {op.name: terms(op.outputs[0]) for op in graph.get_operations() if op.type in ADDS}
    assert sums and not {name: found for name, found in sums.items() if len(found) > 2}

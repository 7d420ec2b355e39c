"""Hidden states by look-up: what they equal, what is kept on disk, batches made of them."""

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.texts.hidden_states import HiddenBatchSource, HiddenStates
from ssl_weighting.data.texts.pipeline import TextBatchSource

D = 3


class Encoder:
    """tokens [n, L] -> [n, L, D]: 1, 2 and 3 times each, exact in float16; remembers its calls."""

    def __init__(self):
        self.seen = []

    def __call__(self, tokens):
        self.seen.append(len(tokens))
        return tokens.astype("f")[..., None] * np.arange(1, D + 1, dtype="f")


def expected(tokens):
    return Encoder()(np.asarray(tokens))


def test_states_are_the_encoder_s_and_each_text_is_encoded_once():
    encoder, lines = Encoder(), []
    tokens = np.array([[5, 2, 0], [7, 0, 0], [5, 2, 0]], np.int32)
    others = np.array([[1, 1, 1]], np.int32)
    hidden = HiddenStates([tokens, others, tokens[:0]], encoder, D, "multiples", None, lines.append)
    assert sum(encoder.seen) == 3 and len(lines) == 2
    found = hidden(tokens)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected(tokens))
    np.testing.assert_array_equal(hidden(others), expected(others))
    assert hidden.rows(np.stack([tokens, tokens])).shape == (2, 3)
    with pytest.raises(KeyError):
        hidden(tokens + 1)


def test_states_are_kept_on_disk_by_texts_and_recipe(tmp_path):
    tokens = np.array([[5, 2, 0], [7, 0, 0]], np.int32)

    def made(recipe="multiples", tokens=tokens):
        encoder, lines = Encoder(), []
        hidden = HiddenStates([tokens], encoder, D, recipe, tmp_path / "states", lines.append)
        np.testing.assert_array_equal(hidden(tokens), expected(tokens))
        return len(encoder.seen), lines

    assert made()[0] == 1
    assert made() == (0, [])
    assert made("others")[0] == 1 and made(tokens=tokens[:1])[0] == 1
    assert len(list((tmp_path / "states").iterdir())) == 3
    for path in (tmp_path / "states").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    count, lines = made()
    assert count == 1 and "is damaged" in lines[0]
    assert made() == (0, [])


def token_splits(rng):
    """Splits of 4, 9, 2 and 5 texts of 4 tokens, and two copies of each unlabeled text."""
    parts = [
        Examples(rng.integers(1, 90, [n, 4]).astype("i4"), (np.arange(n) % 2).astype("i4"))
        for n in (4, 9, 2, 5)
    ]
    copies = rng.integers(1, 90, [9, 2, 4]).astype("i4")
    return DataSplits("texts", *parts, ("pos", "neg"), "made here"), copies


def test_batches_are_those_of_tokens_as_hidden_states(rng):
    splits, augmented = token_splits(rng)
    parts = [splits.labeled.inputs, splits.unlabeled.inputs, augmented.reshape(-1, 4)]
    hidden = HiddenStates(parts, Encoder(), D, "multiples", None, lambda line: None)
    tokens = TextBatchSource(splits, 2, 5, 3, augmented, 1)
    states = HiddenBatchSource(splits, 2, 5, 3, augmented, hidden, 1)
    for step in (0, 4, 9):
        (labeled, unlabeled), (ours, our_u) = tokens.at(step), states.at(step)
        np.testing.assert_array_equal(ours.inputs, expected(labeled.inputs))
        np.testing.assert_array_equal(ours.label, labeled.label)
        np.testing.assert_array_equal(our_u.ids, unlabeled.ids)
        np.testing.assert_array_equal(our_u.weak, expected(unlabeled.weak))
        np.testing.assert_array_equal(our_u.strong, expected(unlabeled.strong))
        assert our_u.strong.dtype == tf.float32
    ids = np.arange(3)
    np.testing.assert_array_equal(states.strong_views(ids), expected(tokens.strong_views(ids)))


def test_an_algorithm_without_unlabeled_examples_needs_no_states_of_them(rng):
    splits, _ = token_splits(rng)
    hidden = HiddenStates([splits.labeled.inputs], Encoder(), D, "few", None, lambda line: None)
    labeled, unlabeled = HiddenBatchSource(splits, 2, 0, 3, None, hidden).at(0)
    assert labeled.inputs.shape == (2, 4, D) and unlabeled.ids.shape == (0,)

"""Augmented copies and batches of texts as pure functions of seed, id, copy and step."""

import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.keyed_random import example_keys, ragged_uniform, random_bits
from ssl_weighting.data.pipeline import BatchSource, validation_batch_at
from ssl_weighting.data.texts.augmentation import WordReplacement, augmented_tokens
from ssl_weighting.data.texts.back_translation import Paraphrases, write_originals
from ssl_weighting.data.texts.pipeline import TextBatchSource, without_padding
from ssl_weighting.data.texts.tokens import TokenCache

N, LENGTH, COPIES = 13, 16, 3
PARTS = ("labeled", "unlabeled", "validation", "test")
TEXTS = [
    f"a common start then {' '.join(f'w{k * j % 29}' for j in range(3, 12))}" for k in range(N)
]


class WordEncoder:
    """Stands in for `TextEncoder`: a token is 1 + the hash of its word, the tail is kept."""

    max_len, truncation, fingerprint, vocabulary_size = LENGTH, "tail", "words", 2**16

    def __init__(self):
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        tokens = np.zeros([len(texts), self.max_len], np.int32)
        for row, text in zip(tokens, texts, strict=True):
            ids = [1 + sum(map(ord, w)) * 31 % 997 for w in text.split()][-self.max_len :]
            row[: len(ids)] = ids
        return tokens


def as_examples(texts, labels=None):
    strings = np.empty(len(texts), object)
    strings[:] = texts
    labels = np.arange(len(texts)) % 2 if labels is None else labels
    return Examples(WordEncoder()(texts), np.asarray(labels, np.int32), strings)


@pytest.fixture(scope="module")
def splits():
    parts = [
        as_examples(TEXTS[:4]),
        as_examples(TEXTS),
        as_examples(TEXTS[4:6]),
        as_examples(TEXTS),
    ]
    return DataSplits("texts", *parts, ("pos", "neg"), "made here")


@pytest.fixture(scope="module")
def augmented():
    tokens = augmented_tokens(TEXTS, WordEncoder(), TokenCache(None), WordReplacement(), COPIES)
    assert tokens.shape == (N, COPIES, LENGTH) and tokens.dtype == np.int32
    return tokens


def test_ragged_numbers_belong_to_their_key():
    keys = example_keys(3, 0, tf.range(4, dtype=tf.int64), tf.zeros([4], tf.int64), 0)
    counts = tf.constant([2, 0, 5, 1], tf.int64)
    flat = ragged_uniform(keys, counts).numpy()
    assert flat.dtype == np.float64 and flat.shape == (8,)
    bits = random_bits(keys, 5).numpy()
    expected = np.concatenate([bits[k, :n] for k, n in enumerate(counts.numpy())])
    np.testing.assert_array_equal(flat, (expected >> np.uint64(11)) * 2.0**-53)
    many = ragged_uniform(keys, tf.fill([4], tf.constant(5000, tf.int64))).numpy()
    assert many.min() >= 0 and many.max() < 1 and many.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ["tf_idf", "uniform"])
def test_a_copy_depends_on_seed_id_and_number_alone(kind, monkeypatch):
    method = WordReplacement(kind, 0.5, seed=3)
    copies = list(method.copies(TEXTS, range(3)))
    assert next(method.copies(TEXTS, [2])) == copies[2]
    assert copies[0] != copies[1] != copies[2]
    assert next(WordReplacement(kind, 0.5, seed=4).copies(TEXTS, [0])) != copies[0]
    monkeypatch.setattr("ssl_weighting_upstream.uda_text_augment._CHUNK", 4)
    assert list(method.copies(TEXTS, range(3))) == copies
    words = {w for t in TEXTS for w in t.split()}
    for original, changed in zip(TEXTS, copies[0], strict=True):
        assert len(original.split()) == len(changed.split()) and set(changed.split()) <= words


@pytest.mark.parametrize(("kind", "p"), [("tf_idf", 0.3), ("uniform", 0.6)])
def test_share_of_replaced_words(kind, p):
    # Long texts of mostly different words: hardly a rate above 1, hardly a word replaced by itself.
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 3000, 60)) for _ in range(300)]
    changed = next(WordReplacement(kind, p, seed=0).copies([*texts, "w1 w2"], [0]))
    pairs = [zip(s.split(), t.split(), strict=True) for s, t in zip(texts, changed, strict=False)]
    assert np.mean([a != b for text in pairs for a, b in text]) == pytest.approx(p, abs=0.02)
    if kind == "uniform":
        assert changed[-1] == "w1 w2"  # too short


@pytest.mark.parametrize(("kind", "p"), [("idf", 0.5), ("tf_idf", 0.0), ("uniform", 1.5)])
def test_word_replacement_checks_its_arguments(kind, p):
    with pytest.raises(ValueError, match="`kind` must be one of tf_idf, uniform and `p` above 0"):
        WordReplacement(kind, p)


def test_cached_copies_are_not_made_again(tmp_path):
    encoder, method = WordEncoder(), WordReplacement()
    one = augmented_tokens(TEXTS, encoder, TokenCache(tmp_path), method, 1)
    three = augmented_tokens(TEXTS, encoder, TokenCache(tmp_path), method, 3)
    assert encoder.calls == 3
    np.testing.assert_array_equal(three[:, :1], one)
    np.testing.assert_array_equal(
        augmented_tokens(TEXTS, encoder, TokenCache(tmp_path), method, 3), three
    )
    assert encoder.calls == 3
    augmented_tokens(TEXTS, encoder, TokenCache(tmp_path), WordReplacement(p=0.6), 1)
    assert encoder.calls == 4
    with pytest.raises(ValueError, match="`num_copies` must be at least 1"):
        augmented_tokens(TEXTS, encoder, TokenCache(None), method, 0)


def test_paraphrases_follow_their_text(tmp_path):
    path = write_originals(tmp_path, [*TEXTS, "not in U,\u2028at all"])
    lines = path.read_text("utf-8").split("\n")
    assert len(lines) == N + 2 and lines[N] == "not in U, at all"
    folder = tmp_path / "unsup_in" / "sample_0.9" / "para"
    folder.mkdir(parents=True)
    for copy in range(2):
        new = [f"{line[:-4]} c{copy}\x85" for line in lines[:-1]]
        new[2] = "short"  # an unusable one
        (folder / f"para_{copy}.txt").write_text("\n".join(new) + "\n", "utf-8")
    source, chosen = Paraphrases(tmp_path), [TEXTS[5], TEXTS[2], TEXTS[0]]
    copies = list(source.copies(chosen, range(2)))
    assert copies[1] == [f"{TEXTS[5][:-4]} c1\x85", TEXTS[2], f"{TEXTS[0][:-4]} c1\x85"]
    before = source.recipe
    with pytest.raises(FileNotFoundError, match=r"para_2\.txt must exist for copy 2"):
        list(source.copies(chosen, [2]))
    with pytest.raises(ValueError, match=r"must hold every text of U.*without 1 of 2 texts"):
        list(source.copies([TEXTS[0], "unknown"], [0]))
    (folder / "para_1.txt").write_text("one line only\n")
    with pytest.raises(ValueError, match=f"one line for each of the {N + 1} originals.*: 1 lines"):
        list(source.copies(chosen, [1]))
    assert source.recipe != before


def test_lists_of_originals_may_have_other_blanks_and_unused_ones_leave_the_text(tmp_path):
    texts = ["a great  film, and no more", "long enough\x85a text it is"]
    folder = tmp_path / "unsup_in" / "sample_0.9" / "para"
    folder.mkdir(parents=True)
    (tmp_path / "unsup_in" / "originals.txt").write_text("\n".join(texts) + "\n", "utf-8")
    (folder / "para_0.txt").write_text("one of the great films!\nshort\n", "utf-8")
    found = list(Paraphrases(tmp_path).copies(texts, [0]))
    assert found == [["one of the great films!", texts[1]]]


def test_paraphrases_without_a_list_of_their_originals_are_refused(tmp_path):
    folder = tmp_path / "unsup_in" / "sample_0.8" / "para"
    folder.mkdir(parents=True)
    (folder / "para_0.txt").write_text("\n".join(t.upper() for t in TEXTS), "utf-8")
    with pytest.raises(FileNotFoundError, match=r"unsup_in/originals\.txt.*write_originals"):
        Paraphrases(tmp_path, temperature=0.8)
    write_originals(tmp_path, TEXTS)
    source = Paraphrases(tmp_path, temperature=0.8)
    assert next(source.copies(TEXTS[3:], [0])) == [t.upper() for t in TEXTS[3:]]
    with pytest.raises(FileNotFoundError, match=r"must hold unsup_in/sample_0\.9/para"):
        Paraphrases(tmp_path)
    (folder / "para_0.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="must be UTF-8"):
        next(source.copies(TEXTS, [0]))


def test_both_views_carry_one_id(splits, augmented):
    source = TextBatchSource(splits, 3, 5, 1, augmented)
    visits = np.zeros(N, int)
    for labeled, unlabeled in source.dataset().take(20):
        assert labeled.inputs.dtype == unlabeled.weak.dtype == unlabeled.strong.dtype == tf.int32
        assert labeled.inputs.shape == (3, LENGTH)
        for index, weak, strong in zip(*(x.numpy() for x in unlabeled), strict=True):
            np.testing.assert_array_equal(weak, splits.unlabeled.inputs[index])
            np.testing.assert_array_equal(strong, augmented[index, visits[index] % COPIES])
            visits[index] += 1
    assert visits.min() >= 20 * 5 // N > COPIES  # every copy came up


def test_batches_are_functions_of_the_step(splits, augmented):
    one, two = (TextBatchSource(splits, 3, 5, 1, augmented) for _ in range(2))
    for step, batch in enumerate(one.dataset(4).take(3), start=4):
        for ours, theirs in zip(tf.nest.flatten(batch), tf.nest.flatten(two.at(step)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    fresh = TextBatchSource(splits, 3, 5, 1, augmented, stream=1)
    assert (fresh.at(0)[1].ids.numpy() != one.at(0)[1].ids.numpy()).any()
    images_order = BatchSource(splits, 3, 5, 1, Augmentation.none()).at(7)[1].ids
    np.testing.assert_array_equal(one.at(7)[1].ids, images_order)


def test_views_for_reports_and_without_augmentation(splits, augmented):
    source = TextBatchSource(splits, 3, 5, 1, augmented)
    ids = np.array([4, 0, 4])
    np.testing.assert_array_equal(source.strong_views(ids), augmented[ids, 2**62 % COPIES])
    plain = TextBatchSource(splits, 3, 5, 1, None).at(0)[1]
    np.testing.assert_array_equal(plain.weak, plain.strong)
    none = TextBatchSource(splits, 3, 0, 1, None).at(0)[1]
    assert none.weak.shape == (0, LENGTH) and none.weak.dtype == tf.int32


def test_validation_batches_and_the_clean_view_are_tokens(splits):
    batch = validation_batch_at(splits.validation, 0, 2, seed=0, val_replace=False)
    assert batch.inputs.dtype == tf.int32
    assert sorted(map(tuple, batch.inputs.numpy())) == sorted(map(tuple, splits.validation.inputs))
    np.testing.assert_array_equal(clean_view(splits.test.inputs), splits.test.inputs)


def test_padding_that_all_share_is_cut(splits, augmented):
    shorter = augmented.copy()
    shorter[:, :, 9:] = 0
    longest = max(len(t.split()) for t in TEXTS)
    cut, copies = without_padding(splits, shorter)
    assert longest == 13 and cut.test.inputs.shape == (N, 16) and copies.shape == (N, COPIES, 16)
    few = {p: as_examples([" ".join(t.split()[:5]) for t in TEXTS]) for p in PARTS}
    few = {p: Examples(e.inputs[:, :9], e.labels, e.texts) for p, e in few.items()}
    short = DataSplits("short", **few, class_names=("pos", "neg"), source="")
    cut, copies = without_padding(short, np.zeros([N, 1, 9], np.int32))
    assert cut.unlabeled.inputs.shape == (N, 8) and copies.shape == (N, 1, 8)
    assert cut.unlabeled.texts[3] == few["test"].texts[3] and cut.split_hash == short.split_hash
    assert without_padding(short, None)[1] is None


def test_source_checks_what_it_gets(splits, augmented):
    with pytest.raises(ValueError, match=rf"int32 \[{N}, K, {LENGTH}\].*int32\[{N}, 3, 15\]"):
        TextBatchSource(splits, 3, 5, 1, augmented[..., 1:])
    with pytest.raises(ValueError, match=rf"Received: int64\[{N}"):
        TextBatchSource(splits, 3, 5, 1, augmented.astype(np.int64))
    with pytest.raises(ValueError, match="`unlabeled_batch` must be at least 0"):
        TextBatchSource(splits, 3, -1, 1, augmented)
    points = Examples(np.zeros([4, 2], np.float32), np.arange(4, dtype=np.int32) % 2)
    other = DataSplits("points", points, points, points, points, ("a", "b"), "")
    with pytest.raises(ValueError, match=r"must have int32 tokens.*float32\[4, 2\]"):
        TextBatchSource(other, 3, 5, 1, None)


@pytest.mark.parametrize(
    ("inputs", "texts", "error"),
    [
        (np.array([[-1]], np.int32), None, "tokens from 0, the padding. Received: a token -1"),
        (np.array([[1]], np.int64), None, r"int32 tokens \[n, L\]"),
        (
            np.array([[1]], np.int32),
            np.array(["a", "b"], object),
            "`texts` must be an array of str",
        ),
        (np.array([[1]], np.int32), np.array(["a"]), "`texts` must be an array of str"),
        (np.array([[1]], np.float32), np.array(["a"], object), "for inputs=float32"),
    ],
)
def test_examples_of_tokens_are_checked(inputs, texts, error):
    with pytest.raises(ValueError, match=error):
        Examples(inputs, np.zeros(1, np.int32), texts)


def test_texts_stay_beside_their_tokens(splits):
    both = splits.labeled.joined(splits.validation)
    assert both.texts.tolist() == TEXTS[:6]
    assert both.take(np.array([5, 1])).texts.tolist() == [TEXTS[5], TEXTS[1]]
    bare = Examples(splits.labeled.inputs, splits.labeled.labels)
    with pytest.raises(ValueError, match=r"must have `texts`, or none. Received: none in \['1'\]"):
        splits.labeled.joined(bare)

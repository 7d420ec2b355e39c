"""Texts to tokens with a tiny vocabulary: cutting, padding, the cache on disk."""

import errno

import numpy as np
import pytest
from ssl_weighting_upstream.uda_text_augment import basic_words
from text_files import SPECIAL, WORDS, write_csv, write_tokenizer

from ssl_weighting.data.array_files import read_array, write_array

pytest.importorskip("transformers", reason="the tokenizer is that of transformers")

from ssl_weighting.data.texts.augmentation import WordReplacement, augmented_tokens
from ssl_weighting.data.texts.by_name import load_texts, make_text_splits
from ssl_weighting.data.texts.pipeline import TextBatchSource, without_padding
from ssl_weighting.data.texts.tokens import TextEncoder, TokenCache, describe, load_encoder

UNK, CLS, SEP = 1, 2, 3
ALL = range(30)
ID = {word: 5 + k for k, word in enumerate(WORDS)}
TEXT = "The film was good, not BAD!"
PIECES = [ID[w] for w in ("the", "film", "was", "good", ",", "not", "bad", "!")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def encoder(folder):
    return load_encoder(str(folder), 6)


def test_short_texts_are_padded(folder):
    tokens = load_encoder(str(folder), 12)([TEXT, "", "films xyz gréat"])
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [
        [CLS, *PIECES, SEP, 0, 0],
        [CLS, SEP] + [0] * 10,
        [CLS, ID["film"], ID["##s"], UNK, ID["great"], SEP] + [0] * 6,
    ]


@pytest.mark.parametrize(("truncation", "kept"), [("tail", PIECES[-4:]), ("head", PIECES[:4])])
def test_long_texts_keep_their_tail_or_head(folder, truncation, kept):
    encode = load_encoder(str(folder), 6, truncation)
    assert encode([TEXT]).tolist() == [[CLS, *kept, SEP]]
    exact = " ".join(["good"] * 4)
    assert encode([exact]).tolist() == [[CLS, *[ID["good"]] * 4, SEP]]


@pytest.mark.parametrize("truncation", ["tail", "head"])
def test_what_is_not_needed_is_not_missed(folder, truncation, rng):
    """Only as many words as fit are looked at, unless some of them vanish."""
    encode = load_encoder(str(folder), 8, truncation)
    words = [*WORDS[:12], "films", "xyz", "\u0301", "\u200b", "", "a\x85b", "a\tb"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 20))) for _ in range(300)]
    short = {t: " ".join(["\u200b"] * 9 + [t] + ["\u200b"] * 9) for t in ("good bad", "film")}
    tokens = encode([*texts, *short.values()])
    uncut = load_encoder(str(folder), 64)([*texts, *short])
    for row, whole in zip(tokens.tolist(), uncut.tolist(), strict=True):
        pieces = whole[1 : whole.index(SEP)]
        kept = pieces[-6:] if truncation == "tail" else pieces[:6]
        assert row == [CLS, *kept, SEP] + [0] * (6 - len(kept))


def test_chunks_do_not_show(encoder, monkeypatch):
    texts = [" ".join(WORDS[: k % 8]) for k in range(11)]
    whole = encoder(texts)
    monkeypatch.setattr("ssl_weighting.data.texts.tokens._CHUNK", 3)
    np.testing.assert_array_equal(encoder(texts), whole)
    assert encoder([]).shape == (0, 6)


def test_special_tokens_in_a_text_are_text(folder):
    tokens = load_encoder(str(folder), 10)(["good [PAD] bad [SEP]"])[0]
    assert tokens.tolist() == [CLS, ID["good"], *[UNK] * 3, ID["bad"], *[UNK] * 3, SEP]


def test_encoder_checks_its_arguments(folder, tmp_path):
    with pytest.raises(ValueError, match="`truncation` must be one of tail, head"):
        load_encoder(str(folder), 6, "middle")
    with pytest.raises(ValueError, match="`max_len` must be at least 3"):
        load_encoder(str(folder), 2)
    other = write_tokenizer(tmp_path / "other", SPECIAL[::-1])
    with pytest.raises(ValueError, match=r"\[PAD\] is token 0.*pad_token_id=4"):
        load_encoder(str(other), 6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match="`bert` must be a Hugging Face folder"):
        load_encoder(str(tmp_path / "empty"), 6)


def test_description_covers_all_that_tokens_depend_on(folder, tmp_path):
    encoder = load_encoder(str(folder), 6)
    more = write_tokenizer(tmp_path / "more", (*SPECIAL, "extra"))
    names = [
        describe(encoder, ["ab", "c"]),
        describe(encoder, ["a", "bc"]),
        describe(encoder, ["abc"]),
        describe(encoder, ["ab", "c"], "recipe"),
        describe(load_encoder(str(folder), 7), ["ab", "c"]),
        describe(load_encoder(str(folder), 6, "head"), ["ab", "c"]),
        describe(load_encoder(str(more), 6), ["ab", "c"]),
    ]
    assert len(set(names)) == len(names)
    assert describe(load_encoder(str(folder), 6), ("ab", "c")) == names[0]


class CountingEncoder(TextEncoder):
    calls = 0

    def __call__(self, texts):
        type(self).calls += 1
        return super().__call__(texts)


@pytest.fixture
def counting(folder):
    import transformers

    CountingEncoder.calls = 0
    return CountingEncoder(transformers.AutoTokenizer.from_pretrained(str(folder)), 6)


def test_cache_is_filled_once_and_survives_the_process(counting, tmp_path):
    said = []
    first = TokenCache(tmp_path / "c", said.append).encode(counting, [TEXT, "good"])
    again = TokenCache(tmp_path / "c", said.append).encode(counting, [TEXT, "good"])
    assert counting.calls == 1 and not said
    assert again.dtype == np.int32
    np.testing.assert_array_equal(first, again)
    TokenCache(tmp_path / "c").encode(counting, [TEXT, "bad"])
    assert counting.calls == 2
    assert sorted(p.suffix for p in (tmp_path / "c").iterdir()) == [".npz", ".npz"]
    TokenCache(None).encode(counting, [TEXT, "bad"])
    assert counting.calls == 3


def _flip_a_bit(content):
    place = content.index(np.array([CLS, *PIECES[-4:], SEP], np.uint8).tobytes()) + 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"no zip file",
        _flip_a_bit,
    ],
    ids=["cut", "empty", "foreign", "bit"],
)
def test_damaged_cache_is_made_again(counting, tmp_path, damage):
    said = []
    cache = TokenCache(tmp_path, said.append)
    good = cache.encode(counting, [TEXT])
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(cache.encode(counting, [TEXT]), good)
    assert counting.calls == 2
    assert len(said) == 1 and "is damaged" in said[0] and "made again" in said[0]
    cache.encode(counting, [TEXT])
    assert counting.calls == 2  # the new file is whole


def test_a_full_disk_costs_the_cache_alone(counting, tmp_path, monkeypatch):
    said = []
    cache = TokenCache(tmp_path, said.append)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        tokens = cache.encode(counting, [TEXT])
    (line,) = said
    assert "is not kept in the cache" in line and "No space left on device" in line
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(cache.encode(counting, [TEXT]), tokens)
    assert counting.calls == 2 and len(list(tmp_path.iterdir())) == 1


def test_files_of_arrays_know_what_they_hold(tmp_path):
    path, array = tmp_path / "sub" / "t.npz", np.array([[2, 30_521, 3]], np.uint16)
    write_array(path, "mine", array)
    for shape in ((1, 3), (1,)):
        read, problem = read_array(path, "mine", shape)
        assert (read.tolist(), read.dtype, problem) == (array.tolist(), np.uint16, "")
    assert read_array(path, "other", (1, 3))[1] == "it holds another array, of shape [1, 3]"
    assert "of shape [1, 3]" in read_array(path, "mine", (2, 3))[1]
    assert read_array(tmp_path / "none.npz", "mine", (1, 3)) == (None, "")
    np.savez(path, array=array + 1, digest="x", name="mine")
    assert read_array(path, "mine", (1, 3)) == (None, "its checksum does not fit")
    np.savez(path, digest="x", name="mine")
    assert read_array(path, "mine", (1, 3))[1].startswith("KeyError")


def test_words_of_the_augmentation_are_the_tokenizers_own(folder):
    import transformers

    backend = transformers.AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer
    for text in (
        "It's <b>GREAT</b>, isn't it?! Café—naïve… $5 a_b `x` 1+1=2",
        "tab\tnew\nline\u00a0nbsp\u3000wide\u200bzero\u00adsoft\u2028sep\ufffd\x07bell",
        "İstanbul ﬁne Ⅷ ½ x² \u0301combining 🎬 «quoted» ¿qué?",
    ):
        pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        assert basic_words(text) == [word for word, _ in pieces]


def test_from_a_file_to_a_batch(folder, tmp_path):
    rows = [
        (f"the film was {WORDS[k % 9]} and {WORDS[k // 3]} {k}", "yn"[k % 2]) for k in range(30)
    ]
    rows += [(f"a movie , {WORDS[k]} ! {k}", "") for k in range(12)]
    texts = load_texts(f"csv:{write_csv(tmp_path / 'films.csv', rows)}")
    encoder, cache = load_encoder(str(folder), 32), TokenCache(tmp_path / "tokens")
    tokens = texts.tokenised(lambda part: cache.encode(encoder, part))
    splits = make_text_splits(texts, tokens, num_labeled=4, val_size=4)
    n = 30 - 6 - 4 + 12
    strings = splits.unlabeled.texts
    copies = augmented_tokens(strings, encoder, cache, WordReplacement("uniform", 0.9), 2)
    assert len(list((tmp_path / "tokens").iterdir())) == 3 + 2  # train, test, unlabeled; copies
    splits, copies = without_padding(splits, copies)
    assert splits.unlabeled.inputs.shape == (n, 16) and copies.shape == (n, 2, 16)
    batch = TextBatchSource(splits, 2, 6, 1, copies).at(0)[1]
    for index, weak, strong in zip(*(part.numpy() for part in batch), strict=True):
        text = splits.unlabeled.texts[index]
        assert weak.tolist() == encoder([text])[0, :16].tolist()
        assert strong.tolist() == copies[index, 0].tolist() != weak.tolist()
        assert strong[0] == CLS and SEP in strong

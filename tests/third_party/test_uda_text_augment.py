"""UDA's text side: cleaning, words, TF-IDF and uniform replacement against numbers made by hand."""

import collections
import math

import numpy as np
import pytest
from ssl_weighting_upstream.uda_text_augment import (
    basic_words,
    clean_review,
    replacement_rate,
    tf_idf,
    tf_idf_replace,
    uniform_replace,
    usable_paraphrase,
    word_corpus,
)

# ln 1.5 = 0.405465, ln 3 = 1.098612
TEXTS = ("A a b c", "a b", "a d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one<br /><br />two", "one  two"),
        ("<p>say &quot;no&quot;", ' say "no"'),
        ('see <a href="http://x.y/z">here</a>!', "see here!"),
        ("no link, </a> stays", "no link, </a> stays"),
        ("<a href=broken and on", "broken and on"),
        (r"line\nbreak and \'quote\'", "line break and  'quote '"),
        (" blanks stay ", " blanks stay "),
    ],
)
def test_cleaning(text, expected):
    assert clean_review(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's GREAT, isn't it?", ["it", "'", "s", "great", ",", "isn", "'", "t", "it", "?"]),
        ("Café naïve ÅNGSTRÖM", ["cafe", "naive", "angstrom"]),
        ("a\tb\nc\u00a0d\u3000e", ["a", "b", "c", "d", "e"]),
        ("soft\u00adhyphen zero\u200bwidth bad\ufffd", ["softhyphen", "zerowidth", "bad"]),
        ("1+1=2 $5 `x` ~y^z|", list("1+1=2$5`x`~y^z|")),
        ("dash\u2014ellipsis\u2026", ["dash", "\u2014", "ellipsis", "\u2026"]),
        ("\u4e2d\u6587", ["\u4e2d\u6587"]),  # UDA does not split Chinese characters
        ("  ", []),
    ],
)
def test_words(text, expected):
    assert basic_words(text) == expected


def test_corpus_keeps_documents_and_order():
    corpus = word_corpus((*TEXTS, "", "c"))
    assert corpus.vocabulary.tolist() == ["a", "b", "c", "d"]
    assert corpus.lengths.tolist() == [4, 2, 2, 0, 1]
    assert corpus.texts(corpus.words) == ["a a b c", "a b", "a d", "", "c"]
    part = corpus.documents(1, 3)
    assert part.texts(part.words) == ["a b", "a d"]


def test_idf_score_and_draw_by_hand():
    stats = tf_idf(word_corpus(TEXTS))
    assert stats.idf == pytest.approx([0, 0.405465, 1.098612, 1.098612], abs=1e-6)
    # S: a 0; b (1/4 + 1/2) 0.405465; c 1/4 1.098612; d 1/2 1.098612
    assert stats.score == pytest.approx([0, 0.304099, 0.274653, 0.549306], abs=1e-6)
    # max - S: 0.549306, 0.245207, 0.274653, 0, sum 1.069166
    assert stats.probability == pytest.approx([0.513770, 0.229344, 0.256885, 0], abs=1e-6)


def test_replacement_rate_by_hand():
    corpus = word_corpus(TEXTS)
    rate = replacement_rate(corpus, tf_idf(corpus).idf, 0.7)
    # "a a b c": q = 0, 0, 0.101366, 0.274653; z = 0.274653, 0.274653, 0.173287, 0, sum 0.722593;
    # r = 0.7 4 z / sum, which exceeds 1. "a b": q = 0, 0.202733, so all 0.7 * 2 falls on a.
    by_hand = [1.064263, 1.064263, 0.671476, 0, 1.4, 0, 1.4, 0]
    assert rate == pytest.approx(by_hand, abs=3e-6)
    assert rate[:4].sum() == pytest.approx(0.7 * 4)


def test_nothing_is_replaced_where_all_words_weigh_the_same():
    corpus = word_corpus(("x x", "x y", "", "z"))
    rate = replacement_rate(corpus, tf_idf(corpus).idf, 0.7)
    assert rate[[0, 1, 4]].tolist() == [0, 0, 0]  # 0 / 0: one kind of word, or one word
    assert rate[2] > 0
    alone = word_corpus(["a b"])  # one document: every idf is 0
    stats = tf_idf(alone)
    assert replacement_rate(alone, stats.idf, 0.7).tolist() == [0, 0]
    assert stats.probability.tolist() == [0.5, 0.5]
    assert replacement_rate(word_corpus([""]), np.zeros(0), 0.7).shape == (0,)


def _slow_tf_idf(documents, p):
    """Section by section as the formulas say, one word at a time."""
    df = collections.Counter(w for d in documents for w in set(d))
    idf = {w: math.log(len(documents) / n) for w, n in df.items()}
    score = dict.fromkeys(df, 0.0)
    for d in documents:
        for w, n in collections.Counter(d).items():
            score[w] += n / len(d) * idf[w]
    rates = []
    for d in documents:
        q = [d.count(w) / len(d) * idf[w] for w in d]
        z = [max(q) - value for value in q]
        rates += [p * len(d) * value / sum(z) if sum(z) else 0.0 for value in z]
    return idf, score, rates


def test_statistics_equal_a_loop_over_words(rng):
    documents = [
        [f"w{k}" for k in rng.geometric(0.2, rng.integers(1, 30))] for _ in range(5000)
    ]  # more than one chunk
    corpus = word_corpus(" ".join(d) for d in documents)
    stats = tf_idf(corpus)
    idf, score, rates = _slow_tf_idf(documents, 0.4)
    names = corpus.vocabulary.tolist()
    assert stats.idf == pytest.approx([idf[w] for w in names])
    assert stats.score == pytest.approx([score[w] for w in names])
    found = np.concatenate([replacement_rate(c, stats.idf, 0.4) for c in corpus.chunks()])
    assert found == pytest.approx(rates)


def test_replacement_takes_the_drawn_words():
    corpus = word_corpus(TEXTS)
    stats = tf_idf(corpus)
    chance = np.array([0.99, 0.99, 0.66, 0.0, 0.99, 0.0, 0.99, 0.0])
    # below: 0.513770 a, 0.743114 b, 1 c; d has no share
    draw = np.array([0.51, 0.52, 0.75, 0.5, 1 - 2**-53, 0.5, 0.0, 0.5])
    words = tf_idf_replace(corpus, stats, 0.7, chance, draw)
    assert corpus.texts(words) == ["a b c c", "c b", "a d"]
    kept = tf_idf_replace(corpus, stats, 0.7, np.full(8, 0.68), draw)
    assert corpus.texts(kept)[0] == "a b b c"  # 0.68 > r of b, and r of c is 0


def test_replacement_rates_and_words_come_out_as_asked(rng):
    corpus = word_corpus(["a a b c", "a b", "a d"] * 20_000)
    stats = tf_idf(corpus)
    chance, draw = rng.random((2, len(corpus.words)))
    words = tf_idf_replace(corpus, stats, 0.4, chance, draw).reshape(-1, 8)
    # r of b at place 2 = 0.4 4 0.173287 / 0.722593; it stays b also where b is drawn for it
    rate = 0.4 * 4 * 0.173287 / 0.722593
    shares = np.bincount(words[:, 2], minlength=4) / len(words)
    expected = rate * stats.probability
    expected[1] += 1 - rate
    assert shares == pytest.approx(expected, abs=0.01)


def test_uniform_replacement_goes_through_the_vocabulary():
    corpus = word_corpus(("a b c d e", "a b", "c d e"))
    order, starts = np.array([4, 3, 2, 1, 0]), np.array([3, 0, 1])
    chance = np.array([0.1, 0.9, 0.1, 0.1, 0.5, 0.0, 0.0, 0.0, 0.6, 0.0])
    words = uniform_replace(corpus, 0.5, chance, order, starts)
    # document 0 takes places 3, 4, 0 of the order; document 1 is too short
    assert corpus.texts(words) == ["b b a e e", "a b", "d d c"]


@pytest.mark.parametrize(
    ("original", "paraphrase", "used"),
    [
        ("a" * 20, "b" * 30, True),  # longer by just a half
        ("a" * 20, "b" * 31, False),
        ("a" * 20, "b" * 10, True),
        ("a" * 19, "b" * 9, False),
        ("a" * 9, "b" * 10, False),
        ("", "", False),
    ],
)
def test_paraphrases_of_another_length_are_left_out(original, paraphrase, used):
    assert usable_paraphrase(original, paraphrase) == (paraphrase if used else original)

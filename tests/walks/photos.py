r"""From a folder of photos to a cleaned folder and a better model, with five commands.

    python tests/walks/photos.py --out=DIR                       # Fashion-MNIST
    python tests/walks/photos.py --out=DIR --dataset=digits --labeled=60 --unlabeled=300

Writes JPEG files into DIR/photos: a folder a class, `unlabeled/`, `test/`. Of the unlabeled files a
tenth is noise and a tenth shows something else (MNIST's digits; for `digits`, parts of two photos
that scikit-learn ships). Then it trains, ranks, shows, excludes the worst, trains again and
predicts. DIR/walk.json tells commands, minutes, errors, and what was among the worst.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from steps import Walk  # isort: skip (it finds the others)

from experiments.runs.cache import cache_dir
from ssl_weighting.data.images.by_name import load_images

_SHARE = 10  # one file in ten is noise, one in ten foreign


def write_photos(folder: Path, dataset: str, labeled: int, unlabeled: int, test: int) -> None:
    """Write the folder of photos; its files are always the same.

    Args:
        folder: to write; must not exist.
        dataset: `fashion_mnist` or `digits`.
        labeled, unlabeled, test: how many of each.
    """
    rng = np.random.default_rng(0)
    raw = _images(dataset)
    names = [name.replace("/", "-").replace(" ", "_") for name in raw.class_names]
    rows = _balanced(raw.train.labels, labeled, rng)
    for k in rows:
        _save(folder / names[raw.train.labels[k]] / f"{k:05d}.jpg", raw.train.inputs[k])
    rest = rng.permutation(np.setdiff1d(np.arange(len(raw.train.labels)), rows))
    bad = unlabeled // _SHARE
    pictures = [(f"photo-{k:05d}", raw.train.inputs[k]) for k in rest[: unlabeled - 2 * bad]]
    shape = raw.train.inputs.shape[1:3]
    noise = rng.integers(0, 256, [bad, *shape], dtype=np.uint8)
    pictures += [(f"noise-{k:05d}", image) for k, image in enumerate(noise)]
    pictures += [(f"foreign-{k:05d}", image) for k, image in enumerate(_foreign(dataset, bad, rng))]
    for name, image in pictures:
        _save(folder / "unlabeled" / f"{name}.jpg", image)
    for k in rng.permutation(len(raw.test.labels))[:test]:
        _save(folder / "test" / names[raw.test.labels[k]] / f"{k:05d}.jpg", raw.test.inputs[k])


def _images(dataset):
    return load_images(dataset, cache_dir=cache_dir("") if dataset != "digits" else None)


def _balanced(labels, count, rng):
    """Return `count` rows, as many of each class as of the others."""
    classes = np.unique(labels)
    each = count // len(classes)
    rows = [rng.permutation(np.flatnonzero(labels == c))[:each] for c in classes]
    return np.sort(np.concatenate(rows))


def _foreign(dataset, count, rng):
    if dataset != "digits":
        return _images("mnist").train.inputs[:count]
    from sklearn.datasets import load_sample_images

    photos = [np.asarray(Image.fromarray(x).convert("L")) for x in load_sample_images().images]
    chosen = [photos[k % 2] for k in range(count)]
    return [_tile(photo, rng) for photo in chosen]


def _tile(photo, rng):
    top, left = (int(rng.integers(0, side - 64)) for side in photo.shape)
    return photo[top : top + 64, left : left + 64]


def _save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.squeeze(image)).save(path, quality=95)


def main() -> None:
    """Make the photos where they are missing, and walk."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", choices=("fashion_mnist", "digits"), default="fashion_mnist")
    parser.add_argument("--labeled", type=int, default=300)
    parser.add_argument("--unlabeled", type=int, default=4000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--worst", type=int, default=200)
    given = parser.parse_args()
    photos = given.out / "photos"
    if not photos.exists():
        write_photos(photos, given.dataset, given.labeled, given.unlabeled, given.test)
    data = f"folder:{photos.resolve()}"
    Walk(given.out).clean("train_images", [f"--dataset={data}"], f"{data}/unlabeled", given.worst)


if __name__ == "__main__":
    main()

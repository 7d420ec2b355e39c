"""Small folders of pictures and .npz files, and packs of them with a few rows a shard."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ssl_weighting.data.packed import half_made, write
from ssl_weighting.data.packed.folder_source import FolderSource
from ssl_weighting.data.packed.npz_source import NpzSource

ROWS = {"pixels": 5, "encoded": 4}  # of a shard


def make_folder(root, size=(9, 7), grey=False, seed=0):
    """Write two classes of seven pictures and nine unlabeled ones, of every kind that is read.

    Among the unlabeled ones a copy of a labeled one, one on its side, one that cannot be read, and
    one whose name is not UTF-8. Where they are grey there is no WebP, which knows colours alone.
    """
    rng = np.random.default_rng(seed)
    kinds = ("png", "jpg", "png" if grey else "webp", "bmp", "png", "jpeg", "png")
    names = [f"{c}/{k}.{kind}" for c in ("cat", "dog") for k, kind in enumerate(kinds)]
    names += [f"unlabeled/deep/{k}.{kind}" for k, kind in enumerate(kinds)]
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels[..., 0] if grey else pixels).save(path)
    turned = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.convert("L" if grey else "RGB").save(root / "unlabeled/turned.jpg", exif=exif)
    (root / "unlabeled/copy.png").write_bytes((root / "dog/0.png").read_bytes())
    (root / "unlabeled/broken.png").write_bytes((root / "dog/0.png").read_bytes()[:60])
    (root / "unlabeled" / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    return root


def make_digits(root, labeled, unlabeled):
    """Write real digits as PNG files: so many in folders of their classes, then unlabeled ones."""
    digits = load_digits()
    for k in range(labeled + unlabeled):
        path = root / (str(digits.target[k]) if k < labeled else "unlabeled") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(digits.images[k] * 15)).save(path)
    return root


SIZES = {"train": 23, "test": 6, "unlabeled": 12, "validation": 7}


def make_npz(path, size=(4, 3), seed=0, sizes=SIZES):
    """Write a set of 3 classes."""
    rng = np.random.default_rng(seed)
    arrays = {"class_names": np.array(["a", "b", "c"])}
    for part, count in sizes.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, *size, 3), np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 3
    arrays["x_unlabeled"][4] = arrays["x_train"][3]
    del arrays["y_unlabeled"]
    np.savez(path, **arrays)
    return path


def packed(source, out, store="pixels"):
    """Pack a source with few rows a shard."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(half_made, "ROWS", ROWS)
        return write.pack(source, out, store)


def pack_folder(root, out, store="pixels", image_size=None, **options):
    """Pack a folder of pictures; return the pack's."""
    packed(FolderSource(root, image_size, **options), out, store)
    return out


def pack_npz(path, out, image_size=None):
    """Pack an .npz file; return the pack's folder."""
    packed(NpzSource(path, image_size), out)
    return out


def contents(folder):
    """Return the bytes of every file below a folder by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_same(one, other):
    """Compare two sets example by example, wherever the inputs are."""
    assert one.parts.keys() == other.parts.keys()
    for part, examples in one.parts.items():
        expected = other.parts[part].loaded()
        np.testing.assert_array_equal(examples.loaded().inputs, expected.inputs, strict=True)
        np.testing.assert_array_equal(examples.labels, expected.labels, strict=True)
        assert examples.names.tolist() == expected.names.tolist()
    for name in ("name", "class_names", "source", "notes", "skipped", "copies_are_one"):
        assert getattr(one, name) == getattr(other, name), name

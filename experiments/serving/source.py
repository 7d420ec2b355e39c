"""What --input names: where new examples come from, checked before anything is labeled."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.options.kinds import FEATURE_ROWS, IMAGES, TEXTS, Kind
from experiments.serving.identity import identity_of_file, identity_of_pictures
from ssl_weighting.data.array_rows import ArrayRows
from ssl_weighting.data.example_table import Joined
from ssl_weighting.data.features.by_name import check_finite, new_features
from ssl_weighting.data.images.folder_layout import Found
from ssl_weighting.data.images.new_images import find_images, new_images, read_images
from ssl_weighting.data.images.picture import SUFFIXES
from ssl_weighting.data.images.resize import resize_images
from ssl_weighting.data.names import first_repeated, printable
from ssl_weighting.data.packed.manifest import SKIPPED, check_digest, is_pack, read_manifest
from ssl_weighting.data.packed.names import Names
from ssl_weighting.data.packed.packed_set import table_of_pack
from ssl_weighting.data.packed.shards import DamagedRowError
from ssl_weighting.data.texts import csv_text
from ssl_weighting.data.texts.csv_rows import STOP, USUAL, Layout

# Examples in memory at once. Texts are many, as those of like length are labeled together.
CHUNK = {IMAGES: 512, TEXTS: 16_384, FEATURE_ROWS: 4096}
# What the inputs of a kind may be -> how they are written.
_FORMS: dict[Kind, dict[str, str]] = {
    IMAGES: {
        "folder": "folder:PATH",
        "npz": "npz:FILE",
        "packed": "packed:DIR",
        "image": "an image file",
    },
    TEXTS: {"csv": "csv:PATH, a file with a column `text`"},
    FEATURE_ROWS: {"features": "features:FILE"},
}
_PREFIXES = ("folder", "npz", "packed", "csv", "features")
_SUFFIXES = {".csv": "csv", ".npz": "npz", ".parquet": "features"} | dict.fromkeys(
    SUFFIXES, "image"
)


class Chunk(NamedTuple):
    """A few examples in memory."""

    names: list[str]
    inputs: np.ndarray | list[str]  # images or features [n, ...], or n texts
    skipped: Sequence[tuple[str, str]] = ()  # (name, what is wrong with it) of what was left out
    read: Sequence[bool] | None = None  # of all in order: whether it was; None: every one

    def __len__(self):
        return len(self.names) + len(self.skipped)


def _every(number: int) -> bool:
    del number
    return True


class Source(NamedTuple):
    """One input: examples of one kind, as many as memory need not hold.

    Attributes:
        given: on the command line.
        kind: of its examples.
        count: of examples, those that cannot be read too.
        names: by which the answers will tell its examples.
        chunks: those that are wanted, in order, `CHUNK[kind]` examples each but the last; of others
            nothing is decoded.
        identity: tells it from other inputs, and from what it was before it was changed.
    """

    given: str
    kind: Kind
    count: int
    names: Callable[[], Iterable[str]]
    chunks: Callable[..., Iterator[Chunk]]  # number -> whether it is wanted; all without
    identity: Callable[[], str]


class Wanted(NamedTuple):
    """What a model takes, and how the user's files are read.

    Attributes:
        sizes: kind of inputs that it takes -> shape of one: (height, width, channels) of images,
            (d,) of features, () of texts. 0 channels: grey and colour, and arrays keep their size,
            as they go through a backbone.
        layout: of .csv files.
        on_error: "skip" or "stop", at an image or a text that cannot be read.
        draft: whether JPEG files are read as drafts, as the run's were.
    """

    sizes: Mapping[Kind, tuple[int, ...]]
    layout: Layout = USUAL
    on_error: str = STOP
    draft: bool = False


def sources(given: Sequence[str], wanted: Wanted) -> list[Source]:
    """Return the inputs of a command line, in order; neighbouring image files are one.

    Each example has a name of its own: in a folder its path below that, in a table its id or its
    row; where several inputs are given, behind the input's path.

    Args:
        given: KIND:PATH, or a path that tells its kind by its ending.
        wanted: by the model.

    Raises:
        OSError, ValueError: an input is not there, damaged, empty or of another kind, or two
            examples have one name.
    """
    found = [_resolved(spec, wanted.sizes) for spec in given]
    several = len(found) > 1
    made = []
    for form, specs in itertools.groupby(found, lambda one: one[0]):
        if form == "image":
            files = [(printable(path), Found(Path(path), "")) for _, path in specs]
            made.append(_pictures(files[0][0], files, wanted))
        else:
            made += [_OF[form](path, path if several else "", wanted) for _, path in specs]
    _check_names(made)
    return made


def _resolved(spec, kinds: Collection[Kind]) -> tuple[str, str]:
    """Return how an input is read, one of `_FORMS`, and its path."""
    forms = {form: said for kind in kinds for form, said in _FORMS[kind].items()}
    form, _, path = spec.partition(":")
    if form not in _PREFIXES:
        form, path = _form_of(spec, forms), spec
    missing = not Path(path).exists()
    if not path or (form not in forms and not (missing and path == spec)):
        raise ValueError(
            f"--input must be {' or '.join(forms.values())}: this run was trained on "
            f"{' or '.join(kind.rows for kind in kinds)}. Received: --input={spec}"
        )
    if missing:
        raise FileNotFoundError(
            f"--input must name a file or folder. Received: --input={spec}, which is not there"
        )
    return form, path


def _form_of(path, forms) -> str:
    """Return how a path without a prefix is read."""
    form = _SUFFIXES.get(Path(path).suffix.lower(), "")
    if Path(path).is_dir():
        form = "packed" if is_pack(path) else "folder"
    fallback = form in ("folder", "npz") and form not in forms  # arrays that are no images
    return "features" if fallback else form


def _pictures(given, files: Sequence[tuple[str, Found]], wanted: Wanted) -> Source:
    *size, channels = wanted.sizes[IMAGES]

    def chunks(only=_every):
        for number, start in enumerate(range(0, len(files), CHUNK[IMAGES])):
            if only(number):
                some = files[start : start + CHUNK[IMAGES]]
                how = channels or 3, wanted.on_error, wanted.draft
                found = read_images(some, tuple(size), *how)
                faulty = {name for name, _ in found[2]}
                yield Chunk(*found, [name not in faulty for name, _ in some])

    def names():
        return (name for name, _ in files)

    return Source(given, IMAGES, len(files), names, chunks, lambda: identity_of_pictures(files))


def _folder(path, prefix, wanted):
    found = [(_joined(prefix, "/", name), file) for name, file in find_images(path)]
    return _pictures(path, found, wanted)


def _npz(path, prefix, wanted):
    *size, channels = wanted.sizes[IMAGES]
    images, given = new_images(path, channels)

    def names(block):
        given_names = given or _numbers(images.shape[0])
        for some in given_names.blocks(block):
            yield [_joined(prefix, ":", printable(str(name))) for name in some]

    def chunks(only=_every):
        block = CHUNK[IMAGES]
        for number, (some, x) in enumerate(zip(names(block), images.blocks(block), strict=True)):
            if only(number):
                yield Chunk(some, resize_images(x, tuple(size)) if channels else x)

    for _ in images.blocks(CHUNK[IMAGES]):  # compares its checksum
        pass

    def every():
        return _flat(names(CHUNK[IMAGES]))

    what = functools.partial(identity_of_file, path)
    return Source(path, IMAGES, images.shape[0], every, chunks, what)


def _packed(path, prefix, wanted):
    *size, channels = wanted.sizes[IMAGES]
    manifest = read_manifest(path)
    check_digest(path, manifest)
    if channels not in (0, manifest.shape[2]):
        raise ValueError(
            f"The images in packed:{path} must have {channels} channels, as this run was trained "
            f"on. Received: {manifest.shape[2]}. Give the folder or file that they were packed from"
        )
    images = Joined([table_of_pack(Path(path), manifest, part) for part in manifest.parts])
    given = Joined([Names(path, part) for part in manifest.parts])
    block = CHUNK[IMAGES]

    def named(some):
        return [_joined(prefix, "/", printable(name)) for name in some]

    def names():
        return _flat(map(named, given.blocks(block)))

    def chunks(only=_every):
        for number, start in enumerate(range(0, len(images), block)):
            if only(number):
                rows = np.arange(start, min(start + block, len(images)))
                x, damage = _undamaged(images, rows, wanted.on_error)
                shown = resize_images(x, tuple(size)) if channels else x
                every, read = named(given[rows]), [not reason for reason in damage]
                skipped = [(n, why) for n, why in zip(every, damage, strict=True) if why]
                yield Chunk(list(itertools.compress(every, read)), shown, skipped, read)

    if manifest.skipped:
        left = Path(path) / SKIPPED
        print(f"{manifest.skipped} files were left out of the pack: see {left}", flush=True)
    return Source(path, IMAGES, len(images), names, chunks, lambda: manifest.digest)


def _undamaged(images, rows, on_error) -> tuple[np.ndarray, list[str]]:
    """Return the images of a pack that are what was packed, and of each row what is wrong with it.

    Raises:
        DamagedRowError: one that is not stops.
    """
    try:
        return images[rows], [""] * len(rows)
    except DamagedRowError:
        if on_error == STOP:
            raise
    found, damage = [], []
    for row in rows:
        try:
            found.append(images[int(row)])
            damage.append("")
        except DamagedRowError as error:
            damage.append(f"damaged since it was packed: {error.reason}")
    return np.reshape(found, (len(found), *images.shape[1:])).astype(np.uint8), damage


def _numbers(count):
    def blocks(size):
        return (np.arange(k, min(k + size, count)) for k in range(0, count, size))

    return ArrayRows((count,), np.dtype(int), blocks)


def _features(path, prefix, wanted):
    rows = new_features(path, *wanted.sizes[FEATURE_ROWS])
    check_finite(path, rows, CHUNK[FEATURE_ROWS])

    def chunks(only=_every):
        for number, (names, x) in enumerate(rows.blocks(CHUNK[FEATURE_ROWS])):
            if only(number):
                yield Chunk([_joined(prefix, ":", name) for name in names], x)

    def names():
        return _flat(some.names for some in chunks())

    what = functools.partial(identity_of_file, path)
    return Source(path, FEATURE_ROWS, rows.shape[0], names, chunks, what)


def _csv(path, prefix, wanted):
    texts = csv_text.new_texts(path, wanted.layout, wanted.on_error)

    def chunks(only=_every):
        for number, some in enumerate(texts.blocks(CHUNK[TEXTS])):
            if only(number):
                skipped = [(_joined(prefix, ":", name), why) for name, why in some.skipped]
                names = [_joined(prefix, ":", name) for name in some.names]
                yield Chunk(names, some.texts, skipped, some.read)

    def names():
        return _flat(some.names for some in chunks())

    what = functools.partial(identity_of_file, path, str(wanted.layout))
    return Source(path, TEXTS, texts.count, names, chunks, what)


_OF = {"folder": _folder, "npz": _npz, "packed": _packed, "features": _features, "csv": _csv}


def _joined(prefix, mark, name):
    return f"{printable(prefix).rstrip('/')}{mark}{name}" if prefix else name


def _flat(lists):
    return itertools.chain.from_iterable(lists)


def _check_names(made: Sequence[Source]) -> None:
    """Check that every example has a name of its own.

    Raises:
        ValueError: names the first that is there again.
    """
    again = first_repeated(lambda: _flat(source.names() for source in made))
    if again:
        place = again[1]
        name = next(itertools.islice(_flat(source.names() for source in made), place, None))
        raise ValueError(
            f"--input must give every example a name of its own. Received: {name!r} twice, the "
            f"second time in {_holder(made, place)}. Give an input once, and rename what is "
            "called alike"
        )


def _holder(made, place) -> str:
    """Return the input that holds the name at a place among all names."""
    for source in made:
        count = sum(1 for _ in source.names())
        if place < count:
            return source.given
        place -= count
    raise IndexError(place)

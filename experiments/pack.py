r"""Pack a set of images, so that runs read them from disk and none of them stays in memory.

    python -m experiments.pack --dataset=folder:photos --image_size=32 --out=packs/photos
    python -m experiments.pack --dataset=npz:set.npz --out=packs/set
    python -m experiments.train_images --dataset=packed:packs/photos --out=results/runs/photos

The pack holds the set that --dataset would be read as: its parts, labels and names, the digest of
each image, and the images, as pixels or as the bytes of their files. --store=auto takes pixels for
arrays and for images of at most 64 to a side, else the files' bytes, which every run decodes anew.
What cannot be read is left out or ends it as in training, see --on_error. Given again, the command
goes on where it was stopped. See docs/scale.md. Does not import TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from experiments.runs.errors import friendly
from ssl_weighting.data.images.folders import ON_ERROR
from ssl_weighting.data.images.resize import check_side
from ssl_weighting.data.packed.folder_source import FolderSource
from ssl_weighting.data.packed.manifest import STORES, Manifest
from ssl_weighting.data.packed.npz_source import NpzSource
from ssl_weighting.data.packed.source import PackSource
from ssl_weighting.data.packed.write import pack

AUTO = "auto"


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("dataset", "", "folder:PATH or npz:PATH", values)
    flags.DEFINE_string("out", "", "folder for the pack", values)
    flags.DEFINE_enum("store", AUTO, (AUTO, *STORES), "how images are kept", values)
    text = "side to resize images to; 0: as they are, all of one size"
    flags.DEFINE_integer("image_size", 0, text, flag_values=values)
    text = "folder: decode JPEGs to a part of their size before they are resized, which is faster"
    flags.DEFINE_bool("jpeg_draft", False, text, values)
    text = "folder: at what cannot be read; auto skips what is unlabeled alone"
    flags.DEFINE_enum("on_error", "auto", ON_ERROR, text, values)


def source_from(argv: list[str], values: flags.FlagValues) -> PackSource:
    """Return the set that the command line asks for.

    Raises:
        OSError, ValueError: an option is missing, wrong, or does not go with another; or there is
            no such set.
    """
    if len(argv) > 1:
        raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
    for name in ("dataset", "out"):
        if not values[name].value:
            raise ValueError(f"--{name} must be given. Received: nothing")
    kind, _, path = values.dataset.partition(":")
    if kind not in ("folder", "npz") or not path:
        raise ValueError(f"--dataset must be folder:PATH or npz:PATH. Received: {values.dataset!r}")
    size = values.image_size or None
    if size is not None:
        check_side(size)
    if kind == "folder":
        _check_apart(values.out, path)
        return FolderSource(path, size, values.on_error, values.jpeg_draft)
    for name in ("on_error", "jpeg_draft"):
        if values[name].present:
            raise ValueError(f"--{name} would do nothing here: it needs folder:PATH. Leave it out")
    return NpzSource(path, size)


def _check_apart(out: str, folder: str) -> None:
    if Path(out).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(
            "--out must be no part of the folder that is packed: its files would be read as "
            f"images. Received: --out={out}, --dataset=folder:{folder}"
        )


def described(manifest: Manifest) -> str:
    """Return what was packed, for people."""
    rows = ", ".join(f"{count:,} {part}" for part, count in manifest.rows.items())
    height, width, channels = manifest.shape
    size = sum(shard.size for shards in manifest.parts.values() for shard in shards)
    colour = "grey" if channels == 1 else "colour"
    text = f"{rows}, {width}x{height}, {colour}, {size / 1e6:,.1f} MB of {manifest.store}"
    lost = f"; {manifest.skipped:,} could not be read: see skipped.csv" if manifest.skipped else ""
    return f"{text}{lost}"


def main(argv: list[str]) -> None:
    """Make the pack that the command line asks for."""
    with friendly():
        values = flags.FLAGS
        source = source_from(argv, values)
        store = source.stores[0] if values.store == AUTO else values.store
        manifest = pack(source, values.out, store)
        print(f"{described(manifest)}: {values.out}")


if __name__ == "__main__":
    define_flags()
    app.run(main)

"""One reader of picture files for training and prediction: right, or refused by name in both."""

import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from memory_limits import limit_memory
from PIL import Image, ImageOps, UnidentifiedImageError

from ssl_weighting.data.images.folders import load_folder
from ssl_weighting.data.images.new_images import find_images, read_images
from ssl_weighting.data.images.picture import PictureError, decode

NOISE = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)


def encoded(image=None, kind="PNG", **options):
    file = io.BytesIO()
    (Image.fromarray(NOISE) if image is None else image).save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, color, rows=b""):
    """A PNG file of any bit depth; `rows` are packed as they are."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep(bits, color):
    """A grey (0) or colour (2) PNG whose values fill `bits` of 16 bits."""
    row = b"\0" + struct.pack(">H", 2**bits - 1) * 4 * (3 if color else 1)
    return png(4, 6, 16, color, row * 6)


def broken_exif(kind):
    """JPEG that stands on its side, with a resolution that is text (2) or bytes (1)."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, kind, 1, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    return encoded(kind="JPEG", quality=100, exif=exif)


def animation(kind):
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


READ = {
    "png": (encoded(), ".png"),
    "bmp": (encoded(kind="BMP"), ".bmp"),
    "webp": (encoded(kind="WEBP", lossless=True), ".webp"),
    "capitals": (encoded(kind="BMP"), ".BMP"),
    "another format than its name": (encoded(kind="BMP"), ".png"),
}
REFUSED = {
    "12-bit colour": (deep(12, 2), ".png", "16 bits a channel; scale them to 8"),
    "16-bit colour": (deep(16, 2), ".png", "16 bits a channel; scale them to 8"),
    "16-bit grey": (deep(16, 0), ".png", "mode I;16, not 8 bits a channel"),
    "animated PNG": (animation("PNG"), ".png", "an animation of 2 pictures"),
    "animated WebP": (animation("WEBP"), ".webp", "an animation of 2 pictures"),
    "bomb": (
        png(12000, 12000, 8, 2, bytes(12000 * 36001)), ".png",
        "12000x12000 pixels, more than 89,478,485",
    ),
    "huge claim": (png(2**31 - 1, 2**31 - 1, 8, 2), ".png", "exceeds limit of"),
    "truncated": (encoded()[:-30], ".png", "image file is truncated"),
    "broken chunk": (encoded()[:45] + bytes(20) + encoded()[65:], ".png", ""),
    "no picture": (b"no picture", ".jpg", "content of none of these formats"),
    "empty": (b"", ".png", "content of none of these formats"),
    "gif": (encoded(kind="GIF"), ".png", "content of none of these formats"),
    "gif by name": (encoded(kind="GIF"), ".gif", "a name that does not end in"),
}  # fmt: skip


def make_set(root):
    """Two classes of four different pictures."""
    for k in range(8):
        path = root / ("cat", "dog")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(NOISE + np.uint8(100 + k)).save(path)
    return root


@pytest.mark.parametrize("kind", READ)
def test_training_and_prediction_read_the_same(tmp_path, kind):
    content, suffix = READ[kind]
    new = make_set(tmp_path / "set") / "unlabeled" / f"new{suffix}"
    new.parent.mkdir()
    new.write_bytes(content)
    image = load_folder(tmp_path / "set").unlabeled.inputs
    np.testing.assert_array_equal(image, NOISE[None])
    names, images, skipped = read_images(find_images(new.parent), 6, 3)
    assert (names, skipped) == ([new.name], ())
    expected = Image.fromarray(NOISE).resize((6, 6), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[0], np.asarray(expected))


@pytest.mark.parametrize("kind", REFUSED)
def test_training_and_prediction_refuse_the_same(tmp_path, kind):
    content, suffix, reason = REFUSED[kind]
    root = make_set(tmp_path / "set")
    for part in ("cat", "unlabeled"):
        (root / part).mkdir(exist_ok=True)
        (root / part / f"bad{suffix}").write_bytes(content)
    (root / "unlabeled" / "good.png").write_bytes(encoded())
    message = rf"bad\{suffix} must be a readable PNG, JPEG, WebP or BMP image .*Received: "
    with pytest.raises(PictureError, match=message) as caught:
        load_folder(root)
    assert reason in caught.value.reason and str(root) not in caught.value.reason
    with pytest.raises(PictureError, match=message):
        read_images(find_images(root / "unlabeled"), 6, 3, on_error="stop")
    names, images, skipped = read_images(find_images(root / "unlabeled"), 6, 3)
    assert (names, len(images)) == (["good.png"], 1)
    assert skipped == ((f"bad{suffix}", caught.value.reason),)
    raw = load_folder(root, on_error="skip")
    assert len(raw.train) + len(raw.test) == 8 and len(raw.unlabeled) == 1
    assert {name for name, _ in raw.skipped} == {f"cat/bad{suffix}", f"unlabeled/bad{suffix}"}
    assert "2 files could not be read and are left out: see skipped.csv" in raw.notes


@pytest.mark.parametrize("kind", [1, 2])
def test_only_the_orientation_of_exif_is_read(kind):
    content = broken_exif(kind)
    with pytest.raises(TypeError), Image.open(io.BytesIO(content)) as image:
        ImageOps.exif_transpose(image)
    plain = decode(io.BytesIO(encoded(kind="JPEG", quality=100)), "plain")
    np.testing.assert_array_equal(decode(io.BytesIO(content), "broken"), np.rot90(plain, -1))


def test_a_resolution_that_pillow_stumbles_over_does_no_harm():
    """JPEG whose resolution is a text without a letter: Pillow does not open it at all."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 2, 1, 0)
    entries += struct.pack("<HHII", 0x0128, 3, 1, 2)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + entries + bytes(4)
    content = encoded(kind="JPEG", quality=100, exif=exif)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(content))
    plain = decode(io.BytesIO(encoded(kind="JPEG", quality=100)), "plain")
    np.testing.assert_array_equal(decode(io.BytesIO(content), "broken"), np.rot90(plain, -1))
    with pytest.raises(PictureError, match="cut must be a readable"):
        decode(io.BytesIO(content[:100]), "cut")


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_carried_out(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(io.BytesIO(content), "turned"), expected)


def fifo(path):
    os.mkfifo(path)


def listener(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def outside(path):
    (path.parents[2] / "secret.png").write_bytes(encoded())
    path.symlink_to(path.parents[2] / "secret.png")


SPECIAL = {
    "a named pipe": (fifo, "no regular file"),
    "a socket": (listener, "no regular file"),
    "a link to itself": (lambda p: p.symlink_to(p), "a link that leads nowhere (Too many levels"),
    "a dangling link": (lambda p: p.symlink_to("gone.png"), "a link that leads nowhere (No such"),
    "a link out": (outside, "a link out of the folder"),
    "a link to a device": (lambda p: p.symlink_to("/dev/zero"), "a link out of the folder"),
    "a link to the folder": (lambda p: p.symlink_to(".."), "a link to a folder that it lies in"),
    "a name that is not UTF-8": (
        lambda p: p.with_name(os.fsdecode(b"\xff.png")).write_bytes(encoded()),
        "a name that is not UTF-8",
    ),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_picture_file_is_refused_by_name_and_never_opened(tmp_path, kind):
    make, reason = SPECIAL[kind]
    root = make_set(tmp_path / "set")
    (root / "unlabeled").mkdir()
    (root / "unlabeled" / "good.png").write_bytes(encoded())
    make(root / "unlabeled" / "bad.png")
    raw = load_folder(root)
    [(name, found)] = raw.skipped
    assert found.startswith(reason) and name.startswith("unlabeled/") and name.encode("utf-8")
    assert len(raw.unlabeled) == 1
    names, _, skipped = read_images(find_images(root / "unlabeled"), 6, 3)
    assert names == ["good.png"]
    [(_, found)] = skipped
    outwards = kind == "a link to the folder"  # which is the set's, not the one to label
    assert found.startswith("a link out" if outwards else reason)
    with pytest.raises(PictureError, match="must be a readable PNG"):
        load_folder(root, on_error="stop")
    make(root / "cat" / "bad.png") if kind != "a link out" else outside(root / "cat" / "x.png")
    with pytest.raises(PictureError, match=r"/cat/.* must be a readable PNG"):
        load_folder(root)


def test_a_part_of_which_nothing_can_be_read_is_refused(tmp_path):
    root = make_set(tmp_path / "set")
    (root / "unlabeled").mkdir()
    (root / "unlabeled" / "a.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"a.png must be a readable"):
        load_folder(root)
    with pytest.raises(ValueError, match=r"`on_error` must be one of auto, skip, stop"):
        load_folder(root, on_error="go on")


def test_more_pictures_than_memory_holds_are_refused_early(tmp_path, monkeypatch):
    root = make_set(tmp_path / "set")
    limit_memory(monkeypatch, tmp_path, 500)
    with pytest.raises(ValueError, match=r"The 8 images of .* need about .*--image_size"):
        load_folder(root)


def test_ids_are_those_of_a_folder_without_the_skipped_files(tmp_path):
    roots = [make_set(tmp_path / name / "set") for name in ("whole", "damaged")]
    for root in roots:
        (root / "unlabeled" / "deep").mkdir(parents=True)
        for k in range(3):
            Image.fromarray(NOISE + np.uint8(50 + k)).save(root / f"unlabeled/deep/{k}.png")
    (roots[1] / "unlabeled" / "deep" / "1a.png").write_bytes(b"damaged")
    whole, damaged = map(load_folder, roots)
    np.testing.assert_array_equal(whole.unlabeled.inputs, damaged.unlabeled.inputs)
    assert (whole.skipped, damaged.skipped[0][0]) == ((), "unlabeled/deep/1a.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_flipped_bits_of_a_picture_never_end_in_another_error(kind):
    whole, refused = encoded(kind=kind), 0
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        try:
            found = decode(io.BytesIO(changed), "flipped")
            assert found.dtype == np.uint8
            if kind == "PNG":  # the only one with checksums
                np.testing.assert_array_equal(found, NOISE)
        except PictureError as error:
            assert str(error).startswith("flipped must be a readable")
            refused += 1
    assert refused > 100

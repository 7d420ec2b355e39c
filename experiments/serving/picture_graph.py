"""Pictures decoded inside a TensorFlow graph, as `read_picture` and Pillow read them.

The same: JPEG, PNG, WebP and BMP, upright by a JPEG's EXIF, transparent pixels on white, stretched
by a bilinear filter that averages, grey by 0.299 R + 0.587 G + 0.114 B. Pixels of a picture that is
not resized are equal, but for one level of 255 where it is transparent or made grey; a filter adds
one, as Pillow rounds after each of two passes. What `read_picture` refuses is read here: a PNG file
of 16 bits a channel loses the lower ones, an animation shows its first picture. EXIF in a PNG or a
WebP file is not looked at, a BMP file with a palette of colours is refused.
"""

from __future__ import annotations

import tensorflow as tf

_EXIF = b"Exif\0\0"
_SEARCHED = 2**17  # bytes of a file in which EXIF's orientation is looked for; a segment has half
_GREY = (0.299, 0.587, 0.114)
# The palette of a grey BMP file, its place, and that of the number that says 3 for transparency.
_GREYS = bytes(x for k in range(256) for x in (k, k, k, 0))
_PALETTE, _ALPHA = 54, 30
# An entry of EXIF but for its value: tag 0x0112, type 3 (short), count 1; in both byte orders.
_LITTLE, _BIG = b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01"


def decode_pictures(encoded: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Return the pictures in files' bytes.

    Args:
        encoded: [n] strings.
        shape: (height, width, channels), 1 (grey) or 3 (colour).

    Returns:
        [n, height, width, channels] uint8.

    Raises:
        tf.errors.InvalidArgumentError: one is damaged or of another format.
    """
    spec = tf.TensorSpec(shape, tf.uint8)
    return tf.map_fn(lambda one: _picture(one, shape), encoded, fn_output_signature=spec)


def _picture(encoded, shape):
    height, width, channels = shape
    image = tf.case(
        [
            (tf.io.is_jpeg(encoded), lambda: _jpeg(encoded)),
            (_begins(encoded, b"\x89PNG"), lambda: _on_white(tf.io.decode_png(encoded, 4))),
            (_begins(encoded, b"RIFF"), lambda: _on_white(_webp(encoded))),
        ],
        default=lambda: _bmp(encoded),
    )
    image = tf.round(tf.image.resize(image, [height, width], "bilinear", antialias=True))
    if channels == 1:
        image = tf.round(tf.tensordot(image, tf.constant(_GREY), 1))[..., tf.newaxis]
    return tf.reshape(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8), shape)


def _begins(encoded, magic):
    return tf.strings.substr(encoded, 0, len(magic)) == magic


def _jpeg(encoded):
    # libjpeg's accurate transform, which Pillow uses too.
    image = tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")
    turned = tf.image.transpose(image)
    turns = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1, ::-1],
        lambda: image[::-1],
        lambda: turned,
        lambda: turned[:, ::-1],
        lambda: turned[::-1, ::-1],
        lambda: turned[::-1],
    ]
    return tf.cast(tf.switch_case(_orientation(encoded) - 1, turns), tf.float32)


def _orientation(encoded):
    """Return EXIF's orientation of a JPEG file, 1 to 8; 1 where it has none."""
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, _SEARCHED), tf.uint8)
    start = _first(head, _EXIF, 0)
    padded = tf.concat([head, tf.zeros([16], tf.uint8)], 0)
    big = padded[start + len(_EXIF)] == ord("M")
    entry = tf.where(big, _first(head, _BIG, start), _first(head, _LITTLE, start))
    value = tf.cast(padded[entry + len(_BIG) + tf.cast(big, tf.int64)], tf.int32)
    known = (start >= 0) & (entry >= 0) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)


def _first(head, wanted, after):
    """Return where `wanted` first stands in bytes [m], not before `after`; -1: nowhere."""
    count = tf.maximum(tf.size(head) - len(wanted) + 1, 0)
    same = [head[k : k + count] == byte for k, byte in enumerate(wanted)]
    places = tf.where(tf.reduce_all(same, axis=0))[:, 0]
    found = tf.boolean_mask(places, places >= after)
    return tf.concat([found, [tf.constant(-1, tf.int64)]], 0)[0]


def _webp(encoded):
    image = tf.image.decode_webp(encoded)[0]
    missing = 4 - tf.shape(image)[-1]  # of the channels: none or transparency
    return tf.pad(image, [[0, 0], [0, 0], [0, missing]], constant_values=255)


def _bmp(encoded):
    image = tf.io.decode_bmp(encoded)
    palette = tf.strings.substr(encoded, _PALETTE, len(_GREYS))
    count = tf.shape(image)[-1]
    check = tf.debugging.Assert(
        (count > 1) | (palette == _GREYS), ["a BMP file with a palette of colours"]
    )
    with tf.control_dependencies([check]):
        channels = tf.cond(count == 1, lambda: tf.repeat(image, 3, -1), lambda: image)
    alpha = (count == 4) & (tf.strings.substr(encoded, _ALPHA, 1) == b"\3")
    return tf.cond(
        alpha, lambda: _on_white(channels), lambda: tf.cast(channels[..., :3], tf.float32)
    )


def _on_white(image):
    """Return [H, W, 3] float32 of [H, W, 4] uint8."""
    image = tf.cast(image, tf.float32)
    alpha = image[..., 3:] / 255
    return tf.round(image[..., :3] * alpha + 255 * (1 - alpha))

"""Small data sets written in the layouts that the loaders read."""

import gzip
import struct

import numpy as np

FILES = {
    "train-images-idx3-ubyte": (20, 28, 28),
    "train-labels-idx1-ubyte": (20,),
    "t10k-images-idx3-ubyte": (10, 28, 28),
    "t10k-labels-idx1-ubyte": (10,),
}


def idx_bytes(name):
    """A file of FILES: images of noise, labels 0..9 in turn."""
    shape = FILES[name]
    values = np.random.default_rng(0).integers(0, 256, shape) if len(shape) == 3 else None
    values = np.arange(shape[0]) % 10 if values is None else values
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(folder, compressed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        content = idx_bytes(name)
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def make_prepared(folder, name, splits=("train", "test")):
    """A small set in the layout of TFDS."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    images = np.random.default_rng(1).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": np.arange(20, dtype=np.int64) % 10}
    )
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(names=[f"name {c}" for c in range(10)]),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="3.0.1",
        disable_shuffling=True,
        data_dir=folder,
        features=tfds.features.FeaturesDict(features),
        split_datasets=dict.fromkeys(splits, dataset),
    )
    return images

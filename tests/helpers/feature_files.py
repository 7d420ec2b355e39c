"""Small sets of features, written in the three layouts that the reader knows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

D, CLASSES = 6, 3


def arrays(n=60, unlabeled=30, test=24, views=0, seed=0):
    """Classes around three corners, on a scale and at a place that no net would like."""
    rng = np.random.default_rng(seed)
    shift, scale = rng.normal(size=D) * 50, 10.0 ** rng.integers(-2, 3, D)

    def some(count):
        y = np.arange(count) % CLASSES
        return (shift + scale * (2 * np.eye(CLASSES, D)[y] + rng.normal(size=(count, D)))), y

    (x, y), (u, _), (t, truth) = some(n), some(unlabeled), some(test)
    if views:
        noise = scale * rng.normal(size=(unlabeled, views, D))
        u = np.concatenate([u[:, None], u[:, None] + noise], axis=1)
    found = {"x_train": x, "x_unlabeled": u, "x_test": t}
    found = {key: value.astype(np.float32) for key, value in found.items()}
    return found | {"y_train": y, "y_test": truth}


def write_npz(path, **found):
    np.savez(path, **found)
    return f"features:{path}"


def write_folder(path, **found):
    path.mkdir()
    for key, value in found.items():
        np.save(path / f"{key}.npy", value)
    return f"features:{path}"


def write_parquet(path, **found):
    """One table of all parts, unlabeled rows without a class."""
    columns = {"x": [], "y": [], "split": [], "views": []}
    for part in ("test", "unlabeled", "train"):
        x = found[f"x_{part}"]
        n = len(x)
        columns["x"] += list(x[:, 0] if x.ndim == 3 else x)
        columns["views"] += x[:, 1:].tolist() if x.ndim == 3 else [None] * n
        columns["y"] += found.get(f"y_{part}", np.full(n, -1)).tolist()
        columns["split"] += [part] * n
    columns["y"] = [None if label < 0 else label for label in columns["y"]]
    if found["x_unlabeled"].ndim == 2:
        del columns["views"]
    types = {
        "x": pa.list_(pa.float32()), "views": pa.list_(pa.list_(pa.float32())),
        "y": pa.int64(), "split": pa.string(),
    }  # fmt: skip
    pq.write_table(pa.table({k: pa.array(v, types[k]) for k, v in columns.items()}), path)
    return f"features:{path}"


WRITERS = {"features.npz": write_npz, "features": write_folder, "features.parquet": write_parquet}

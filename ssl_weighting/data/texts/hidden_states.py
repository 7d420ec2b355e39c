"""What a frozen lower part of BERT makes of every text of a run, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from ssl_weighting.data.array_files import kept
from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.memory import machine_memory
from ssl_weighting.data.progress import counted
from ssl_weighting.data.texts.pipeline import TextBatchSource

_CHUNK = 256  # texts encoded between two progress lines at most
_COPIES = 3  # of the table at most, as measured: NumPy's, TensorFlow's, that of its pipeline
_FORMAT = 1  # raise it when the same recipe means other states


class HiddenStates:
    """Tokens [n, L] -> hidden states [n, L, d] by look-up.

    DEVIATION: kept as float16, half the memory of float32; training reads them as float32.

    Args:
        tokens: arrays [m, L] int32 of all texts that will be asked for, one file each.
        encode: [b, L] int32 -> [b, L, d] float32, zero vectors where padded.
        width: d.
        recipe: all that `encode` depends on, for the name on disk.
        folder: where they lie; made if missing. None: nothing is kept.
        say: told what was read and made, one line each.

    Raises:
        ValueError: if they are more than the memory of the machine holds.
    """

    def __init__(
        self,
        tokens: Sequence[np.ndarray],
        encode: Callable[[np.ndarray], np.ndarray],
        width: int,
        recipe: str,
        folder: str | os.PathLike | None,
        say: Callable[[str], None] = print,
    ):
        # Part by part, so that another algorithm on the same texts can reuse the shared parts.
        parts = [np.unique(part, axis=0) for part in tokens if len(part)]
        rows = (row.tobytes() for part in parts for row in part)
        self._place = {row: k for k, row in enumerate(rows)}
        shape = (sum(map(len, parts)), parts[0].shape[1], width)
        _check_memory(shape, say)
        table, row = np.empty(shape, np.float16), 0
        for part in parts:
            table[row : row + len(part)] = _kept(part, encode, recipe, folder, say)
            row += len(part)
        with tf.device("CPU:0"):
            self._table = tf.constant(table)

    def rows(self, tokens: np.ndarray) -> np.ndarray:
        """Return where the texts lie, int32 of the shape of `tokens` [..., L] without its last.

        Raises:
            KeyError: if a text is not among them.
        """
        flat = np.ascontiguousarray(tokens.reshape(-1, tokens.shape[-1]))
        found = [self._place[row.tobytes()] for row in flat]
        return np.array(found, np.int32).reshape(tokens.shape[:-1])

    def at(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the states of rows [n] int32, [n, L, d] float32."""
        return tf.cast(tf.gather(self._table, rows), tf.float32)

    def __call__(self, tokens: np.ndarray) -> tf.Tensor:
        """Return the states of tokens [n, L] int32, [n, L, d] float32."""
        with tf.device("CPU:0"):
            return self.at(tf.constant(self.rows(np.asarray(tokens))))


class HiddenBatchSource(TextBatchSource):
    """`TextBatchSource` whose views are hidden states [.., L, d] float32 instead of tokens.

    Args:
        splits, labeled_batch, unlabeled_batch, seed, augmented, stream: as in `TextBatchSource`.
        hidden: `HiddenStates` of labeled, unlabeled (if it is used) and augmented tokens.
    """

    def __init__(
        self,
        splits: DataSplits,
        labeled_batch: int,
        unlabeled_batch: int,
        seed: int,
        augmented: np.ndarray | None,
        hidden: HiddenStates,
        stream: int = 0,
    ):
        self._hidden = hidden
        unlabeled = splits.unlabeled.inputs[:, np.newaxis]
        copies = unlabeled if augmented is None else augmented
        with tf.device("CPU:0"):
            self._labeled_rows = tf.constant(hidden.rows(splits.labeled.inputs))
            if unlabeled_batch:
                self._original_rows = tf.constant(hidden.rows(unlabeled))
                self._copy_rows = tf.constant(hidden.rows(copies))
        super().__init__(splits, labeled_batch, unlabeled_batch, seed, augmented, stream)

    def _view(self, part, inputs, ids, visits, view, state):
        del inputs, state
        if part == "labeled":
            return self._hidden.at(tf.gather(self._labeled_rows, ids))
        rows = (self._original_rows, self._copy_rows)[view]
        place = tf.stack([ids, visits % rows.shape[1]], axis=1)
        return self._hidden.at(tf.gather_nd(rows, place))


def _check_memory(shape, say):
    """Name the size of large tables, and refuse those that cannot fit, before hours of work."""
    size = math.prod(shape) * 2 * _COPIES  # bytes of float16
    memory = machine_memory()
    if size > memory:
        raise ValueError(
            f"The hidden states of {shape[0]} texts, {_COPIES} copies, must fit in memory, "
            f"{memory / 1e9:.1f} GB. Received: {size / 1e9:.1f} GB. Use a smaller "
            "num_unlabeled, num_test or max_len, or train all layers."
        )
    if size > 1e9:
        say(f"the hidden states of {shape[0]} texts take up to {size / 1e9:.1f} GB of memory")


def _kept(tokens, encode, recipe, folder, say):
    """Return the states [m, L, d] float16 of tokens [m, L], from disk if they are there."""
    name = _name(tokens, recipe)
    path = None if folder is None else Path(folder) / f"hidden-{name[:32]}.npz"

    def make():
        say(f"computing the hidden states of {len(tokens)} texts, once")
        return _encoded(tokens, encode)

    return kept(path, name, tokens.shape[:1], make, say)


def _encoded(tokens, encode):
    # Texts of like length together: `encode` may skip padding that all of them have.
    order = np.argsort((tokens != 0).sum(axis=1), kind="stable")
    states = None
    starts = range(0, len(order), _CHUNK)
    for start in counted(starts, len(order), "computing hidden states", each=_CHUNK):
        chosen = order[start : start + _CHUNK]
        part = encode(tokens[chosen])
        if states is None:
            states = np.zeros([len(tokens), *part.shape[1:]], np.float16)
        states[chosen] = part
    return states


def _name(tokens, recipe):
    digest = hashlib.sha256(repr((_FORMAT, recipe, tokens.shape)).encode())
    digest.update(np.ascontiguousarray(tokens).tobytes())
    return digest.hexdigest()

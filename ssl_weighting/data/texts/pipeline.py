"""The batches of Alg. 1 for texts: original and augmented tokens under one id."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_weighting.data.examples import DataSplits
from ssl_weighting.data.pipeline import ViewsSource

_MULTIPLE = 8  # lengths that matrix products like


class TextBatchSource(ViewsSource):
    """`ViewsSource` of tokens: `weak` is the text itself, `strong` one of its augmented copies.

    Both views and the labeled inputs are int32 [.., L].

    Args:
        splits: the sets, tokens.
        labeled_batch: B, at least 1.
        unlabeled_batch: examples of U per batch; 0 for algorithms that use none.
        seed: of the run, from 0.
        augmented: [|U|, K, L] int32, K copies of each text of U; None if the algorithm has no
            strong view, which then is the text itself.
        stream: keeps sources of one seed apart (the Lambda-step's fresh batches), from 0.

    Raises:
        ValueError: if a number is out of range, `splits` are no tokens or `augmented` does not fit.
    """

    def __init__(
        self,
        splits: DataSplits,
        labeled_batch: int,
        unlabeled_batch: int,
        seed: int,
        augmented: np.ndarray | None,
        stream: int = 0,
    ):
        _check_tokens(splits, augmented)
        copies = splits.unlabeled.inputs[:, np.newaxis] if augmented is None else augmented
        super().__init__(splits, labeled_batch, unlabeled_batch, seed, copies, stream)


def without_padding(
    splits: DataSplits, augmented: np.ndarray | None
) -> tuple[DataSplits, np.ndarray | None]:
    """Return the same tokens, cut to the longest text there is, a multiple of 8.

    One length for all batches means one compilation. Buckets would gain little: a pass is as long
    as the longest of its texts. Measured with both views in one pass, the longest of 8 + 2 x 24:
    IMDb 128.0 tokens of L = 128 and 512 of 512; Rotten Tomatoes 61.6 of 64 and, with L = 104 to
    fit all, 66.2.

    Args:
        splits: tokens [n, L].
        augmented: [U, K, L] int32, or None.
    """
    parts = {p: getattr(splits, p) for p in ("labeled", "unlabeled", "validation", "test")}
    arrays = [part.inputs for part in parts.values() if len(part)]
    if augmented is not None:
        arrays.append(augmented.reshape(-1, augmented.shape[-1]))
    longest = max(int(np.flatnonzero(tokens.any(axis=0)).max(initial=0)) for tokens in arrays) + 1
    length = min(-(-longest // _MULTIPLE) * _MULTIPLE, arrays[0].shape[1])
    cut = {p: dataclasses.replace(e, inputs=e.inputs[:, :length]) for p, e in parts.items()}
    shorter = None if augmented is None else np.ascontiguousarray(augmented[..., :length])
    return dataclasses.replace(splits, **cut), shorter


def _check_tokens(splits, augmented) -> None:
    tokens = splits.unlabeled.inputs
    if tokens.dtype != np.int32 or tokens.ndim != 2:
        raise ValueError(
            "`splits` must have int32 tokens [n, L] as inputs. Received: "
            f"{tokens.dtype.name}{list(tokens.shape)}. Use `BatchSource` for images and points."
        )
    if augmented is None:
        return
    n, length = tokens.shape
    fits = augmented.dtype == np.int32 and augmented.ndim == 3 and augmented.shape[1] > 0
    if not fits or augmented.shape[::2] != (n, length):
        raise ValueError(
            f"`augmented` must be int32 [{n}, K, {length}], K copies of each text of U. Received: "
            f"{augmented.dtype.name}{list(augmented.shape)}. Make it from the same texts."
        )

"""What a finished run says of each example of U, block by block; and of all of Lambda."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.assemble.run import Run
from experiments.runs.example_weights import BLOCK
from ssl_weighting.data.sources import Sources
from ssl_weighting.evaluation import log_softmax

_QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


def example_blocks(run: Run) -> Iterator[dict[str, Any]]:
    """Yield columns, one entry per unlabeled id: lambda, what the averaged model says.

    loss is the cross-entropy of one strong view against the clean view's pseudo-label. A block is
    made of whole batches of the evaluator, so that no value depends on how U is cut.
    """
    sources = Sources(run.splits)
    for start, stop in ranges(len(run.splits.unlabeled), run.evaluator.batch_size):
        yield _block(run, sources, start, stop)


def ranges(count: int, batch: int) -> list[tuple[int, int]]:
    """Return the first id of each block and the one behind its last.

    They begin at multiples of `batch`. None but an only one is smaller than that: the evaluator
    would not fill it up.
    """
    size = max(BLOCK // batch, 1) * batch
    starts = [0, *(k for k in range(size, count, size) if count - k >= batch)]
    return list(zip(starts, [*starts[1:], count], strict=True))


def _block(run, sources, start, stop):
    ids = np.arange(start, stop)
    store, unlabeled = run.trainer.store, run.splits.unlabeled
    log_p = log_softmax(run.evaluator.logits(unlabeled.inputs[start:stop]))
    pseudo = log_p.argmax(axis=1)
    names, source = unlabeled.names[start:stop], sources.of(ids)
    groups = {} if run.splits.groups is None else {"group": list(run.splits.groups[start:stop])}
    if unlabeled.texts is not None:
        groups["text"] = list(unlabeled.texts[start:stop])
    elif texts := getattr(run.splits, "texts", {}):  # of features by a backbone
        groups["text"] = [texts[name] for name in names]
    return {
        "id": ids,
        "name": names,
        "source": source,
        "labeled": source == "labeled",
        "pseudo_label": pseudo,
        "confidence": np.exp(log_p.max(axis=1)),
        "loss": _strong_view_loss(run, start, pseudo),
        "true_label": unlabeled.labels[start:stop],
        **store.block(start, stop),
        **groups,
    }


def _strong_view_loss(run, start, pseudo):
    """Pass over the ids from `start` on in their order, each under one strong augmentation."""
    loss = np.empty(len(pseudo), np.float32)
    size = run.evaluator.batch_size
    for first in range(0, len(pseudo), size):
        places = np.arange(first, min(first + size, len(pseudo)))
        views = run.trainer.source.strong_views(start + places).numpy()
        log_p = log_softmax(run.evaluator.logits(views, preprocessed=True))
        loss[places] = -log_p[np.arange(len(places)), pseudo[places]]
    return loss


def weight_statistics(store, exact: bool = False) -> dict:
    """Return lambda's quantiles and mean and the share of ids that have been moved.

    Args:
        store: `WeightStore`.
        exact: of all ids; otherwise of a large U of its sample.
    """
    sample = store.sample
    if exact and not sample.whole:
        return _exact_statistics(store)
    lam, visits = sample.lam.astype(np.float64), sample.visits
    return {
        "lam_quantiles": [float(q) for q in np.quantile(lam, _QUANTILES)],
        "lam_mean": float(lam.mean()),
        "coverage": float((visits > 0).mean()),
    }


def _exact_statistics(store):
    """Return `weight_statistics` of all ids, in float32 and by blocks: a quarter of the memory."""
    count = store.num_unlabeled
    lam, total, moved = np.empty(count, np.float32), 0.0, 0
    for start, stop in ranges(count, 1):
        block = store.block(start, stop)
        lam[start:stop] = block["lam"]
        total += float(block["lam"].sum(dtype=np.float64))
        moved += int((block["visits"] > 0).sum())
    places = np.array(_QUANTILES) * (count - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, count - 1)
    lam.partition(np.unique([below, above]))
    low, high = lam[below].astype(np.float64), lam[above].astype(np.float64)
    step, part = high - low, places - below  # from the nearer end, as numpy does it
    quantiles = np.where(part < 0.5, low + step * part, high - step * (1 - part))
    return {
        "lam_quantiles": quantiles.tolist(),
        "lam_mean": total / count,
        "coverage": moved / count,
    }


def lam_by_group(run: Run) -> dict:
    """Return lambda of each known group of U: mean over all and over the moved ones."""
    if run.splits.groups is None or not run.config.uses_unlabeled:
        return {}
    groups, store = np.array(run.splits.groups), run.trainer.store
    names = dict.fromkeys(run.splits.groups)
    sums = {name: np.zeros(4) for name in names}  # examples, moved ones, λ, λ of moved ones
    for start, stop in ranges(len(groups), 1):
        block = store.block(start, stop)
        lam, moved = block["lam"].astype(np.float64), block["visits"] > 0
        for name in names:
            of_group = groups[start:stop] == name
            seen = of_group & moved
            sums[name] += [of_group.sum(), seen.sum(), lam[of_group].sum(), lam[seen].sum()]
    found = {
        name: {
            "count": int(count),
            "moved": int(moved),
            "lam_mean": float(total / count),
            "lam_mean_of_moved": float(of_moved / moved) if moved else None,
        }
        for name, (count, moved, total, of_moved) in sums.items()
    }
    return {"lam_by_group": found}

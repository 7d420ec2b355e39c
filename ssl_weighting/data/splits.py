"""Cut a data set into D, U and V of Eq. 2, by the rules of the reference's experiments."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_weighting.data import example_table
from ssl_weighting.data.class_profile import geometric_counts, greedy_rows
from ssl_weighting.data.copies import are_copies
from ssl_weighting.data.examples import DataSplits, Examples, RawDataset
from ssl_weighting.data.numbers import check_whole

VAL_ORDERS = ("drawn", "first")
# They keep the streams of one seed apart; 1 is that of `held_out`, 4 the contamination's, 5 that of
# `folds`.
_VALIDATION, _SUBSET = 2, 3


def make_splits(
    raw: RawDataset,
    num_labeled: int | None,
    val_size: int | None,
    seed: int,
    val_seed: int = 0,
    num_unlabeled: int | None = None,
    allow_overlap: bool = False,
    include_labeled: bool = True,
    validation_as_labels: bool = False,
    val_order: str = "drawn",
    labeled_rows: np.ndarray | None = None,
    labeled_imbalance: float = 1.0,
) -> DataSplits:
    """Return D, U, V and the test set.

    V is drawn first and depends on `val_seed` alone; D depends on `seed` too. Both follow the
    class frequencies of the training set (`greedy_counts`). U is the training set without V, in
    its order, followed by `raw.unlabeled`. Where `raw.copies_are_one`, exact copies of V's examples
    leave U too; published sets keep theirs, and with them the splits of earlier results.

    Args:
        raw: the data set. Its own validation set, if any, is V.
        num_labeled: |D|, at least one for each class; None for all that V and its copies leave.
        val_size: |V|, at least one for each class, or 0 for no V. Where the data set brings its own
            validation set, None takes all of it as it is, and a number draws from it.
        seed: chooses D, from 0.
        val_seed: chooses V, from 0; the same V for all seeds unless changed.
        num_unlabeled: |U| for short runs: D's examples, then random others. None for all.
        allow_overlap: whether an example of V may be in D too, as in the release.
        include_labeled: whether D's examples are in U too, as in the release.
        validation_as_labels: adds V to D, the control that tells what V's labels are worth.
        val_order: "drawn" by `val_seed`, or "first": the first |V| of the release's unlabeled file,
            which are the first of each class in the set's order, whatever the seeds.
        labeled_rows: [num_labeled] rows of the training set that are D, in this order, for sets
            whose D is published; V is then drawn among the others. None to draw D.
        labeled_imbalance: R; where it is not 1, the sizes of D's classes fall geometrically from
            the first class to 1/R of it (`geometric_counts`), whatever the frequencies. V's do not.

    Returns:
        The splits; nothing of the test set is in the other parts unless `raw` repeats itself. V is
        in memory, and so are D and the test set where they are of fewer than `example_table.LARGE`
        bytes.

    Raises:
        ValueError: if a size is out of range or a class has too few examples.
    """
    _check_sizes(raw, num_labeled, val_size, seed, val_seed)
    if val_order not in VAL_ORDERS:
        known = ", ".join(VAL_ORDERS)
        raise ValueError(f"`val_order` must be one of {known}. Received: val_order={val_order!r}.")
    train, names = raw.train, raw.class_names
    fixed = None if labeled_rows is None else np.asarray(labeled_rows)
    _check_labeled_rows(raw, fixed, num_labeled)
    _check_imbalance(labeled_imbalance, fixed, num_labeled)
    validation, in_validation = _validation(raw, val_size, val_order, val_seed, fixed)
    # DEVIATION: the release may put an example of V into D (n|V|/50,000 of them on average), which
    # the paper's wording excludes. Copies count as the same example.
    free = None if allow_overlap or fixed is not None else ~are_copies(train, validation)
    rows = fixed
    if rows is None:
        rows = _drawn(raw, num_labeled, seed, free, labeled_imbalance)
    labeled, test = _in_memory(train.take(rows)), _in_memory(raw.test)
    outside, notes = ~in_validation, raw.notes
    if raw.copies_are_one:
        outside = _without_copies(raw, validation)
        gone = np.sum(~outside) - in_validation.sum() * (raw.validation is None)
        notes += (f"{gone} copies of validation examples left U",) if gone else ()
    unlabeled = _unlabeled(raw, outside, rows, include_labeled, num_unlabeled, seed)
    splits = DataSplits(
        raw.name, labeled, unlabeled, validation, test, names, raw.source,
        notes=notes, skipped=raw.skipped,
    )  # fmt: skip
    return with_validation_as_labels(splits) if validation_as_labels else splits


def with_validation_as_labels(splits: DataSplits) -> DataSplits:
    """Return the splits of the control *V as labels*: V's examples are in D too.

    U, V and the test set stay. V is no held-out set any more in such a run.

    Raises:
        ValueError: if V is empty.
    """
    if not len(splits.validation):
        raise ValueError(
            "`val_size` must be positive where the validation set serves as labels. "
            "Received: val_size=0. Ask for a validation set or drop `validation_as_labels`."
        )
    return dataclasses.replace(splits, labeled=splits.labeled.joined(splits.validation))


def with_fewer_tests(splits: DataSplits | RawDataset, num_test: int) -> DataSplits | RawDataset:
    """Return a set with a random part of its test examples, always the same; 0: all of them."""
    if not num_test or num_test >= len(splits.test.labels):
        return splits
    chosen = np.sort(np.random.default_rng(0).permutation(len(splits.test.labels))[:num_test])
    return dataclasses.replace(splits, test=splits.test.take(chosen))


def _in_memory(examples: Examples) -> Examples:
    small = examples.inputs.nbytes < example_table.LARGE
    return examples.loaded() if small else examples


def _drawn(raw, num_labeled, seed, free, imbalance) -> np.ndarray:
    """Return the rows of D, drawn from those that are `free` [n] bool; None: from all."""
    labels, names = raw.train.labels, raw.class_names
    if num_labeled is not None:
        # RandomState's legacy stream never changes between numpy versions. DEVIATION: the release
        # keeps file order for seed 0; data that people sort by name or time would bias D.
        rng = np.random.RandomState(seed)
        even = imbalance == 1
        sizes = None if even else geometric_counts(len(names), num_labeled, imbalance)
        return greedy_rows(labels, names, num_labeled, rng, "num_labeled", free, counts=sizes)
    rows = np.arange(len(labels)) if free is None else np.flatnonzero(free)
    missing = sorted(set(range(len(names))) - set(labels[rows].tolist()))
    if missing:
        raise ValueError(
            "`val_size` must leave labels of every class to learn from. Received: none of "
            f"{[names[c] for c in missing]}. Lower it, or label more examples."
        )
    return rows


def _validation(raw, val_size, val_order, val_seed, fixed) -> tuple[Examples, np.ndarray]:
    """Return V and where in the training set its examples are, [n] bool.

    Nothing is drawn that equals one of the `fixed` rows, if there are any.
    """
    pool = raw.train if raw.validation is None else raw.validation
    if val_size is None:  # not drawn: rounded proportions may ask for more than a class has
        rows = np.arange(len(pool))
    else:
        drawn = val_order == "drawn"
        rng = np.random.RandomState([_VALIDATION, val_seed]) if drawn else None
        free = None if fixed is None else ~are_copies(pool, raw.train.take(fixed))
        rows = greedy_rows(pool.labels, raw.class_names, val_size, rng, "val_size", free)
    validation = pool.take(rows).loaded()
    if raw.validation is not None:
        return validation, are_copies(raw.train, validation)
    return validation, np.isin(np.arange(len(pool)), rows)


def _unlabeled(raw, outside_validation, labeled_rows, include_labeled, num_unlabeled, seed):
    """Return U; `labeled_rows` point into the training set.

    `outside_validation`, bool, is of the training set, or of it and `raw.unlabeled`.
    """
    pool = raw.train if raw.unlabeled is None else raw.train.joined(raw.unlabeled)
    keep = np.ones(len(pool), bool)
    keep[: len(outside_validation)] = outside_validation
    keep[labeled_rows] &= include_labeled
    rows = np.flatnonzero(keep)
    if num_unlabeled is None:
        return pool.take(rows)
    first = np.intersect1d(rows, labeled_rows)
    check_whole("num_unlabeled", num_unlabeled, 1)
    if not max(len(first), 1) <= num_unlabeled <= len(rows):
        raise ValueError(
            f"`num_unlabeled` must be from {max(len(first), 1)}, the labeled examples among them, "
            f"to {len(rows)}, all there are. Received: num_unlabeled={num_unlabeled}."
        )
    others = np.setdiff1d(rows, first)
    np.random.RandomState([_SUBSET, seed]).shuffle(others)
    return pool.take(np.sort(np.concatenate([first, others[: num_unlabeled - len(first)]])))


def _without_copies(raw, validation) -> np.ndarray:
    """Return where U's candidates, the training set and `raw.unlabeled`, are no copy of V's."""
    pools = [raw.train] if raw.unlabeled is None else [raw.train, raw.unlabeled]
    return ~np.concatenate([are_copies(pool, validation) for pool in pools])


def _check_labeled_rows(raw, rows, num_labeled) -> None:
    if rows is None:
        return
    labels = set(raw.train.labels[rows].tolist())
    if rows.shape != (num_labeled,) or len(set(rows.tolist())) != num_labeled:
        raise ValueError(
            f"`labeled_rows` must be num_labeled={num_labeled} different rows of the training set. "
            f"Received: labeled_rows of shape {list(rows.shape)}, {len(set(rows.tolist()))} "
            "different. Ask for as many labels, or have D drawn."
        )
    if len(labels) < len(raw.class_names):
        raise ValueError(
            "`labeled_rows` must have examples of every class. "
            f"Received: rows of {[raw.class_names[c] for c in sorted(labels)]} only."
        )


def _check_imbalance(imbalance, rows, num_labeled) -> None:
    given = rows is not None or num_labeled is None
    if not 1 <= imbalance < np.inf or (given and imbalance != 1):
        raise ValueError(
            "`labeled_imbalance` must be 1, or more where D is drawn, neither `labeled_rows` nor "
            f"all that V leaves. Received: {imbalance}. Ask for `num_labeled` examples."
        )


def _check_sizes(raw, num_labeled, val_size, seed, val_seed) -> None:
    for name, value in (("seed", seed), ("val_seed", val_seed)):
        check_whole(name, value, 0, 2**32 - 1)
    classes = len(raw.class_names)
    if num_labeled is None:
        num_labeled = classes
    check_whole("num_labeled", num_labeled, 1)
    if val_size is not None:
        check_whole("val_size", val_size, 0)
    if not classes <= num_labeled <= len(raw.train):
        raise ValueError(
            f"`num_labeled` must be from {classes}, one for each class, to {len(raw.train)}, the "
            f"size of the training set ({raw.source}). Received: num_labeled={num_labeled}."
        )
    own = raw.validation is not None
    largest = len(raw.validation) if own else len(raw.train) - num_labeled
    if val_size is None and not own:
        raise ValueError(
            f"`val_size` must be a number, as {raw.name} has no validation set of its own to take "
            f"all of. Received: val_size=None. Set --val_size from {classes} to {largest} to draw "
            "V from the training set, or 0 for no V (cross-fit)."
        )
    if val_size is not None and not (val_size == 0 or classes <= val_size <= largest):
        whose = (
            ", the data set's own validation set; None, --val_size=0, for all of it" if own else ""
        )
        raise ValueError(
            f"`val_size` must be 0, or from {classes}, one for each class, to {largest}{whose}. "
            f"Received: val_size={val_size}."
        )

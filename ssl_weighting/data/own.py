"""What all of people's own images and features go through, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssl_weighting.data.copies import are_copies, check_copies
from ssl_weighting.data.examples import Examples, RawDataset
from ssl_weighting.data.held_out import hold_out_test

_MOST_CLASSES = 20  # whose counts are listed one by one


def own_dataset(
    name: str,
    parts: Mapping[str, Examples],
    class_names: tuple[str, ...],
    source: str,
    skipped: tuple[tuple[str, str], ...] = (),
    rows: str = "images",
) -> RawDataset:
    """Return a user's examples as a set whose exact copies count as one example.

    Without a test part, a fifth of the training examples is held out for testing, always the same
    ones, in the proportions of the classes, at least one of each, and copies together.

    Args:
        name: of the set.
        parts: train, and maybe test, validation and unlabeled; examples with names.
        class_names: C names.
        source: for people.
        skipped: (name, reason) of files that were left out.
        rows: what the examples are called.

    Raises:
        ValueError: an example has two labels, a class is too small, or the parts do not fit.
    """
    parts, notes = dict(parts), []
    if skipped:
        notes.append(f"{len(skipped)} files could not be read and are left out: see skipped.csv")
    everything = {"test": parts["train"]} | parts
    RawDataset(name, class_names=class_names, source=source, **everything)  # checks labels
    notes += check_copies(parts, class_names)
    if "test" not in parts:
        held = hold_out_test(parts["train"], class_names, source)
        parts["test"], parts["train"] = parts["train"].take(held), parts["train"].take(~held)
        source += f", {held.sum()} {rows} of it held out for testing"
        notes += _without_copies(parts, rows)
    notes.append(_counted("train", parts["train"], class_names))
    return RawDataset(
        name,
        class_names=class_names,
        source=source,
        notes=tuple(notes),
        skipped=skipped,
        copies_are_one=True,
        **parts,
    )


def _without_copies(parts: dict[str, Examples], rows: str) -> list[str]:
    """Take copies of what is held out from the unlabeled ones, too."""
    if "unlabeled" not in parts:
        return []
    copies = are_copies(parts["unlabeled"], parts["test"])
    parts["unlabeled"] = parts["unlabeled"].take(~copies)
    return [f"{copies.sum()} copies of test {rows} left unlabeled"] if copies.any() else []


def _counted(part: str, examples: Examples, class_names: tuple[str, ...]) -> str:
    counts = np.bincount(examples.labels, minlength=len(class_names))
    if len(counts) <= _MOST_CLASSES:
        pairs = zip(class_names, counts, strict=True)
        return f"classes in {part}: {', '.join(f'{name} {count}' for name, count in pairs)}"
    least, most = counts.argmin(), counts.argmax()
    return (
        f"classes in {part}: {len(counts)}, from {counts[least]} ({class_names[least]}) to "
        f"{counts[most]} ({class_names[most]})"
    )

"""Score a pile of new examples by a finished run: what would a weight on each do to L_S(V)?

    python -m experiments.score --run=results/runs/mine --input=folder:photos --out=scores --merge
    python -m experiments.score --run=RUN --input=npz:more.npz --out=scores --shard=3/16
    python -m experiments.score --out=scores --merge

Inputs are those of `predict`. Writes OUT/chunk-0000012.parquet and so on, 8,192 images, 65,536
rows of features or 16,384 texts each: id (place in the input), name, class, pseudo_label (its
number), confidence, loss, influence (dL_S(V)/dλ by Eq. 6 at the run's end, positive harms) and
problem, where an example could not be read or a score is not finite. Chunks that are there are not
made again: the same command goes on. Shard I of N, from 0, makes the chunks k with k % N = I;
--merge, at the end of one or alone, checks that all are there and writes OUT/scores.parquet. What
is said of an example depends on it and its name alone. Exits with 2 if an example has no scores.
See docs/predict.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags

from experiments.options.kinds import FEATURE_ROWS, IMAGES, TEXTS
from experiments.runs.errors import friendly
from experiments.runs.saved_model import read_run
from experiments.runs.scorer_files import Recorded, read_scorer
from experiments.serving.identity import joined_identity
from experiments.serving.score_files import (
    Pile,
    borders_of,
    check_out,
    found_chunk,
    merge,
    write_chunk,
)
from experiments.serving.source import CHUNK, Chunk, Source, sources
from experiments.serving.wanted import define_inputs, wanted_by
from ssl_weighting.data.progress import counted
from ssl_weighting.data.texts.csv_rows import STOP

SKIPPED = 2  # exit code: there are scores, but not for every example
ROWS = {IMAGES: 8192, TEXTS: 16_384, FEATURE_ROWS: 65_536}  # of a file; multiples of `CHUNK`


class Work(NamedTuple):
    """What is scored, and how it is cut."""

    inputs: list[Source]
    pile: Pile
    starts: list[int]  # number of the first chunk of each input
    mine: list[int]  # chunks that this process makes, those that are there too

    @property
    def per_file(self) -> list[int]:
        """How many of the source's chunks make one of these, of each input."""
        return [ROWS[source.kind] // CHUNK[source.kind] for source in self.inputs]


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", "", "folder of a finished run that learned weights", values)
    define_inputs(values)
    flags.DEFINE_string("out", "", "folder of the scores", values)
    flags.DEFINE_string("shard", "0/1", "I/N: the chunks k with k % N = I, I from 0", values)
    flags.DEFINE_bool("merge", False, "check that all chunks are there and join them", values)


def shard_of(text: str) -> tuple[int, int]:
    """Return I and N of --shard=I/N.

    Raises:
        ValueError: it is no such thing.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    place, count = map(int, match.groups()) if match else (0, 0)
    if not place < count:
        raise ValueError(f"--shard must be I/N with I from 0 to N - 1. Received: --shard={text}")
    return place, count


def plan(inputs: list[Source], recorded: Recorded, shard: tuple[int, int]) -> Work:
    """Return which chunks there are, and which are this shard's."""
    counts = [(source.count, ROWS[source.kind]) for source in inputs]
    pile = Pile(recorded.digest, joined_identity(inputs), borders_of(counts))
    starts = [len(borders_of(counts[:k])) - 1 for k in range(len(counts))]
    place, count = shard
    return Work(inputs, pile, starts, list(range(place, len(pile), count)))


def chunks_of(work: Work, left: Sequence[int]) -> Iterator[tuple[Source, int, Chunk, bool]]:
    """Yield the chunks of the inputs that are needed: source, file, content, whether it ends one.

    Args:
        left: numbers of the files that are to be made.
    """
    needed = set(left)
    for source, start, per_file in zip(work.inputs, work.starts, work.per_file, strict=True):

        def file_of(number, start=start, per_file=per_file):
            return start + number // per_file

        wanted = [k for k in range(-(-source.count // CHUNK[source.kind])) if file_of(k) in needed]
        chosen = frozenset(wanted)
        found = source.chunks(chosen.__contains__)
        for number, chunk in zip(wanted, found, strict=True):
            ends = number == wanted[-1] or file_of(number + 1) != file_of(number)
            yield source, file_of(number), chunk, ends


def score(
    run: Path, config: dict, recorded: Recorded, work: Work, left, out: Path, on_error: str
) -> int:
    """Write the files that are left; return how many examples have no scores.

    Raises:
        OSError, ValueError: something cannot be read or written, or a score is not finite and stops
            it; what was written stays.
    """
    from experiments.serving.pile_scorer import pile_scorers  # and TensorFlow

    say, borders = pile_scorers(run, config, recorded), work.pile.borders
    total = sum(borders[k + 1] - borders[k] for k in left)
    collected, problems = _Columns(recorded.settings["class_names"], on_error), 0
    chunks = counted(chunks_of(work, left), total, "scoring", each=lambda one: len(one[2]))
    for source, file, chunk, ends in chunks:
        found = say[source.kind](chunk.inputs, chunk.names) if chunk.names else None
        collected.add(chunk, found)
        if ends:
            write_chunk(out, work.pile, file, collected.columns)
            problems += collected.problems
            collected.clear()
    return problems


class _Columns:
    """The columns of a file as they are collected, in the order of the input."""

    def __init__(self, class_names, on_error):
        self._class_names, self._on_error = class_names, on_error
        self.clear()

    def clear(self):
        names = ("name", "class", "pseudo_label", "confidence", "loss", "influence", "problem")
        self.columns = {name: [] for name in names}

    @property
    def problems(self):
        return sum(problem is not None for problem in self.columns["problem"])

    def add(self, chunk: Chunk, found) -> None:
        """Take what was found of a chunk, and the problems of what was not read.

        Raises:
            ValueError: something that was found is not finite, and stops.
        """
        read = [True] * len(chunk) if chunk.read is None else chunk.read
        faulty = iter(chunk.skipped)
        rows = self._rows(chunk.names, found) if chunk.names else iter(())
        for fine in read:
            if fine:
                row = next(rows)
            else:
                name, reason = next(faulty)
                row = (name, None, None, None, None, None, reason)
            for column, value in zip(self.columns.values(), row, strict=True):
                column.append(value)

    def _rows(self, names, found):
        classes = [self._class_names[k] for k in found.pseudo_label]
        values = (found.pseudo_label, found.confidence, found.loss, found.influence)
        finite = np.all([np.isfinite(value) for value in values], axis=0)
        lists = [value.tolist() for value in values]
        for name, fine, label, *numbers in zip(names, finite, classes, *lists, strict=True):
            if fine:
                yield name, label, *numbers, None
                continue
            shown = dict(zip(("confidence", "loss", "influence"), numbers[1:], strict=True))
            reason = f"scores must be finite. Received: {shown}"
            if self._on_error == STOP:
                raise ValueError(f"{name}: {reason}. Leave it out, or skip such: --on_error=skip")
            yield name, *[None] * (len(numbers) + 1), reason


def main(argv: list[str]) -> int:
    """Score the inputs of the command line; return the exit code."""
    given = flags.FLAGS
    paths = [*given.input, *argv[1:]]
    if not given.out or not (given.merge or given.run) or bool(given.run) != bool(paths):
        raise app.UsageError("--out must be given, with --run and an input, or with --merge alone.")
    with friendly():
        check_out(given.out)
        shard = shard_of(given.shard)
        problems = _score(given, paths, shard) if given.run else 0
        if given.merge:
            problems = merge(Path(given.out))["problems"]
    if problems:
        print(f"{problems} examples have no scores: see `problem` there")
    return SKIPPED if problems else 0


def _score(given, paths, shard) -> int:
    """Make the chunks of a shard; return how many examples in them have no scores."""
    run, out = Path(given.run), Path(given.out)
    config = read_run(run)
    recorded = read_scorer(run, config)
    work = plan(sources(paths, wanted_by(config, given)), recorded, shard)
    there = {k: found_chunk(out, work.pile, k) for k in work.mine}
    left = [k for k, about in there.items() if about is None]
    problems = sum(about["problems"] for about in there.values() if about)
    if left:
        problems += score(run, config, recorded, work, left, out, given.on_error)
    said = f"scored {len(left)} of {len(work.mine)} chunks, {len(work.mine) - len(left)} were there"
    print(f"{said}: {out}", flush=True)
    return problems


if __name__ == "__main__":
    define_flags()
    app.run(main)

"""The files of scores: one .parquet file a chunk, all of one input or none; merged in the end.

Chunks are numbered in the order of the input. A file stands there as a whole or not at all, and
carries what it is of: which scorer, which input, which rows. Without TensorFlow.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_weighting.data.files import replacing

FORMAT = 1
MERGED = "scores.parquet"
_KEY = b"ssl_weighting.scores"
_CHUNK, _PARTIAL = "chunk-{:07d}.parquet", "partial-"
_OURS = re.compile(r"(partial-)?scores\.parquet|(partial-[0-9a-f]+-)?chunk-[0-9]+\.parquet")
# Columns and their pyarrow types. Of what has no scores there are id, name and problem.
COLUMNS = {
    "id": "int64",  # place in the input, from 0
    "name": "string",
    "class": "string",
    "pseudo_label": "int32",  # its number
    "confidence": "float32",
    "loss": "float32",
    "influence": "float32",  # dL_S(V)/d lambda: positive harms
    "problem": "string",  # why there are no scores
}


class Pile(NamedTuple):
    """What the chunks of one folder have in common, and how they divide the input.

    Attributes:
        scorer: digest of RUN/scorer.
        input: digest of the inputs.
        borders: rows before each chunk, from 0, and last the number of all.
    """

    scorer: str
    input: str
    borders: Sequence[int]

    def __len__(self):
        return len(self.borders) - 1

    def of(self, chunk: int) -> dict[str, Any]:
        """Return what the file of a chunk says of itself."""
        first, until = self.borders[chunk], self.borders[chunk + 1]
        return {
            "format": FORMAT, "scorer": self.scorer, "input": self.input, "count": self.borders[-1],
            "chunks": len(self), "chunk": chunk, "first": first, "rows": until - first,
        }  # fmt: skip


def borders_of(counts: Iterable[tuple[int, int]]) -> list[int]:
    """Return the borders of chunks.

    Args:
        counts: (examples, most in a chunk) of each input; no chunk has examples of two inputs.
    """
    borders = [0]
    for count, most in counts:
        before = borders[-1]
        borders += [before + min((k + 1) * most, count) for k in range(math.ceil(count / most))]
    return borders


def check_out(out: str) -> None:
    """Check before any work that scores can be written, and beside nothing but scores.

    Raises:
        OSError, ValueError: they cannot.
    """
    path = Path(out)
    if not out or not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"--out must name a folder in a folder that is there. Received: --out={out}"
        )
    if path.exists() and not _is_ours(path):
        raise ValueError(
            "--out must be a new folder, or one of earlier scores. "
            f"Received: --out={out}, which holds something else"
        )


def _is_ours(path):
    if not path.is_dir():
        return False
    return all(_OURS.fullmatch(entry.name) for entry in path.iterdir())


def chunk_path(out: Path, chunk: int) -> Path:
    """Return the path of a chunk's file."""
    return out / _CHUNK.format(chunk)


def write_chunk(out: Path, pile: Pile, chunk: int, columns: Mapping[str, Sequence]) -> None:
    """Write a chunk.

    Args:
        columns: all of `COLUMNS` but id, None where there is no value.

    Raises:
        OSError: there is no space; nothing is left of it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = pile.of(chunk)
    ids = np.arange(about["first"], about["first"] + about["rows"])
    columns = {"id": ids, **columns}
    about["problems"] = sum(problem is not None for problem in columns["problem"])
    arrays = [pa.array(columns[name], kind) for name, kind in COLUMNS.items()]
    table = pa.table(arrays, names=list(COLUMNS)).replace_schema_metadata(_metadata(about))
    # A task that was thought dead may still write: names of their own keep the two apart.
    tag = f"{uuid.uuid4().hex[:8]}-"
    with replacing(chunk_path(out, chunk), tag=tag) as temporary, open(temporary, "wb") as file:
        pq.write_table(table, file, row_group_size=max(1, len(ids)), write_page_checksum=True)


def found_chunk(out: Path, pile: Pile, chunk: int) -> dict[str, Any] | None:
    """Return what the file of a chunk says of itself; None: it is still to be made.

    Raises:
        ValueError: it is damaged, or of another scorer or input.
    """
    path = chunk_path(out, chunk)
    if not path.exists():
        return None
    about = _about(path)
    for name, expected in pile.of(chunk).items():
        if about.get(name) != expected:
            raise ValueError(
                f"{path} must be of this run and this input, with `{name}` {expected}. Received: "
                f"{about.get(name)}. Give another --out, or remove that file"
            )
    return about


def merge(out: Path, say: Callable[[str], object] = print) -> dict[str, int]:
    """Write scores.parquet, a row group a chunk; return the numbers of rows and problems.

    Args:
        out: folder of the chunks.
        say: told what is done.

    Raises:
        FileNotFoundError: there is no chunk, or some are missing; says which.
        ValueError: one is damaged, or they are not of one scorer and input.
        OSError: there is no space; an earlier scores.parquet stays.
    """
    import pyarrow.parquet as pq

    abouts = sorted(map(_about, _chunks_of(out)), key=lambda about: about["chunk"])
    first = _check_whole(out, abouts)
    total = {"rows": first["count"], "problems": sum(about["problems"] for about in abouts)}
    shared = {name: first[name] for name in ("format", "scorer", "input", "count", "chunks")}
    with replacing(out / MERGED) as temporary:
        schema = _read(chunk_path(out, 0)).schema.with_metadata(_metadata(shared | total))
        with (
            open(temporary, "wb") as file,
            pq.ParquetWriter(file, schema, write_page_checksum=True) as writer,
        ):
            for about in abouts:
                table = _read(chunk_path(out, about["chunk"]))
                _check_rows(out, about, table)
                table = table.replace_schema_metadata(schema.metadata)
                writer.write_table(table, row_group_size=max(1, len(table)))
    for path in out.glob(f"{_PARTIAL}*"):  # of tasks that were killed
        path.unlink(missing_ok=True)
    say(f"merged {len(abouts)} chunks, {first['count']} rows: {out / MERGED}")
    return total


def _chunks_of(out):
    paths = list(out.glob(_CHUNK.replace("{:07d}", "*"))) if out.is_dir() else []
    if not paths:
        raise FileNotFoundError(
            f"--out must hold chunks of scores to merge. Received: --out={out}, without any"
        )
    return paths


def _check_whole(out, abouts) -> dict[str, Any]:
    """Check that the chunks are all of one pile; return what the first says."""
    first = abouts[0]
    for about in abouts:
        for name in ("format", "scorer", "input", "count", "chunks"):
            if about[name] != first[name]:
                raise ValueError(
                    f"--out must hold the scores of one run and one input. Received: `{name}` "
                    f"{first[name]} in chunk {first['chunk']}, {about[name]} in {about['chunk']}"
                )
    there = {about["chunk"] for about in abouts}
    if missing := [k for k in range(first["chunks"]) if k not in there]:
        raise FileNotFoundError(
            f"--out must hold all {first['chunks']} chunks. Received: --out={out}, without "
            f"{_ranges(missing)}. Give the commands of their shards again (shard I of N makes the "
            "chunks k with k % N = I): what is there is not made anew"
        )
    until = 0
    for about in abouts:
        if about["first"] != until:
            raise ValueError(
                f"{chunk_path(out, about['chunk'])} must begin with row {until}. Received: row "
                f"{about['first']}. Remove it and score again"
            )
        until += about["rows"]
    if until != first["count"]:
        raise ValueError(f"--out must hold {first['count']} rows. Received: {until}, in {out}")
    return first


def _check_rows(out, about, table) -> None:
    ids = np.arange(about["first"], about["first"] + about["rows"])
    if table.column_names != list(COLUMNS) or not np.array_equal(table["id"].to_numpy(), ids):
        raise ValueError(
            f"{chunk_path(out, about['chunk'])} must have the rows {about['first']} to "
            f"{about['first'] + about['rows'] - 1}. Received: others. Remove it and score again"
        )


def _ranges(numbers: Sequence[int]) -> str:
    """Return "2, 5-7" for 2, 5, 6, 7."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)


def _metadata(about) -> dict[bytes, bytes]:
    return {_KEY: json.dumps(about).encode()}


def _about(path: Path) -> dict[str, Any]:
    """Return what the file of a chunk says of itself.

    Raises:
        ValueError: it is damaged, or no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:
            about = json.loads(pq.read_schema(file).metadata[_KEY])
        numbers = (
            about[name] for name in ("count", "chunks", "chunk", "first", "rows", "problems")
        )
        if all(isinstance(n, int) for n in numbers) and path.name == _CHUNK.format(about["chunk"]):
            return about
        reason = "it says that it is another one"
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ValueError(f"{path} must be a chunk of scores: {reason}. Remove it and score again")


def _read(path: Path):
    """Return the table of a chunk, its checksums compared.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:
            return pq.ParquetFile(file, page_checksum_verification=True).read()
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} must be a chunk of scores: {reason}. Remove it and score again"
        ) from error

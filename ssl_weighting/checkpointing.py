"""Whole-state checkpoints: written atomically, verified when read, the last k kept.

A checkpoint is one uncompressed .npz file: every array of the training state by name, and a JSON
manifest that holds the step, the run's fingerprint and a SHA-256 of each array. Nothing in it is
executed when it is read (no pickle). A table of very many rows lies beside it, in chunks that the
checkpoints of a run share (`row_chunks`); the file has the rows that differ from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssl_weighting.data.damage import DAMAGE
from ssl_weighting.data.numbers import check_whole
from ssl_weighting.data.row_chunks import ChunkFolder, Stored, Tables, saved_from

MANIFEST = "manifest"
TABLES = "tables"  # of a state: what lies in chunks
CHUNKS = "chunks"  # their folder, beside the files
_DELTA = "delta/"
_NAME = re.compile(r"ckpt-(\d{9})\.npz")
_RESERVED = frozenset({MANIFEST, "file", "allow_pickle"})  # the last two: arguments of np.savez
_State = dict[str, np.ndarray | Tables | Stored]


class MismatchError(ValueError):
    """A checkpoint belongs to another run: other data, model or options."""


class CorruptError(ValueError):
    """A checkpoint cannot be read back as it was written."""


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: where the files live; made when first needed.
        fingerprint: JSON-able flat dict that names what a resumed run must share (options, split
            hash, model); compared key by key.
        keep: how many newest files stay.
        reading: applied to the fingerprint of a checkpoint before it is compared.
        defaults: what a key of the fingerprint was before it existed, or after it was retired: the
            side without it is compared as if it had this value.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: dict,
        keep: int = 3,
        defaults: dict | None = None,
        reading: Callable[[dict], dict] = dict,
    ):
        check_whole("keep", keep, 1)
        self.folder, self.keep, self.reading = Path(folder), keep, reading
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.defaults = json.loads(json.dumps(defaults or {}))

    def save(self, step: int, state: _State) -> Path:
        """Write `state` as of `step`; an interrupted or failed write leaves the old files intact.

        Args:
            step: theta-steps taken.
            state: arrays by name; under the name `TABLES` a `Tables`, if there is one.

        Raises:
            OSError: the disk is full or not writable; names the file and the bytes needed.
            ValueError: an array of Python objects, or a name that the file format keeps for itself.
        """
        tables = state.get(TABLES)
        arrays = {name: np.asarray(value) for name, value in state.items() if name != TABLES}
        _check_state(arrays)
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob("ckpt-*.partial"):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        path, more, saved = self.folder / f"ckpt-{step:09d}.npz", {}, None
        if tables:
            register = tables.register
            saved = ChunkFolder(self.folder / CHUNKS).save(
                tables.rows, tables.columns, tables.changed, register.since
            )
            arrays |= {f"{_DELTA}{key}": values for key, values in saved.delta.items()}
            more = {TABLES: saved.described()}
        self._write(path, step, arrays, more)
        if tables:
            register.clear(saved)
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        self._forget_chunks()
        return path

    def _forget_chunks(self):
        """Delete the chunks of checkpoints that are gone."""
        if not (self.folder / CHUNKS).is_dir():
            return
        try:
            manifests = [_manifest(path) for path in self.paths()]
            used = {file for m in manifests for file, _ in m.get(TABLES, {}).get("chunks", ())}
        except DAMAGE:
            return  # of a file that cannot be read it is not known which are its
        ChunkFolder(self.folder / CHUNKS).keep(used)

    def _write(self, path, step, arrays, more):
        hashes = {name: _digest(value) for name, value in arrays.items()}
        manifest = {"step": step, "fingerprint": self.fingerprint, "sha256": hashes} | more
        text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
        temporary = path.with_suffix(".partial")
        try:
            with open(temporary, "wb") as file:
                np.savez(file, **arrays, **{MANIFEST: text})
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            size = sum(a.nbytes for a in arrays.values())
            raise OSError(
                error.errno,
                f"could not write checkpoint {path} ({size} bytes): {error.strerror or error}. "
                "Earlier checkpoints are intact; free some space and resume",
            ) from error

    def paths(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def restore(self) -> tuple[int, _State, list[str]] | None:
        """Read the newest checkpoint that is intact.

        Returns:
            (step, state, complaints about newer files that were not); None if there is no file.
            What was saved as a `Tables` is a `Stored`.

        Raises:
            MismatchError: the newest intact checkpoint is another run's; names each difference.
            CorruptError: there are files and none is intact.
        """
        complaints = []
        for path in reversed(self.paths()):
            try:
                manifest, state = read(path)
            except CorruptError as error:
                complaints.append(str(error))
                continue
            self._compare(path, manifest["fingerprint"])
            return manifest["step"], state, complaints
        if complaints:
            raise CorruptError(
                f"No checkpoint in {self.folder} is intact. {' '.join(complaints)} "
                "Delete the folder to start anew, or give another --out."
            )
        return None

    def _compare(self, path, found):
        keys = sorted(found.keys() | self.fingerprint.keys())
        known = {key: self.defaults[key] for key in keys if key in self.defaults}
        found, ours = known | self.reading(found), known | self.fingerprint
        differences = [
            f"{key}: the checkpoint has {found.get(key, 'nothing')!r}, "
            f"this run {ours.get(key, 'nothing')!r}"
            for key in keys
            if found.get(key) != ours.get(key)
        ]
        if differences:
            raise MismatchError(
                f"{path} belongs to another run; refusing to resume. {'; '.join(differences)}. "
                "Give the options it was made with, or another --out."
            )


def _manifest(path):
    with np.load(path, allow_pickle=False) as file:
        return json.loads(file[MANIFEST].tobytes().decode())


def read(path: Path) -> tuple[dict, _State]:
    """Return (manifest, state) of one file, verified, its chunks too.

    Raises:
        CorruptError: not a checkpoint, cut short, or an array or a chunk that fails its SHA-256.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            state = {name: file[name] for name in file.files}
        manifest = json.loads(state.pop(MANIFEST).tobytes().decode())
        hashes = manifest["sha256"]
        manifest["step"], manifest["fingerprint"]
    except DAMAGE as error:
        raise CorruptError(f"{path} is corrupt ({type(error).__name__}: {error}).") from error
    bad = sorted(
        name
        for name in hashes.keys() | state.keys()
        if name not in state or hashes.get(name) != _digest(state[name])
    )
    if bad:
        raise CorruptError(f"{path} is corrupt (SHA-256 differs for {', '.join(bad[:5])}).")
    if TABLES in manifest:
        state[TABLES] = _stored(path, manifest[TABLES], state)
    return manifest, state


def _stored(path, described, state):
    names = [name for name in state if name.startswith(_DELTA)]
    delta = {name.removeprefix(_DELTA): state.pop(name) for name in names}
    folder = ChunkFolder(path.parent / CHUNKS)
    try:
        saved = saved_from(described, delta)
        folder.check(saved)
    except DAMAGE as error:
        raise CorruptError(f"{path} is corrupt ({error}).") from error
    return Stored(folder, saved)


def _check_state(arrays):
    reserved = sorted(arrays.keys() & _RESERVED)
    if reserved:
        raise ValueError(
            f"`state` must not use the names {', '.join(sorted(_RESERVED))}. Received: {reserved}"
        )
    objects = sorted(name for name, value in arrays.items() if value.dtype.hasobject)
    if objects:
        raise ValueError(
            "`state` must hold arrays of numbers, which are stored without pickle. "
            f"Received: Python objects in {objects}"
        )


def _digest(array):
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
